"""From one GGUF file to a folder that openvino, openvino-genai and transformers load.

A quantised GGUF file read by openvino-genai itself is quantised again, and its answers get worse: log P(" Paris" |
"The capital of France is") falls from −0.26 to −0.49. So its tensors are first written out in F16. No torch here.

What the folder holds afterwards:

    openvino_model.xml, .bin            the network as OpenVINO IR, F32
    openvino_(de)tokenizer.xml, .bin    written along with it
    model.safetensors, config.json      the same weights under Hugging Face's names
    generation_config.json
    tokenizer.json, tokenizer_config.json

The same GGUF file gives the same bytes each time (seen with openvino-genai 2026.4.1).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panel.engines.adapter import load_adapter, merge_adapter
from panel.errors import SetupError

#: Goes into the manifest. Raise it when the files change: folders of older versions are then converted again.
CONVERTER_VERSION = "3"

# GGUF name → Hugging Face name, inside and outside of a block. A name that is missing here is an error.
_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL_TOKEN = 3  # gguf.TokenType.CONTROL


def convert_gguf(gguf: Path, folder: Path, progress: Callable[[str], None], adapter: Path | None = None) -> None:
    """Write everything that the module's docstring lists into `folder`, which exists and is empty.

    `adapter` is the folder of a LoRA adapter that is merged into the weights. Takes about 10 seconds and 1.5 GB of
    memory for 135 million weights. Raises `SetupError` where the model is of a kind that is not handled, the adapter
    does not fit or openvino-genai fails, and `OSError` where the disk does.
    """
    progress("reading the weights")
    reader, config, arrays = _read(gguf, adapter)
    f16 = folder / "f16.gguf"
    write_f16_gguf(reader, arrays, f16)
    progress("writing the model for OpenVINO and for transformers")
    child = _start_ir(f16, config)
    try:
        write_tokenizer(reader, folder)
        _write_json(folder / "config.json", config)
        ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        _write_json(folder / "generation_config.json", {**ids, "do_sample": False})
        write_safetensors(arrays, config, folder / "model.safetensors")
        _finish_ir(child, folder)
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    del arrays
    f16.unlink()


def dequantise_gguf(gguf: Path, path: Path, adapter: Path | None = None) -> None:
    """Write the weights that `convert_gguf` makes of `gguf` to `path`, as a GGUF file in F16. Raises as that does."""
    reader, _, arrays = _read(gguf, adapter)
    write_f16_gguf(reader, arrays, path)


# ------------------------------------------------------------------------------------------------- reading


def _read(gguf: Path, adapter: Path | None) -> tuple[Any, dict[str, Any], dict[str, NDArray[Any]]]:
    """The GGUF file, its config.json, and its tensors with the adapter merged into them."""
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    config = llama_config(reader)
    arrays = dequantise(reader)
    if adapter is not None:
        merge_adapter(load_adapter(adapter), arrays, hugging_face_name, _arranged(config))
    return reader, config, arrays


def _field(reader: Any, key: str, default: Any = None) -> Any:
    """The value of a metadata field; `SetupError` where it is missing and there is no default."""
    field = reader.fields.get(key)
    if field is None:
        if default is None:
            raise SetupError(f"the GGUF file has no field {key}", fix="use a GGUF file of a Llama-like model")
        return default
    return field.contents()


def _shortest(value: float) -> float:
    """GGUF holds 32-bit floats: the shortest decimal that gives the same one is the number that was meant."""
    return float(str(np.float32(value)))


def llama_config(reader: Any) -> dict[str, Any]:
    """config.json of a `LlamaForCausalLM`, from the metadata. Raises `SetupError` for any other architecture."""
    architecture = _field(reader, "general.architecture")
    names = {tensor.name for tensor in reader.tensors}
    if architecture != "llama" or "rope_freqs.weight" in names or "llama.rope.scaling.type" in reader.fields:
        raise SetupError(
            f"only plain Llama models are converted, this one is {architecture!r} or scales its positions",
            fix="give the model as a folder with config.json and safetensors instead",
        )
    heads, width = int(_field(reader, "llama.attention.head_count")), int(_field(reader, "llama.embedding_length"))
    eos = int(_field(reader, "tokenizer.ggml.eos_token_id"))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(_field(reader, "tokenizer.ggml.tokens")),
        "hidden_size": width,
        "intermediate_size": int(_field(reader, "llama.feed_forward_length")),
        "num_hidden_layers": int(_field(reader, "llama.block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(_field(reader, "llama.attention.head_count_kv", heads)),
        "head_dim": int(_field(reader, "llama.attention.key_length", width // heads)),
        "hidden_act": "silu",
        "max_position_embeddings": int(_field(reader, "llama.context_length")),
        "rms_norm_eps": _shortest(_field(reader, "llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": _shortest(_field(reader, "llama.rope.freq_base", 10000.0)),
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in names,
        "bos_token_id": int(_field(reader, "tokenizer.ggml.bos_token_id")),
        "eos_token_id": eos,
        "pad_token_id": int(_field(reader, "tokenizer.ggml.padding_token_id", eos)),
        "torch_dtype": "float16",
    }


def dequantise(reader: Any) -> dict[str, NDArray[Any]]:
    """GGUF tensor name → array: matrices (rows out, columns in) in F16, vectors in F32."""
    from gguf import dequantize

    def one(tensor: Any) -> tuple[str, NDArray[Any]]:
        array = dequantize(tensor.data, tensor.tensor_type)
        return tensor.name, array.astype(np.float16 if array.ndim > 1 else np.float32)

    # numpy lets go of the interpreter's lock in its loops, so threads do help here
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return dict(pool.map(one, reader.tensors))


# ------------------------------------------------------------------------------------------------- writing


def write_f16_gguf(reader: Any, arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """The same model as a GGUF file with `arrays` for its tensors."""
    from gguf import GGUFValueType, GGUFWriter, LlamaFileType

    writer = GGUFWriter(str(path), _field(reader, "general.architecture"))
    written_anew = {"general.architecture", "general.file_type", "general.quantization_version"}
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in written_anew:
            continue
        kind = field.types[0]
        writer.add_key_value(
            key, field.contents(), kind, sub_type=field.types[-1] if kind == GGUFValueType.ARRAY else None
        )
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _start_ir(gguf: Path, config: dict[str, Any]) -> subprocess.Popen[str]:
    """Start save_ir.py, which writes the OpenVINO files beside `gguf`. -P keeps this folder off its import path."""
    program = str(Path(__file__).with_name("save_ir.py"))
    return subprocess.Popen(
        [sys.executable, "-P", program, str(gguf), str(config["rope_theta"]), str(config["head_dim"])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _finish_ir(child: subprocess.Popen[str], folder: Path) -> None:
    errors = child.communicate()[1].strip().splitlines()
    written = all((folder / name).is_file() for name in ("openvino_model.xml", "openvino_model.bin"))
    if child.returncode != 0 or not written:
        last = errors[-1] if errors else "it said nothing"
        raise SetupError(
            f"openvino-genai could not convert the model (exit code {child.returncode}): {last}",
            fix="check that openvino-genai 2026.4 or later is installed, and that 2 GB of memory and of disk are free",
        )


def hugging_face_name(name: str) -> str:
    """The name in a `LlamaForCausalLM` of the GGUF tensor `name`. Raises `SetupError` for an unknown one."""
    if name in _OUTER:
        return _OUTER[name]
    match name.split("."):
        case ["blk", number, part, "weight"] if number.isdigit() and part in _BLOCK:
            return f"model.layers.{number}.{_BLOCK[part]}.weight"
    raise SetupError(
        f"the GGUF tensor {name} has no place in a Llama model",
        fix="give the model as a folder with config.json and safetensors instead",
    )


def unpermute(matrix: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo the order of rows that llama.cpp's converter gives to the query and key matrices.

    Rotary embedding turns pairs of rows. Hugging Face pairs row i of a head with row i + d/2, llama.cpp row 2i with
    2i + 1. `matrix` is (heads · d, width), and so is what comes back.
    """
    half = matrix.shape[0] // heads // 2
    return matrix.reshape(heads, half, 2, *matrix.shape[1:]).swapaxes(1, 2).reshape(matrix.shape)


def permute(matrix: NDArray[Any], heads: int) -> NDArray[Any]:
    """The inverse of `unpermute`: rows as llama.cpp's converter orders them."""
    half = matrix.shape[0] // heads // 2
    return matrix.reshape(heads, 2, half, *matrix.shape[1:]).swapaxes(1, 2).reshape(matrix.shape)


def _heads(config: dict[str, Any]) -> dict[str, int]:
    """The parts of a block whose rows llama.cpp reorders, and how many heads they have."""
    return {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}


def _arranged(config: dict[str, Any]) -> Callable[[str, NDArray[Any]], NDArray[Any]]:
    """Puts the rows of a matrix in Hugging Face's order into the order that the GGUF tensor `name` has."""
    heads = _heads(config)

    def arranged(name: str, matrix: NDArray[Any]) -> NDArray[Any]:
        part = name.split(".")[2] if name.startswith("blk.") else ""
        return permute(matrix, heads[part]) if part in heads else matrix

    return arranged


def write_safetensors(arrays: dict[str, NDArray[Any]], config: dict[str, Any], path: Path) -> None:
    """All tensors in F16 under Hugging Face's names, with the rows of q and k back in their order."""
    from safetensors.numpy import save_file

    heads = _heads(config)
    tensors = {}
    for name, array in arrays.items():
        part = name.split(".")[2] if name.startswith("blk.") else ""
        if part in heads:
            array = unpermute(array, heads[part])
        tensors[hugging_face_name(name)] = np.ascontiguousarray(array, dtype=np.float16)
    save_file(tensors, str(path), metadata={"format": "pt"})  # "pt" is what transformers asks for
    path.chmod(0o644)  # save_file lets only the owner read it, and a cache may be shared


def write_tokenizer(reader: Any, folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json from the GGUF file's tokens, merges and chat template.

    Raises `SetupError` where the text is split in a way other than that of the SmolLM family.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind = (_field(reader, "tokenizer.ggml.model"), _field(reader, "tokenizer.ggml.pre", "default"))
    if kind != ("gpt2", "smollm"):
        raise SetupError(
            f"the GGUF file's tokenizer is {'/'.join(kind)}, only gpt2/smollm is converted",
            fix="give the model as a folder with tokenizer.json instead",
        )
    tokens: list[str] = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = _field(reader, "tokenizer.ggml.token_type")
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"))

    eos = _field(reader, "tokenizer.ggml.eos_token_id")
    named = {
        "bos_token": _field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token": eos,
        "pad_token": _field(reader, "tokenizer.ggml.padding_token_id", eos),
        "unk_token": _field(reader, "tokenizer.ggml.unknown_token_id", 0),
    }
    _write_json(
        folder / "tokenizer_config.json",
        {
            # not a model's own class: that would put its own way of splitting in the place of tokenizer.json's
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": int(_field(reader, "llama.context_length")),
            "clean_up_tokenization_spaces": False,
            **{name: tokens[number] for name, number in named.items()},
            "chat_template": _field(reader, "tokenizer.chat_template"),
        },
    )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
