"""A converted model is the model that was in the file, for OpenVINO and for transformers alike."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from panel.engines import convert
from panel.engines.hub import ResolvedModel
from panel.errors import SetupError
from panel.requests import ScoreRequest
from tests.engines import tiny_llama


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.converted(tmp_path_factory)


def test_every_file_is_there_and_nothing_else(converted: Path) -> None:
    ir = {f"openvino_{part}.{end}" for part in ("model", "tokenizer", "detokenizer") for end in ("xml", "bin")}
    other = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {file.name for file in converted.iterdir()} == ir | other


def test_config_says_what_the_file_said(converted: Path) -> None:
    config = json.loads((converted / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]) == (64, 2, 288)
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]) == (4, 2, 16)
    assert (config["rms_norm_eps"], config["rope_theta"]) == (1e-5, 100000.0)  # not 9.99999974e-06
    assert config["tie_word_embeddings"] is True


def test_both_forms_compute_what_llama_is_defined_to(converted: Path) -> None:
    """A wrong permutation, name or frequency in either form changes the logits of a random model by whole units."""
    ids = np.random.default_rng(1).integers(3, 259, 60).tolist()
    expected = tiny_llama.llama_logits(converted, ids)
    assert np.abs(expected).max() > 3
    # 2e-3 is what frequencies of 16 bits cost at this length
    np.testing.assert_allclose(tiny_llama.openvino_logits(converted, ids), expected, atol=2e-4)


@pytest.mark.parametrize("engine", ["openvino", pytest.param("transformers", marks=pytest.mark.torch)])
def test_an_engine_loads_it_and_says_what_it_runs(engine: str, converted: Path) -> None:
    """The score of " t" after "in the" is that of Llama's definition, and the names and hashes are passed on."""
    from tokenizers import Tokenizer

    if engine == "openvino":
        from panel.engines.openvino import open_openvino as open_it
    else:
        from panel.engines.transformers import open_transformers as open_it

    opened = open_it(ResolvedModel("tiny", converted, "local", "the weights' hash", "the adapter's hash"))
    assert (opened.info.engine, opened.info.model) == (engine, "tiny")
    assert (opened.info.model_sha256, opened.info.adapter_sha256) == ("the weights' hash", "the adapter's hash")
    ids = Tokenizer.from_file(str(converted / "tokenizer.json")).encode("in the t").ids
    assert len(ids) == 3
    expected = tiny_llama.log_softmax(tiny_llama.llama_logits(converted, ids[:2])[-1])[ids[2]]
    (scores,) = opened.score([ScoreRequest("one", "in the", (" t",))])
    assert scores.logprobs[0] == pytest.approx(expected, abs=1e-3)


def test_frequencies_are_kept_in_32_bits(converted: Path) -> None:
    import openvino

    model = openvino.Core().read_model(converted / "openvino_model.xml")
    constants = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
    [found] = [node for node in constants if tuple(node.get_output_shape(0)) == (1, 8, 1)]
    assert {node.get_element_type() for node in constants if node.get_element_type().is_real()} == {openvino.Type.f32}
    # 100000 ** (-2 i / 16) for i = 0, 4: 1 and the square root of 1/100000
    np.testing.assert_allclose(found.data.ravel()[[0, 4]], [1.0, 0.0031622776], rtol=1e-6)


def test_unpermute_undoes_llama_cpp(converted: Path) -> None:
    # Two heads of 4 rows. llama.cpp takes rows 0, 2, 1, 3 of each head: pairs (i, i + 2) come to stand together.
    permuted = np.array([[0], [2], [1], [3], [10], [12], [11], [13]])
    assert convert.unpermute(permuted, 2).ravel().tolist() == [0, 1, 2, 3, 10, 11, 12, 13]


def test_dequantise_q4_1_by_hand(tmp_path: Path) -> None:
    """A Q4_1 block is a scale, a minimum and 32 numbers of 4 bits: scale · number + minimum."""
    values = np.tile(np.arange(16, dtype=np.float32) * 0.5 - 2, 2)[None]  # scale 0.5, minimum -2: exact
    writer = gguf.GGUFWriter(str(tmp_path / "block.gguf"), "llama")
    kind = gguf.GGMLQuantizationType.Q4_1
    writer.add_tensor("token_embd.weight", gguf.quantize(values, kind), raw_dtype=kind)
    writer.add_tensor("output_norm.weight", np.array([0.1], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    arrays = convert.dequantise(gguf.GGUFReader(tmp_path / "block.gguf"))
    assert arrays["token_embd.weight"].tolist() == values.tolist()
    assert arrays["token_embd.weight"].dtype == np.float16
    assert arrays["output_norm.weight"].dtype == np.float32  # vectors lose nothing


def test_tokenizer_splits_as_the_family_does(converted: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(converted / "tokenizer.json"))
    assert tokenizer.encode("in the 42").tokens == ["in", "Ġthe", "Ġ", "4", "2"]
    assert tokenizer.encode("<|im_start|>é").ids[0] == 1
    text = "naïve — “quotes”\n\tx  3.14"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_transformers_loads_the_tokenizer(converted: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(converted)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert tokenizer.encode("in the 42") == tokenizer.backend_tokenizer.encode("in the 42").ids
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert chat == "<|im_start|>user\nhi<|im_end|>\n"


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    reader = gguf.GGUFReader(tiny_llama.build_gguf(tmp_path / "other.gguf", architecture="qwen2"))
    with pytest.raises(SetupError, match="only plain Llama models"):
        convert.llama_config(reader)


@pytest.mark.parametrize("name", ["rope_freqs.weight", "blk.x.attn_q.weight", "blk.0.attn_q.bias", "blk.0.moe.weight"])
def test_an_unknown_tensor_is_refused(name: str) -> None:
    with pytest.raises(SetupError, match="has no place in a Llama model"):
        convert.hugging_face_name(name)


def test_openvino_failing_is_one_readable_error(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF, but nothing more")
    child = convert._start_ir(tmp_path / "broken.gguf", {"rope_theta": 1e5, "head_dim": 16})
    with pytest.raises(SetupError, match=r"could not convert the model \(exit code 1\): .+"):
        convert._finish_ir(child, tmp_path)
