"""Rounded models: chosen, refused, kept, named, and no more than a little off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from panel.engines import open_engine
from panel.engines.embedded import embedded_folder
from panel.engines.hub import ResolvedModel, resolve_model
from panel.engines.precision import as_run, check_choices, choose_device, choose_precision
from panel.engines.weights import MANIFEST, manifest_problems
from panel.errors import SetupError
from panel.requests import ScoreRequest

MODEL = ResolvedModel("org/name", Path("folder"), "commit", "a" * 64, "b" * 64)


@pytest.mark.parametrize(
    ("device", "cuda", "place"),
    [
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_where_a_model_runs(device: str, cuda: bool, place: str) -> None:
    assert choose_device(device, cuda=cuda) == place


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(SetupError, match="no GPU here"):
        choose_device("cuda", cuda=False)


@pytest.mark.parametrize(
    ("precision", "device", "chosen"),
    [("auto", "cpu", "float32"), ("auto", "cuda", "bfloat16"), ("float32", "cuda", "float32"), ("int4", "cpu", "int4")],
)
def test_in_how_many_bits(precision: str, device: str, chosen: str) -> None:
    assert choose_precision(precision, device) == chosen


def test_what_a_gpu_does_not_do() -> None:
    with pytest.raises(SetupError, match="int8 is for CPUs here"):
        choose_precision("int8", "cuda")


@pytest.mark.parametrize(
    ("engine", "precision", "device", "field"),
    [
        ("transformers", "int7", "auto", "--precision"),
        ("transformers", "auto", "tpu", "--device"),
        ("openvino", "auto", "cuda", "--device"),
        ("openai", "int8", "auto", "--precision"),
        ("openai", "auto", "cuda", "--device"),
    ],
)
def test_choices_that_there_are_not(engine: str, precision: str, device: str, field: str) -> None:
    with pytest.raises(SetupError) as caught:
        check_choices(engine, precision, device)
    assert caught.value.field == field
    with pytest.raises(SetupError):  # before a model is looked for
        open_engine(engine, "no/such-model", precision=precision, device=device)


def test_a_rounded_model_has_another_name_and_hash() -> None:
    assert as_run(MODEL, "float32", "cpu", "anything") == MODEL
    ways = (("int8", "cpu", "x 1"), ("int8", "cpu", "x 2"), ("int4", "cpu", "x 1"), ("bfloat16", "cpu", "x 1"),
            ("bfloat16", "cuda", "x 1"), ("float32", "cuda", "x 1"))  # fmt: skip
    assert len({as_run(MODEL, *way).sha256 for way in ways} | {MODEL.sha256}) == 7
    rounded = as_run(MODEL, "int8", "cpu", "x 1")
    assert (rounded.name, rounded.adapter_sha256) == ("org/name (int8)", MODEL.adapter_sha256)
    assert as_run(MODEL, "bfloat16", "cuda", "x 1").name == "org/name (bfloat16, cuda)"


def windowed(folder: Path, **config: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("openvino_model.xml", "openvino_model.bin"):
        (folder / name).write_text("not looked at")
    return folder


@pytest.mark.parametrize(
    "config",
    [
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 512},
        {"sliding_window": 4096},
        {"text_config": {"sliding_window": 1024}},
    ],
)
def test_openvino_refuses_windows_that_count_slots(tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises(SetupError, match=r"sliding window .*--engine transformers"):
        open_engine("openvino", str(windowed(tmp_path / "model", **config)))


def test_a_window_that_is_switched_off_is_none(tmp_path: Path) -> None:
    """Qwen3's configuration names one and does not use it. The folder fails for lack of a tokenizer, later."""
    folder = windowed(tmp_path / "model", sliding_window=4096, use_sliding_window=False)
    with pytest.raises(SetupError, match="the tokenizer cannot be loaded"):
        open_engine("openvino", str(folder))


# ----------------------------------------------------------------------------------------------- the embedded model


@pytest.mark.model
@pytest.mark.parametrize(("precision", "share", "bound"), [("int8", 0.6, 0.15), ("int4", 0.5, 2.5)])
def test_rounded_weights_are_made_once_and_kept(
    precision: str, share: float, bound: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are smaller, near to the exact ones, and another model to provenance and calibrations."""
    pytest.importorskip("nncf")
    exact, source = open_engine("openvino", "embedded"), embedded_folder()
    resolved = resolve_model("embedded", offline=True)
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(tmp_path))
    monkeypatch.setattr("panel.engines.hub.resolve_model", lambda *_, **__: resolved)
    rounded = open_engine("openvino", "embedded", precision=precision)
    assert rounded.info.model == f"embedded ({precision})"
    assert rounded.info.model_sha256 != exact.info.model_sha256
    assert rounded.info.adapter_sha256 == exact.info.adapter_sha256
    (kept,) = (tmp_path / "quantised").iterdir()
    assert manifest_problems(kept, {"precision": precision}, hashes=True) == []
    sizes = [(folder / "openvino_model.bin").stat().st_size for folder in (kept, source)]
    assert sizes[0] < share * sizes[1]
    assert not list(kept.glob("*.safetensors"))
    requests = [
        ScoreRequest(f"weigh/{n}", f"Fact (docs): It has {n} pages.\nFor developers, this is", (" good", " bad"))
        for n in range(3, 7)
    ]
    for ours, theirs in zip(rounded.score(requests), exact.score(requests), strict=True):
        assert ours.logprobs != theirs.logprobs
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=bound)
    made = (kept / MANIFEST).stat().st_mtime_ns
    again = open_engine("openvino", "embedded", precision=precision)
    assert (kept / MANIFEST).stat().st_mtime_ns == made
    assert again.info == rounded.info
