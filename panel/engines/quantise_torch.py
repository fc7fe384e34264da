"""Weights in 8 or 4 bits for PyTorch on a CPU, through torchao (part of the `torch` extra)."""

from __future__ import annotations

from typing import Any

from panel.engines.precision import GROUP
from panel.errors import SetupError


def quantise(model: Any, precision: str) -> None:
    """Round the matrices of `model` in place to `int8` or `int4`; activations stay floats.

    The embedding, and an output matrix that is the embedding, stay as they are: shared by two layers, they would be
    held twice. Raises `SetupError` where torchao cannot do this here.
    """
    import torch
    from torchao.quantization import quantize_

    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    head = model.get_output_embeddings() if tied else None

    def rounded(module: Any, name: str) -> bool:  # noqa: ARG001 - torchao's interface
        if not isinstance(module, torch.nn.Linear) or module is head:
            return False
        return precision == "int8" or module.in_features % GROUP == 0

    try:
        quantize_(model, _config(precision), filter_fn=rounded)
    except (ImportError, RuntimeError, NotImplementedError, AssertionError) as error:
        raise SetupError(
            f"torchao cannot round to {precision} here ({' '.join(str(error).split())[:200]})",
            field="--precision",
            fix="use --precision int8 or --engine openvino",
        ) from error


def _config(precision: str) -> Any:
    """One scale per row for int8, one per group for int4: symmetric the first, with a zero point the second."""
    if precision == "int8":
        from torchao.quantization import Int8WeightOnlyConfig

        return Int8WeightOnlyConfig(version=2)
    # what torchao has for a CPU in 4 bits; it has not moved it out of its prototypes, hence the upper bound on torchao
    from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig

    return PrototypeInt4WeightOnlyConfig(group_size=GROUP, set_inductor_config=False)
