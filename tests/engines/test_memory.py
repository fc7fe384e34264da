"""Memory is reckoned as the formulas say, and the doctor names what is missing."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from panel.engines import memory
from panel.engines.hub import ResolvedModel
from panel.engines.memory import Check, available_memory, doctor
from tests.engines.test_footprint import SIZES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    return tmp_path


def test_available_memory_is_of_this_world() -> None:
    assert 10**8 < available_memory() < 10**14


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nMemAvailable:      24 kB\n")
    assert memory._proc_meminfo(tmp_path / "meminfo") == 24 * 1024
    assert memory._proc_meminfo(tmp_path / "absent") == 0
    assert memory._cgroup_left(tmp_path) == 0
    for name, content in (("max", "1000\n"), ("current", "900\n"), ("stat", "anon 100\ninactive_file 300\n")):
        (tmp_path / f"memory.{name}").write_text(content)
    assert memory._cgroup_left(tmp_path) == 400  # 1000 - 900, and 300 that the system gives back at once
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._cgroup_left(tmp_path) == 0


# --------------------------------------------------------------------------------------------------------- doctor


@pytest.fixture
def sound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that is there, in a world where every package is installed."""
    save_file({"a": np.zeros(10, np.float16)}, folder / "model.safetensors")
    (folder / "openvino_model.bin").write_bytes(b"")
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(folder / "cache"))
    monkeypatch.setattr(memory, "resolve_model", lambda model, offline: ResolvedModel(model, folder, "local", ""))
    monkeypatch.setattr(memory.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**11)
    return folder


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.parametrize("engine", ["openvino", "transformers"])
def test_all_is_well(sound: Path, engine: str) -> None:
    checks = doctor("embedded", engine)
    assert [check.name for check in checks] == ["python", "engine", "cache", "model", "memory"]
    assert all(check.ok and check.detail and not check.fix for check in checks)
    assert not (sound / "cache").exists()  # a look changes nothing


def test_a_package_is_missing(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.importlib.util, "find_spec", lambda name: None if name == "torch" else name)
    check = by_name(doctor("embedded", "transformers"))["engine"]
    assert (check.ok, check.detail, check.fix) == (False, "not installed: torch", "pip install 'review-panel[torch]'")


def test_an_unknown_engine(sound: Path) -> None:
    check = by_name(doctor("embedded", "steam"))["engine"]
    assert not check.ok
    assert "openvino" in check.fix


@pytest.mark.parametrize("model", ["embedded", "embedded-base"])
def test_no_model(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(tmp_path))
    check = by_name(doctor(model, "openvino"))["model"]
    assert (check.ok, check.fix) == (False, f"run: review-panel models pull {model}")


def test_the_other_form_of_the_model(sound: Path) -> None:
    (sound / "openvino_model.bin").unlink()
    check = by_name(doctor("org/name", "openvino"))["model"]
    assert not check.ok
    assert "--engine transformers" in check.fix


def test_too_large(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10**8)
    check = by_name(doctor("embedded", "openvino"))["memory"]
    assert not check.ok
    # 46,080 bytes · 6,656 cells
    assert "keys and values 0.31, " in check.detail
    assert "; 0.1 GB free" in check.detail


def test_precision_and_device_are_of_the_check(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_has_gpu", lambda: True)
    found = by_name(doctor("org/name", "transformers"))
    assert found["model"].detail.endswith("bfloat16 on cuda")
    assert found["memory"].ok
    assert "of the GPU's" in found["memory"].detail
    found = by_name(doctor("org/name", "transformers", device="cpu"))
    assert found["model"].detail.endswith("float32 on cpu")
    assert "free" in found["memory"].detail
    refused = by_name(doctor("org/name", "transformers", precision="int8", device="cuda"))["model"]
    assert (refused.ok, refused.fix) == (False, "use --precision bfloat16, or --device cpu")


def test_what_rounds_is_not_installed(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("panel.engines.precision.metadata.version", absent)
    check = by_name(doctor("embedded", "openvino", precision="int8"))["model"]
    assert not check.ok
    assert "need nncf, which is not installed" in check.detail
    assert "nncf is not built for every Python" in check.fix


def test_a_cache_that_cannot_be_written(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sound / "file").write_text("in the way")
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(sound / "file"))
    check = by_name(doctor("embedded", "openvino"))["cache"]
    assert not check.ok
    assert "REVIEW_PANEL_CACHE" in check.fix


def test_an_engine_elsewhere_needs_no_model_here(sound: Path) -> None:
    assert "model" not in by_name(doctor("anything", "openai"))
