"""Memory is reckoned as the formulas say, and the doctor names what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from panel.engines import memory
from panel.engines.hub import ResolvedModel
from panel.engines.memory import Check, MemoryEstimate, available_memory, count_parameters, doctor, estimate
from panel.errors import SetupError

# The sizes of SmolLM2-135M
SIZES: dict[str, Any] = {
    "num_hidden_layers": 30, "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3,
    "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    return tmp_path


def change(folder: Path, **fields: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**SIZES, **fields}))


def test_kv_by_hand(folder: Path) -> None:
    # head dim 576 / 9 = 64; one token: 2 · 30 layers · 3 heads · 64 · 4 bytes = 46,080 bytes
    # 8 conversations of 100 tokens: 46,080 · 800 = 36,864,000
    assert estimate(folder, sequences=1, tokens=1).kv == 46_080
    assert estimate(folder, sequences=8, tokens=100).kv == 36_864_000
    assert estimate(folder, sequences=8, tokens=100, kv_bytes=2).kv == 18_432_000


def test_a_head_dim_of_its_own_and_no_shared_heads(folder: Path) -> None:
    change(folder, head_dim=128, num_key_value_heads=None)
    # 2 · 30 · 9 · 128 · 4
    assert estimate(folder, sequences=1, tokens=1).kv == 276_480


def test_the_text_part_of_a_model_for_images(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"text_config": SIZES, "vision_config": {"hidden_size": 1024}}))
    assert estimate(folder, sequences=1, tokens=1).kv == 46_080


def test_parameters_by_hand(folder: Path) -> None:
    # vocabulary 49,152 · 576                                        = 28,311,552
    # a block: q and o 2 · 576 · 576 = 663,552; k and v 2 · 576 · 192 = 221,184;
    #          feed-forward 3 · 576 · 1536 = 2,654,208; norms 2 · 576 = 1,152     → 3,540,096; · 30 = 106,202,880
    # the last norm                                                  = 576
    assert count_parameters(folder) == 28_311_552 + 106_202_880 + 576 == 134_515_008
    change(folder, tie_word_embeddings=False)
    assert count_parameters(folder) == 134_515_008 + 28_311_552


def test_parameters_are_read_where_they_can_be(folder: Path) -> None:
    save_file({"a": np.zeros((3, 4), np.float16), "b": np.zeros(5, np.float16)}, folder / "model-1.safetensors")
    save_file({"c": np.zeros((2, 2, 2), np.float16)}, folder / "model-2.safetensors")
    assert count_parameters(folder) == 12 + 5 + 8
    assert estimate(folder, sequences=1, tokens=1, bytes_per_weight=0.5).weights == 13  # 12.5, rounded up


def test_weights_are_not_counted_twice(folder: Path) -> None:
    save_file({"a": np.zeros(100, np.float16)}, folder / "model.safetensors")
    (folder / "openvino_model.bin").write_bytes(b"x" * 200)
    found = estimate(folder, sequences=1, tokens=1)
    assert found.weights == (folder / "model.safetensors").stat().st_size  # the larger of the two forms
    assert found.total == found.weights + found.kv


def test_fits() -> None:
    assert MemoryEstimate(1, 1, 2, 2).fits
    assert not MemoryEstimate(1, 2, 3, 2).fits
    assert MemoryEstimate(1, 2, 3, 0).fits  # nothing is known of the machine


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"num_hidden_layers": "many"}'])
def test_a_config_without_sizes(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(SetupError, match=r"config\.json"):
        estimate(folder, sequences=1, tokens=1)


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
    monkeypatch.setattr(memory, "available_memory", lambda: 10**9)
    check = by_name(doctor("embedded", "openvino"))["memory"]
    # 46,080 bytes · 32 · 1024 = 1.51 GB
    assert not check.ok
    assert "1.51 GB for 32 × 1024 tokens; 1.0 GB free" in check.detail


def test_a_cache_that_cannot_be_written(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sound / "file").write_text("in the way")
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(sound / "file"))
    check = by_name(doctor("embedded", "openvino"))["cache"]
    assert not check.ok
    assert "REVIEW_PANEL_CACHE" in check.fix


def test_an_engine_elsewhere_needs_no_model_here(sound: Path) -> None:
    assert "model" not in by_name(doctor("anything", "openai"))
