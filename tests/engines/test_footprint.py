"""Memory is reckoned as the formulas say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from panel.engines.footprint import LIBRARIES, Load, count_parameters, predict, tied
from panel.errors import SetupError

# The sizes of SmolLM2-135M
SIZES: dict[str, Any] = {
    "num_hidden_layers": 30, "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3,
    "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
ONE = Load(cells=1, gathered=0, new=0, scored=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    return tmp_path


def change(folder: Path, **fields: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**SIZES, **fields}))


def keys(folder: Path, load: Load = ONE, engine: str = "transformers", precision: str = "float32") -> int:
    return predict(folder, engine, precision=precision, load=load).parts["keys and values"]


def test_keys_and_values_by_hand(folder: Path) -> None:
    # head dim 576 / 9 = 64; one token: 2 · 30 layers · 3 heads · 64 · 4 bytes = 46,080 bytes
    assert keys(folder) == 46_080
    assert keys(folder, Load(cells=800, gathered=0, new=0, scored=0)) == 36_864_000
    assert keys(folder, engine="openvino") == 46_080
    assert keys(folder, precision="bfloat16") == 23_040
    assert keys(folder, engine="openvino", precision="bfloat16") == 46_080  # its cache stays in 32 bits


def test_a_head_dim_of_its_own_and_no_shared_heads(folder: Path) -> None:
    change(folder, head_dim=128, num_key_value_heads=None)
    assert keys(folder) == 276_480  # 2 · 30 · 9 · 128 · 4


def test_the_text_part_of_a_model_for_images(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"text_config": SIZES, "vision_config": {"hidden_size": 1024}}))
    assert keys(folder) == 46_080
    names = ("model.language_model.embed_tokens.weight", "model.vision_tower.patch.weight")
    save_file({name: np.zeros((3, 4), np.float16) for name in names}, folder / "model.safetensors")
    assert count_parameters(folder) == 12


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
    save_file({"lm_head.weight": np.zeros((2, 2, 2), np.float16)}, folder / "model-2.safetensors")
    assert count_parameters(folder) == 12 + 5 + 8
    assert not tied(folder)  # whatever config.json says


def test_the_embedded_models_weights(folder: Path) -> None:
    exact = predict(folder, "openvino", load=ONE).parts
    assert exact["weights"] == 4 * 134_515_008
    # all but the embedding once more, and the output matrix, which is the embedding, twice
    assert exact["packed"] == 4 * (106_203_456 + 2 * 28_311_552)
    with (folder / "openvino_model.bin").open("wb") as file:
        file.truncate(4 * 134_515_008 + 1000)
    assert predict(folder, "openvino", load=ONE).parts["weights"] == 4 * 28_311_552, "the file is mapped, and let go"
    rounded = predict(folder, "openvino", precision="int8", load=ONE).parts
    assert rounded["weights"] == 134_515_008
    torch = predict(folder, "transformers", load=ONE).parts
    assert "packed" not in torch
    # torchao leaves the embedding as it is
    assert predict(folder, "transformers", precision="int8", load=ONE).parts["weights"] == 106_203_456 + 4 * 28_311_552


def test_passes_by_hand(folder: Path) -> None:
    # 10 tokens · 4 bytes · (6 · 576 + 4 · 1536) = 384,000; logits 4 · 4 bytes · 49,152 · 2 = 1,572,864
    assert predict(folder, "openvino", load=Load(0, 0, 10, 2)).parts["passes"] == 384_000 + 1_572_864


def test_pytorch_gathers_the_rows_of_a_pass(folder: Path) -> None:
    # 3 cells of one layer, of 3 heads and spread over 9: 3 · 8 bytes · (3 + 9) · 64 = 18,432
    assert keys(folder, Load(cells=1, gathered=3, new=0, scored=0)) == 46_080 + 18_432
    assert keys(folder, Load(cells=1, gathered=3, new=0, scored=0), engine="openvino") == 46_080


def test_on_a_gpu_only_the_model_counts(folder: Path) -> None:
    here, there = (predict(folder, "transformers", precision="bfloat16", device=place) for place in ("cpu", "cuda"))
    assert not here.on_gpu
    assert there.on_gpu
    assert here.total - there.total == LIBRARIES["transformers"] + 2_100 * 49_152


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"num_hidden_layers": "many"}'])
def test_a_config_without_sizes(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(SetupError, match=r"config\.json"):
        predict(folder, "openvino")
