"""What a model is, known without loading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from panel.engines import find_engine, identity
from panel.engines.hub import ResolvedModel
from panel.engines.identity import Identity, openvino_identity, transformers_identity
from panel.errors import SetupError
from panel.requests import EngineInfo


@pytest.fixture
def model(tmp_path: Path) -> ResolvedModel:
    folder = tmp_path / "small"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "openvino_model.xml", "manifest.json"):
        (folder / name).write_text(name)
    (folder / "openvino_model.bin").write_bytes(b"weights")
    return ResolvedModel("small", folder, "local", "a" * 64, "b" * 64)


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions that packages are said to have; None: not installed."""
    said: dict[str, str | None] = {"torch": "2.13.0+cpu"}

    def look_up(package: str) -> str:
        found = said[package] if package in said else version(package)
        if found is None:
            raise PackageNotFoundError(package)
        return found

    monkeypatch.setattr(identity, "version", look_up)
    return said


def test_what_it_says(model: ResolvedModel, versions: dict[str, str | None]) -> None:
    versions |= {"openvino": "2026.4.1", "transformers": "5.23.0"}
    one, other = openvino_identity(model), transformers_identity(model)
    assert one.info == EngineInfo("openvino", "2026.4.1", "small", "a" * 64, "b" * 64)
    assert other.info == EngineInfo("transformers", "5.23.0+torch2.13.0", "small", "a" * 64, "b" * 64)
    assert one.id != other.id
    assert one.id == openvino_identity(model).id


def test_it_comes_back_from_json(model: ResolvedModel, versions: dict[str, str | None]) -> None:
    one = openvino_identity(model)
    again = Identity.from_json(one.to_json())
    assert again == one
    assert again is not None
    assert again.id == one.id


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '[{"engine": "x"}, {}]', '[{"engine":1,"engine_version":"","model":"","model_sha256":""},{}]'],
)
def test_what_is_no_identity(text: str) -> None:
    assert Identity.from_json(text) is None


@pytest.mark.parametrize("find", [openvino_identity, transformers_identity])
@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "chat_template.jinja", "openvino_model.xml", "manifest.json", "merges.txt"],
)
def test_a_changed_file_is_another_model(
    model: ResolvedModel,
    versions: dict[str, str | None],
    find: Callable[[ResolvedModel], Identity],
    name: str,
) -> None:
    before = find(model)
    (model.folder / name).write_text("changed")
    after = find(model)
    assert after.id != before.id
    assert after.info == before.info


@pytest.mark.parametrize("package", ["openvino", "llguidance", "tokenizers", "transformers"])
def test_another_version_of_a_library_is_another_model(
    model: ResolvedModel, versions: dict[str, str | None], package: str
) -> None:
    before = openvino_identity(model).id
    versions[package] = "0.0.1"
    assert openvino_identity(model).id != before
    versions[package] = None
    with pytest.raises(SetupError, match=f"the package {package} is not installed"):
        openvino_identity(model)


def test_other_weights_another_adapter_other_code(
    model: ResolvedModel, versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [openvino_identity(m).id for m in (model, replace(model, sha256="c"), replace(model, adapter_sha256="c"))]
    monkeypatch.setattr(identity, "DECODING", identity.DECODING + 1)
    ids.append(openvino_identity(model).id)
    monkeypatch.setattr(identity, "OPENVINO_SETTINGS", {"INFERENCE_PRECISION_HINT": "bf16"})
    ids.append(openvino_identity(model).id)
    assert len(set(ids)) == 5
    assert openvino_identity(replace(model, name="other")).id == ids[-1]


def test_what_openvino_cannot_run(model: ResolvedModel) -> None:
    (model.folder / "openvino_model.xml").unlink()
    with pytest.raises(SetupError, match=r"the folder holds no OpenVINO model.*Fix: use --engine transformers"):
        openvino_identity(model)


def test_without_pytorch(model: ResolvedModel, versions: dict[str, str | None]) -> None:
    versions["torch"] = None
    with pytest.raises(SetupError, match=r"needs PyTorch.*Fix: pip install"):
        transformers_identity(model)


def test_the_device_is_part_of_it(
    model: ResolvedModel, versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU computes in another precision."""
    on_cpu = transformers_identity(model)
    assert on_cpu.settings["device"] == "cpu"
    monkeypatch.setattr(identity, "torch_device", lambda _: "cuda")
    assert transformers_identity(model).id != on_cpu.id


def test_the_precision_is_part_of_it(
    model: ResolvedModel, versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what answers are kept under (id), of what calibrations are found by (hash), of what people read (name)."""
    versions |= {"nncf": "3.4.0", "torchao": "0.18.0"}
    monkeypatch.setattr("panel.engines.precision.metadata.version", vars(identity)["version"])
    precisions = ("float32", "bfloat16", "int8", "int4")
    for find in (openvino_identity, transformers_identity):
        found = [find(model, precision) for precision in precisions]
        assert found[0] == find(model)
        assert [one.info.model for one in found] == ["small", "small (bfloat16)", "small (int8)", "small (int4)"]
        assert len({one.id for one in found}) == len({one.info.model_sha256 for one in found}) == 4
        assert [one.settings.get("published") for one in found] == [None, *["a" * 64] * 3]
    before = openvino_identity(model, "int8").info.model_sha256
    versions["nncf"] = "3.5.0"
    assert openvino_identity(model, "int8").info.model_sha256 != before


def test_what_a_gpu_answers_is_kept_apart(
    model: ResolvedModel, versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cpu = transformers_identity(model)
    monkeypatch.setattr(identity, "torch_device", lambda _: "cuda")
    assert transformers_identity(model, device="cpu") == on_cpu
    found = [transformers_identity(model), transformers_identity(model, "float32", "cuda")]
    assert [one.info.model for one in found] == ["small (bfloat16, cuda)", "small (cuda)"]
    assert len({one.info.model_sha256 for one in (on_cpu, *found)}) == 3


@pytest.mark.model
def test_the_embedded_model_is_what_its_engine_says() -> None:
    """The version is read off the package, and must be that of the library."""
    import openvino

    found, load = find_engine("openvino", "embedded")
    assert found.info.engine_version == openvino.get_version().split("-")[0]
    assert load().info == found.info


@pytest.mark.torch
def test_the_engine_transformers_is_what_it_says() -> None:
    import torch
    import transformers

    found, load = find_engine("transformers", "embedded")
    assert found.info.engine_version == f"{transformers.__version__}+torch{torch.__version__.split('+')[0]}"
    assert found.settings["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert load().info == found.info
