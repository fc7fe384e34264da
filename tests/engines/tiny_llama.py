"""A Llama of two blocks and 288 tokens with random weights, as a GGUF file; and Llama's arithmetic in numpy."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from panel.engines import convert

WIDTH, FEED_FORWARD, HEADS, KV_HEADS, HEAD_DIM, BLOCKS = 64, 96, 4, 2, 16, 2
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ t", "h e", "Ġt he", "i n"]


def tokens() -> list[str]:
    """The control tokens, the 256 bytes in GPT-2's spelling, the merged ones; filled up to whole blocks of 32."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    names = [*CONTROL, *map(chr, printable), *(chr(256 + i) for i in range(len(others)))]
    names += [merge.replace(" ", "") for merge in MERGES]
    return names + [f"<filler{i}>" for i in range(-len(names) % 32)]


def build_gguf(path: Path, *, architecture: str = "llama") -> Path:
    """Matrices in Q4_1, the embedding in Q8_0, the norms in F32: the mixture of the embedded model."""
    random = np.random.default_rng(0)
    names = tokens()
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(BLOCKS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_vocab_size(len(names))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(names)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(names) - len(CONTROL)))
    writer.add_token_merges(MERGES)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}")

    def matrix(name: str, rows: int, columns: int, kind: Any = gguf.GGMLQuantizationType.Q4_1) -> None:
        values = random.normal(0, 0.2, (rows, columns)).astype(np.float32)
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)

    matrix("token_embd.weight", len(names), WIDTH, gguf.GGMLQuantizationType.Q8_0)
    for block in range(BLOCKS):
        matrix(f"blk.{block}.attn_q.weight", HEADS * HEAD_DIM, WIDTH)
        matrix(f"blk.{block}.attn_k.weight", KV_HEADS * HEAD_DIM, WIDTH)
        matrix(f"blk.{block}.attn_v.weight", KV_HEADS * HEAD_DIM, WIDTH)
        matrix(f"blk.{block}.attn_output.weight", WIDTH, HEADS * HEAD_DIM)
        matrix(f"blk.{block}.ffn_gate.weight", FEED_FORWARD, WIDTH)
        matrix(f"blk.{block}.ffn_up.weight", FEED_FORWARD, WIDTH)
        matrix(f"blk.{block}.ffn_down.weight", WIDTH, FEED_FORWARD)
        for norm in ("attn_norm", "ffn_norm"):
            # quarters: exact in 16 bits
            writer.add_tensor(f"blk.{block}.{norm}.weight", random.integers(2, 8, WIDTH).astype(np.float32) / 4)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


Factors = dict[str, tuple[NDArray[Any], NDArray[Any]]]


def converted(factory: pytest.TempPathFactory) -> Path:
    """The folder that the GGUF file is converted to."""
    folder = factory.mktemp("converted")
    convert.convert_gguf(build_gguf(factory.mktemp("source") / "tiny.gguf"), folder, lambda message: None)
    return folder


def random_factors(*names: str, rank: int = 2) -> Factors:
    """For each matrix of the tiny model (`layers.0.mlp.down_proj`) its A (rank, in) and B (out, rank)."""
    random = np.random.default_rng(5)
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    shapes = {
        "q_proj": (q, WIDTH), "k_proj": (kv, WIDTH), "v_proj": (kv, WIDTH), "o_proj": (WIDTH, q),
        "gate_proj": (FEED_FORWARD, WIDTH), "up_proj": (FEED_FORWARD, WIDTH), "down_proj": (WIDTH, FEED_FORWARD),
    }  # fmt: skip
    found = {}
    for name in names:
        rows, columns = shapes[name.rpartition(".")[2]]
        a, b = (random.normal(0, 0.2, shape).astype(np.float32) for shape in ((rank, columns), (rows, rank)))
        found[f"model.{name}"] = (a, b)
    return found


def build_adapter(folder: Path, factors: Factors, *, alpha: float = 6, rank: int = 2, **config: Any) -> Path:
    """A LoRA adapter as PEFT saves it. `config` is written over what it says, so that a test can spoil it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    plain = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none", "use_dora": False, "rank_pattern": {}}
    (folder / "adapter_config.json").write_text(json.dumps(plain | config))
    parts = {f"{name}.lora_{part}": both[i] for name, both in factors.items() for i, part in enumerate("AB")}
    save_file(
        {f"base_model.model.{name}.weight": array for name, array in parts.items()},
        folder / "adapter_model.safetensors",
    )
    return folder


def build_wheel(path: Path, member: str, content: bytes) -> Path:
    """As much of a wheel as is looked at: a zip file with one member."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
    return path


def llama_logits(folder: Path, ids: list[int]) -> NDArray[Any]:
    """(tokens, vocabulary) logits, straight from the definition of Llama, of a folder with model.safetensors."""
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = {name: array.astype(np.float64) for name, array in load_file(folder / "model.safetensors").items()}
    heads, kv_heads, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    n = len(ids)
    angles = np.outer(np.arange(n), config["rope_theta"] ** (-np.arange(0, width, 2) / width))
    cosine, sine = (np.concatenate([f(angles)] * 2, axis=1)[:, None] for f in (np.cos, np.sin))

    def norm(x: NDArray[Any], name: str) -> NDArray[Any]:
        scale = np.sqrt((x**2).mean(-1, keepdims=True) + config["rms_norm_eps"])
        return x / scale * weights[f"{name}.weight"]

    def rotate(x: NDArray[Any]) -> NDArray[Any]:
        turned = np.concatenate([-x[..., width // 2 :], x[..., : width // 2]], axis=-1)
        return x * cosine + turned * sine

    x = weights["model.embed_tokens.weight"][ids]
    for block in range(config["num_hidden_layers"]):
        at = f"model.layers.{block}"
        h = norm(x, f"{at}.input_layernorm")
        q, k, v = (h @ weights[f"{at}.self_attn.{part}_proj.weight"].T for part in "qkv")
        q = rotate(q.reshape(n, heads, width))
        k, v = (y.reshape(n, kv_heads, width) for y in (k, v))
        k, v = (y.repeat(heads // kv_heads, axis=1) for y in (rotate(k), v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(width)
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        chance = np.exp(scores - scores.max(-1, keepdims=True))
        chance /= chance.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khd->qhd", chance, v).reshape(n, -1) @ weights[f"{at}.self_attn.o_proj.weight"].T
        h = norm(x, f"{at}.post_attention_layernorm")
        gate, up = (h @ weights[f"{at}.mlp.{part}_proj.weight"].T for part in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{at}.mlp.down_proj.weight"].T
    return norm(x, "model.norm") @ weights["model.embed_tokens.weight"].T


def openvino_logits(folder: Path, ids: list[int]) -> NDArray[Any]:
    """(tokens, vocabulary) logits of the folder's OpenVINO model, in 32-bit floats."""
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    request = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", exact).create_infer_request()
    row = np.array([ids], np.int64)
    request.infer(
        {
            "input_ids": row,
            "attention_mask": np.ones_like(row),
            "position_ids": np.arange(len(ids), dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
    )
    return np.array(request.get_output_tensor(0).data[0], np.float64)


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Natural log-probabilities along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
