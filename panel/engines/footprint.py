"""How much memory a comparison takes, reckoned from a model's sizes and from how many tokens are held at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panel.engines.rows import MAX_CELLS, MAX_NEW
from panel.engines.weights import safetensors_header, weight_files
from panel.errors import SetupError

#: Bytes per weight of the matrices; a group of 64 in 4 bits has a scale of 16.
BYTES: Mapping[str, float] = {"float32": 4, "bfloat16": 2, "int8": 1, "int4": 0.53}
#: Bytes of the process without a model: Python, this package and the engine's libraries. Measured: `evals.memory`.
LIBRARIES: Mapping[str, int] = {"openvino": 190_000_000, "transformers": 460_000_000}
#: Bytes per entry of the vocabulary: the tokenizer, its copy for grammars, and the list of words.
PER_WORD = 2_100
#: Copies of [scored, vocabulary] logits that are alive at once: the engine's, ours, and two while they become
#: log-probabilities.
LOGITS = 4

_FLOATS = ("float32", "bfloat16")
_NO_TEXT = re.compile(r"vision|multi_modal_projector|audio")


@dataclass(frozen=True)
class Load:
    """What is held at once: `cells` are tokens in the cache, `gathered` the rows of the largest pass times the longest
    of them, `new` its tokens, `scored` those of them whose logits are asked for."""

    cells: int
    gathered: int
    new: int
    scored: int


#: A comparison of the two reference tools by the embedded model: the cache is full at the end. Other prompts, tools or
#: tokenizers have longer rows or shorter ones.
COMPARISON = Load(cells=MAX_CELLS, gathered=35 * 230, new=MAX_NEW, scored=162)


@dataclass(frozen=True)
class Prediction:
    """Bytes by what takes them; `on_gpu`: all of them are the GPU's."""

    parts: Mapping[str, int]
    on_gpu: bool = False

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def predict(
    folder: Path, engine: str, *, precision: str = "float32", device: str = "cpu", load: Load = COMPARISON
) -> Prediction:
    """Peak memory of a comparison, in bytes, part by part.

    With h wide, f wide in the feed-forward part, n heads and k of keys, d wide, l layers, vocabulary v, P weights of
    which O = v·h are the output matrix, and bytes b per weight:

        weights   b · P; of a file in F32, which OpenVINO maps and the engine lets go of, the embedding alone: b · O
        packed    OpenVINO keeps each matrix once more in the order that it multiplies in, and the output matrix twice
                  (for one row and for several): b · (P − embedding − norms + O)
        keys      8 · k · d · l · cells; for PyTorch those of one layer are gathered for the rows of a pass, and spread
                  over all heads: 8 · (k + n) · d · gathered
        passes    new tokens · 4 · (6·h + 4·f), and 16 · v · scored for the logits

    Args:
        precision, device: as `panel.engines.precision` chooses them, not `auto`.

    Raises:
        SetupError: config.json is missing or lacks a size.
    """
    s = sizes(folder)
    weights, output = count_parameters(folder), s["vocabulary"] * s["hidden"]
    outer = output if tied(folder) else 2 * output
    number = 2 if precision == "bfloat16" and engine == "transformers" else 4  # of keys, values and activations
    # torchao leaves a shared embedding as it is, and nncf rounds it to 8 bits
    edge = max(1.0, BYTES[precision]) if engine == "openvino" else BYTES[precision] if precision in _FLOATS else 4.0
    parts = {"weights": math.ceil((weights - outer) * BYTES[precision] + outer * edge)}
    keys = 2 * number * s["kv_heads"] * s["head_dim"] * s["layers"] * load.cells
    passes = load.new * number * (6 * s["hidden"] + 4 * s["ffn"]) + LOGITS * 4 * s["vocabulary"] * load.scored
    if engine == "openvino":
        if _mapped(folder, precision, weights):
            parts["weights"] = output * 4
        parts["packed"] = math.ceil((weights - outer) * BYTES[precision] + 2 * output * edge)
    else:
        keys += 2 * number * s["head_dim"] * (s["kv_heads"] + s["heads"]) * load.gathered
    parts |= {"keys and values": keys, "passes": passes}
    if device == "cuda":
        return Prediction(parts, on_gpu=True)
    return Prediction({"libraries": LIBRARIES[engine], "tokenizer": PER_WORD * s["vocabulary"], **parts})


def count_parameters(folder: Path) -> int:
    """The number of weights that work on text: from the headers of the safetensors files, else from config.json.

    For a Llama-like model with width h, feed-forward width f, head dim d, heads n and k, vocabulary v and l layers:

        v·h + l · (2·h·n·d + 2·h·k·d + 3·h·f + 2·h) + h        and v·h once more where the output is not tied

    Raises `SetupError`.
    """
    shapes = _shapes(folder)
    if shapes:
        return sum(math.prod(shape) for name, shape in shapes.items() if not _NO_TEXT.search(name))
    s = sizes(folder)
    h, f, d, n, k, v, l = (  # noqa: E741
        s[name] for name in ("hidden", "ffn", "head_dim", "heads", "kv_heads", "vocabulary", "layers")
    )
    return v * h * (1 if tied(folder) else 2) + l * (2 * h * n * d + 2 * h * k * d + 3 * h * f + 2 * h) + h


def _mapped(folder: Path, precision: str, weights: int) -> bool:
    """Whether the OpenVINO model's weights are computed with as the file has them."""
    file = folder / "openvino_model.bin"
    return precision == "float32" and file.is_file() and file.stat().st_size >= 4 * weights


def tied(folder: Path) -> bool:
    """Whether the output matrix is the embedding: the weights say so, else config.json. Raises `SetupError`."""
    shapes = _shapes(folder)
    if shapes:
        return not any(name.endswith("lm_head.weight") for name in shapes)
    return bool(_text_config(folder).get("tie_word_embeddings"))


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Name → shape of every tensor in the safetensors files."""
    files = [file for file in weight_files(folder) if file.suffix == ".safetensors"]
    return {name: entry["shape"] for file in files for name, entry in safetensors_header(file).items()}


# ---------------------------------------------------------------------------------------------------- config.json

_CONFIG_NAMES = {
    "layers": ("num_hidden_layers", "n_layer"),
    "hidden": ("hidden_size", "n_embd"),
    "heads": ("num_attention_heads", "n_head"),
    "kv_heads": ("num_key_value_heads", "num_attention_heads", "n_head"),
    "ffn": ("intermediate_size", "n_inner"),
    "vocabulary": ("vocab_size",),
}


def sizes(folder: Path) -> dict[str, int]:
    """layers, hidden, heads, kv_heads, ffn, vocabulary and head_dim of the part on text. Raises `SetupError`."""
    config = _text_config(folder)
    found = {name: _size(config, keys, folder) for name, keys in _CONFIG_NAMES.items()}
    given = config.get("head_dim")
    return {**found, "head_dim": int(given) if given else found["hidden"] // found["heads"]}


def _size(config: dict[str, Any], keys: tuple[str, ...], folder: Path) -> int:
    """One size of the model under whichever name its config.json has for it."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and value > 0:
            return value
    raise SetupError("the size cannot be read", path=folder / "config.json", field=keys[0], fix="add the field")


def _text_config(folder: Path) -> dict[str, Any]:
    """config.json; of a model for text and images, the part on text."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return dict(config.get("text_config") or config)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SetupError(
            f"cannot be read ({type(error).__name__})", path=path, fix="give a folder as transformers saves it"
        ) from error
