"""An adapter is merged as it is defined, W + (alpha / r) · B A, or refused; never merged in part, or in another way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from panel.engines import convert
from panel.engines.adapter import CONFIG, WEIGHTS, adapter_sha256, load_adapter, merge_adapter
from panel.engines.embedded import EMBEDDED
from panel.errors import SetupError
from tests.engines import tiny_llama

# r = 2, alpha = 1: B A = [[1, 0], [2, −2]] · [[1, 2], [0, 1]] = [[1, 2], [2, 2]], and half of it is added.
A = np.array([[1, 2], [0, 1]], np.float32)
B = np.array([[1, 0], [2, -2]], np.float32)
FACTORS = {"model.w": (A, B)}


def same(name: str, array: Any) -> Any:
    """The rows of the file are in Hugging Face's order."""
    return array


def respell(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write the adapter's tensors again after `change` has had its way with them."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def test_two_by_two_by_hand(tmp_path: Path) -> None:
    adapter = load_adapter(tiny_llama.build_adapter(tmp_path, FACTORS, alpha=1))
    assert adapter.scale == 0.5
    assert adapter.delta("model.w.weight").tolist() == [[0.5, 1.0], [1.0, 1.0]]  # A B would be [[2.5, −2], [1, −1]]
    arrays = {"w": np.eye(2, dtype=np.float16), "other": np.ones((2, 2), np.float16)}
    merge_adapter(adapter, arrays, lambda name: f"model.{name}.weight", same)
    assert arrays["w"].tolist() == [[1.5, 1.0], [1.0, 2.0]]
    assert arrays["w"].dtype == np.float16
    assert arrays["other"].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_rows_go_where_the_file_has_them(tmp_path: Path) -> None:
    """A file with its rows the other way round gets the delta the other way round: [[1, 1], [0.5, 1]]."""
    adapter = load_adapter(tiny_llama.build_adapter(tmp_path, FACTORS, alpha=1))
    arrays = {"w": np.zeros((2, 2), np.float16)}
    merge_adapter(adapter, arrays, lambda name: f"model.{name}.weight", lambda name, delta: delta[::-1])
    assert arrays["w"].tolist() == [[1.0, 1.0], [0.5, 1.0]]


def test_an_adapter_is_known_by_its_config_and_its_weights(tmp_path: Path) -> None:
    """As sha256sum would put them one below the other. The same weights at another scale are another adapter."""
    one = tiny_llama.build_adapter(tmp_path / "one", FACTORS)
    listed = "".join(f"{hashlib.sha256((one / name).read_bytes()).hexdigest()}\n" for name in (CONFIG, WEIGHTS))
    assert adapter_sha256(one) == load_adapter(one).sha256 == hashlib.sha256(listed.encode()).hexdigest()
    scaled = tiny_llama.build_adapter(tmp_path / "scaled", FACTORS, alpha=7)
    other = tiny_llama.build_adapter(tmp_path / "other", {"model.w": (A, B + 1)})
    assert len({adapter_sha256(folder) for folder in (one, scaled, other)}) == 3


# ----------------------------------------------------------------------------------------------------- refused

NOT_PLAIN: dict[str, dict[str, Any]] = {
    "use_dora": {"use_dora": True},
    "use_rslora": {"use_rslora": True},
    "bias": {"bias": "all"},
    "fan_in_fan_out": {"fan_in_fan_out": True},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "another method or ranks": {"peft_type": "IA3"},
    "ranks": {"rank_pattern": {"q_proj": 4}},
    "or ranks": {"alpha_pattern": {"q_proj": 32}},
}


@pytest.mark.parametrize("named", NOT_PLAIN)
def test_what_is_more_than_plain_lora_is_refused(named: str, tmp_path: Path) -> None:
    folder = tiny_llama.build_adapter(tmp_path, FACTORS, **NOT_PLAIN[named])
    with pytest.raises(SetupError, match=f"only plain LoRA adapters .*{named}") as caught:
        load_adapter(folder)
    assert caught.value.path == folder / CONFIG
    assert "LoraConfig" in caught.value.fix


A_KEY, B_KEY = (f"base_model.model.model.w.lora_{part}.weight" for part in "AB")
WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "no B": lambda tensors: tensors.pop(B_KEY),
    "no A": lambda tensors: tensors.pop(A_KEY),
    "a rank of 3 in A": lambda tensors: tensors.update({A_KEY: np.ones((3, 2), np.float32)}),
    "a rank of 3 in B": lambda tensors: tensors.update({B_KEY: np.ones((2, 3), np.float32)}),
    "a bias": lambda tensors: tensors.update({B_KEY.replace("weight", "bias"): np.ones(2, np.float32)}),
    "an embedding": lambda tensors: tensors.update({"base_model.model.e.lora_embedding_A": np.ones((2, 9))}),
    "a whole matrix": lambda tensors: tensors.update({"base_model.model.lm_head.weight": np.ones((2, 2))}),
    "nothing at all": lambda tensors: tensors.clear(),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_tensors_that_are_no_whole_adapter_are_refused(wrong: str, tmp_path: Path) -> None:
    folder = tiny_llama.build_adapter(tmp_path, FACTORS)
    respell(folder, WRONG[wrong])
    with pytest.raises(SetupError) as caught:
        load_adapter(folder)
    assert caught.value.path == folder / WEIGHTS
    assert "again" in caught.value.fix


def test_ranks_that_agree_with_each_other_and_not_with_the_config_are_refused(tmp_path: Path) -> None:
    """They would be scaled by alpha / 3, where alpha / 2 was trained."""
    with pytest.raises(SetupError, match=r"model\.w lacks a factor, or its rank is not 3"):
        load_adapter(tiny_llama.build_adapter(tmp_path, FACTORS, r=3))


BROKEN: dict[str, Callable[[Path], object]] = {
    "weights cut short": lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1]),
    "weights that are none": lambda folder: (folder / WEIGHTS).write_bytes(b"PK\x03\x04 a pickle, say"),
    "empty weights": lambda folder: (folder / WEIGHTS).write_bytes(b""),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "no config": lambda folder: (folder / CONFIG).unlink(),
    "half a config": lambda folder: (folder / CONFIG).write_text('{"r": 2, '),
    "a config of bytes": lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe\x00"),
    "a list for a config": lambda folder: (folder / CONFIG).write_text("[2, 6]"),
    "no rank": lambda folder: (folder / CONFIG).write_text('{"lora_alpha": 6, "peft_type": "LORA"}'),
    "a rank that is no number": lambda folder: (folder / CONFIG).write_text('{"r": "two", "lora_alpha": 6}'),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_folder_is_one_readable_error(broken: str, tmp_path: Path) -> None:
    folder = tiny_llama.build_adapter(tmp_path / "adapter", FACTORS)
    BROKEN[broken](folder)
    with pytest.raises(SetupError, match=r"cannot be read|is broken") as caught:
        load_adapter(folder)
    assert str(folder) in str(caught.value)
    assert re.search(f"{CONFIG}, {WEIGHTS}|fetch or train it again", caught.value.fix)


# --------------------------------------------------------------------------------------- merged when converted


def test_permute_by_hand_and_the_other_way_round() -> None:
    # Two heads of 4 rows: llama.cpp takes rows 0, 2, 1, 3 of each, see test_convert.py.
    rows = np.array([[0], [1], [2], [3], [10], [11], [12], [13]])
    assert convert.permute(rows, 2).ravel().tolist() == [0, 2, 1, 3, 10, 12, 11, 13]
    # With 6 rows to a head it is no longer its own inverse: pairs (0, 3), (1, 4), (2, 5).
    assert convert.permute(np.arange(6)[:, None], 1).ravel().tolist() == [0, 3, 1, 4, 2, 5]
    for heads, size, width in ((1, 6, 5), (3, 6, 1), (4, 16, 64), (9, 64, 8)):
        matrix = np.random.default_rng(0).normal(size=(heads * size, width))
        assert np.array_equal(convert.unpermute(convert.permute(matrix, heads), heads), matrix)
        assert np.array_equal(convert.permute(convert.unpermute(matrix, heads), heads), matrix)


#: The matrices whose rows llama.cpp reorders (by four heads and by two), and one of the others.
ADAPTED = ("layers.0.self_attn.q_proj", "layers.1.self_attn.k_proj", "layers.1.mlp.down_proj")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.build_gguf(tmp_path_factory.mktemp("source") / "tiny.gguf")


@pytest.fixture(scope="module")
def base(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    convert.convert_gguf(source, folder, lambda message: None)
    return folder


@pytest.fixture(scope="module")
def adapted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted")
    adapter = tiny_llama.build_adapter(tmp_path_factory.mktemp("adapter"), tiny_llama.random_factors(*ADAPTED))
    convert.convert_gguf(source, folder, lambda message: None, adapter)
    return folder


def test_the_converted_weights_are_the_merged_ones(base: Path, adapted: Path) -> None:
    """alpha / r = 6 / 2 = 3. A number in F16 has 11 bits, so rounding moves it by 1 part in 2048 at most (and by 3e-8
    where it is tiny)."""
    before, after = (load_file(folder / "model.safetensors") for folder in (base, adapted))
    factors = tiny_llama.random_factors(*ADAPTED)
    assert set(before) == set(after)
    for name, array in after.items():
        assert array.dtype == np.float16
        module = name.removesuffix(".weight")
        if module not in factors:
            assert np.array_equal(array, before[name]), name
            continue
        a, b = (factor.astype(np.float64) for factor in factors[module])
        expected = before[name] + 3 * b @ a
        assert (np.abs(array - expected) <= np.abs(expected) / 2048 + 1e-6).all(), name
        assert np.abs(3 * b @ a).mean() > 0.1, name  # rows in another order would be far off


def test_both_engines_are_given_the_merged_weights(base: Path, adapted: Path) -> None:
    ids = np.random.default_rng(1).integers(3, 259, 40).tolist()
    expected = tiny_llama.llama_logits(adapted, ids)
    np.testing.assert_allclose(tiny_llama.openvino_logits(adapted, ids), expected, atol=1e-3)
    assert np.abs(tiny_llama.llama_logits(base, ids) - expected).max() > 1


MISFITS: dict[str, tiny_llama.Factors] = {
    "v_proj": {"model.layers.0.self_attn.v_proj": (np.ones((2, 64), np.float32), np.ones((33, 2), np.float32))},
    "q_proj": {"model.layers.0.self_attn.q_proj": (np.ones((2, 64), np.float32), np.ones((63, 2), np.float32))},
    "k_proj": {"model.layers.0.self_attn.k_proj": (np.ones((2, 63), np.float32), np.ones((32, 2), np.float32))},
    "layers.7": tiny_llama.random_factors("layers.7.mlp.up_proj"),
    "w": FACTORS,
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_an_adapter_of_another_model_is_refused(misfit: str, source: Path, tmp_path: Path) -> None:
    """Wrong rows, wrong rows that are to be reordered, wrong columns, a block and a matrix that are not there."""
    adapter = tiny_llama.build_adapter(tmp_path / "adapter", MISFITS[misfit])
    (tmp_path / "out").mkdir()
    with pytest.raises(SetupError, match=re.escape(misfit)) as caught:
        convert.convert_gguf(source, tmp_path / "out", lambda message: None, adapter)
    assert "trained on" in caught.value.fix
    assert not list((tmp_path / "out").iterdir())  # before anything was written


def test_a_misfit_names_the_file_that_does_not_fit(source: Path, tmp_path: Path) -> None:
    adapter = tiny_llama.build_adapter(tmp_path / "adapter", MISFITS["v_proj"])
    with pytest.raises(SetupError) as caught:
        convert.convert_gguf(source, tmp_path, lambda message: None, adapter)
    assert str(adapter) in str(caught.value)


# -------------------------------------------------------------------------------------------- the one we ship


def test_the_adapter_that_is_shipped_fits_the_model() -> None:
    """Its matrices are those of SmolLM2-135M: 30 blocks of width 576, with 3 of 9 heads for keys and values."""
    assert EMBEDDED.adapter is not None
    adapter = load_adapter(EMBEDDED.adapter)
    q, kv, wide = 576, 192, 1536
    shapes = {
        "self_attn.q_proj": (q, q), "self_attn.k_proj": (kv, q), "self_attn.v_proj": (kv, q),
        "self_attn.o_proj": (q, q), "mlp.gate_proj": (wide, q), "mlp.up_proj": (wide, q), "mlp.down_proj": (q, wide),
    }  # fmt: skip
    expected = {f"model.layers.{n}.{part}.weight": shape for n in range(30) for part, shape in shapes.items()}
    found = {name: (b.shape[0], a.shape[1]) for name, (a, b) in adapter.factors.items()}
    assert found == expected
    assert all(np.isfinite(adapter.delta(name)).all() for name in adapter.factors)
