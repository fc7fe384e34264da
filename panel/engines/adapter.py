"""A LoRA adapter (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"), merged into the weights.

The adapter is a folder as PEFT saves it: adapter_config.json and adapter_model.safetensors. Each adapted matrix W
becomes W + (alpha / r) · B A once, when the model is converted, so that both engines load the same numbers and
inference costs nothing more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panel.engines.weights import sha256_file
from panel.errors import SetupError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
#: What plain LoRA leaves off. Anything else would be merged wrongly, and so is refused.
_PLAIN = {
    "use_dora": False,
    "use_rslora": False,
    "bias": "none",
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "init_lora_weights": True,
}  # PiSSA and its like change the base weights too


@dataclass(frozen=True)
class Adapter:
    """`deltas` maps a matrix's Hugging Face name to its (A [r, in], B [out, r]); `scale` is alpha / r."""

    folder: Path
    sha256: str
    scale: float
    factors: dict[str, tuple[NDArray[Any], NDArray[Any]]]

    def delta(self, name: str) -> NDArray[np.float32]:
        """What is added to the matrix `name`, (rows out, columns in)."""
        a, b = self.factors[name]
        return (b.astype(np.float32) @ a.astype(np.float32) * np.float32(self.scale)).astype(np.float32)


def adapter_sha256(folder: Path) -> str:
    """The hash over its configuration and its weights. Raises `SetupError` where they are not there."""
    try:
        digests = f"{sha256_file(folder / CONFIG)}\n{sha256_file(folder / WEIGHTS)}\n"
        return hashlib.sha256(digests.encode()).hexdigest()
    except OSError as error:
        raise SetupError(
            f"the adapter cannot be read ({error.strerror})", path=folder / WEIGHTS, fix="install review-panel again"
        ) from error


def load_adapter(folder: Path) -> Adapter:
    """Read a PEFT folder. Raises `SetupError` where it is incomplete, or is more than plain LoRA."""
    from safetensors.numpy import load_file

    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(str(folder / WEIGHTS))
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"the adapter cannot be read ({error})",
            path=folder,
            fix=f"give a folder as PEFT saves it: {CONFIG}, {WEIGHTS}",
        ) from error
    except Exception as error:  # safetensors has an error class of its own, which is no subclass of these
        raise SetupError(
            f"the adapter is broken ({error})", path=folder / WEIGHTS, fix="fetch or train it again"
        ) from error
    odd = [key for key, plain in _PLAIN.items() if config.get(key, plain) != plain]
    if config.get("peft_type") != "LORA" or odd or config.get("rank_pattern") or config.get("alpha_pattern"):
        raise SetupError(
            f"only plain LoRA adapters are merged, this one sets {', '.join(odd) or 'another method or ranks'}",
            path=folder / CONFIG,
            fix="train it with PEFT's LoraConfig and its defaults",
        )
    factors = {}
    for key in sorted(tensors):
        name, _, part = key.removeprefix(_PREFIX).partition(".lora_")
        if part == "A.weight":
            other = f"{_PREFIX}{name}.lora_B.weight"
            if other not in tensors or tensors[key].shape[0] != rank or tensors[other].shape[1] != rank:
                raise SetupError(
                    f"{name} lacks a factor, or its rank is not {rank}",
                    path=folder / WEIGHTS,
                    fix="train the adapter again",
                )
            factors[f"{name}.weight"] = (tensors[key], tensors[other])
        elif part != "B.weight":
            raise SetupError(f"{key} is no part of a LoRA adapter", path=folder / WEIGHTS, fix="train it again")
    if not factors or 2 * len(factors) != len(tensors):
        raise SetupError("a factor stands without the other", path=folder / WEIGHTS, fix="train the adapter again")
    return Adapter(folder, adapter_sha256(folder), alpha / rank, factors)


def merge_adapter(
    adapter: Adapter,
    arrays: dict[str, NDArray[Any]],
    hugging_face_name: Callable[[str], str],
    arranged: Callable[[str, NDArray[Any]], NDArray[Any]],
) -> None:
    """Add the adapter to `arrays` in place.

    Args:
        arrays: tensor name of the file being converted → array in F16.
        hugging_face_name: the same tensor's name in the adapter.
        arranged: puts the rows of a delta into the order that the file has them in.

    Raises:
        SetupError: the adapter was trained on a model of another shape.
    """
    left = set(adapter.factors)
    for name, array in arrays.items():
        known = hugging_face_name(name)
        if known not in left:
            continue
        left.remove(known)
        delta = adapter.delta(known)
        if delta.shape != array.shape:
            raise SetupError(
                f"the adapter's {known} is {delta.shape}, the model's {array.shape}",
                path=adapter.folder,
                fix="use the model that it was trained on",
            )
        delta = arranged(name, delta)
        arrays[name] = (array.astype(np.float32) + delta).astype(array.dtype)
    if left:
        raise SetupError(
            f"the model has no {min(left)} to adapt",
            path=adapter.folder,
            fix="use the model that the adapter was trained on",
        )
