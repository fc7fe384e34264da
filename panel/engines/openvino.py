"""The CPU default: a stateful OpenVINO model, in 32-bit floats.

The plain `openvino` runtime is used rather than openvino-genai's pipeline: it returns logits, so that scoring is
exact and the grammar may speak of tokens. The defaults of the CPU plug-in are not faithful enough (it would round
to bfloat16 and keep an 8-bit cache); `OPENVINO_SETTINGS` says what replaces them, and a test bounds the difference.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from panel.engines.codec import Codec
from panel.engines.hub import ResolvedModel
from panel.engines.identity import OPENVINO_SETTINGS, openvino_identity
from panel.engines.local import LocalEngine, give_memory_back
from panel.engines.rows import Floats, Ints
from panel.errors import SetupError


def open_openvino(model: ResolvedModel) -> LocalEngine:
    """Load `openvino_model.xml` of a model's folder, beside which its tokenizer files are.

    Raises:
        SetupError: the folder holds no OpenVINO model, or one that is not a stateful decoder.
    """
    info = openvino_identity(model).info
    import openvino

    path = model.folder / "openvino_model.xml"
    give_memory_back()

    def compile_model() -> Any:
        core = openvino.Core()
        return core.compile_model(_with_chosen_logits(core.read_model(path), path), "CPU", OPENVINO_SETTINGS)

    with ThreadPoolExecutor(max_workers=1) as other:  # compiling is no work of Python's: both at once
        compiling = other.submit(compile_model)
        codec = Codec(model.folder)
        compiled = compiling.result()
    return LocalEngine(info, codec, lambda: _OpenVinoForward(compiled.create_infer_request()))


class _OpenVinoForward:
    """`Forward` over one infer request; the cache lives in the model's state."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def reset(self) -> None:
        self._request.reset_state()

    def extend(self, parents: Ints, ids: Ints, mask: Ints, positions: Ints, wanted: Ints) -> Floats:
        self._request.infer(
            {
                "input_ids": ids,
                "attention_mask": mask,
                "position_ids": positions,
                "beam_idx": parents.astype(np.int32),
                "logit_rows": wanted,
            },
            share_inputs=True,
        )
        logits: Floats = np.array(self._request.get_output_tensor(0).data, dtype=np.float32)
        return logits


def _with_chosen_logits(model: Any, path: Path) -> Any:
    """Let the model compute logits only where they are asked for (input `logit_rows`), before the vocabulary's
    matrix is multiplied: that matrix is a fifth of the work at 135M parameters."""
    import openvino.opset13 as ops

    names = {name for port in model.inputs for name in port.get_names()}
    if not {"input_ids", "attention_mask", "position_ids", "beam_idx"} <= names:
        raise SetupError(
            f"the model's inputs are {', '.join(sorted(names))}, not those of a stateful decoder",
            path=path,
            fix="export it with a cache (text-generation-with-past)",
        )
    node = model.get_results()[0].input_value(0).get_node()
    while node.get_type_name() != "MatMul":
        node = node.input_value(0).get_node()
    hidden = node.input_value(0)
    width = hidden.get_partial_shape()[2].get_length()
    rows = ops.parameter([-1], np.int64, name="logit_rows")
    rows.output(0).set_names({"logit_rows"})
    flat = ops.reshape(hidden, np.array([-1, width], np.int64), False)
    chosen = ops.gather(flat, rows, ops.constant(0, dtype=np.int64))
    node.input(0).replace_source_output(chosen.output(0))
    model.add_parameters([rows])
    model.validate_nodes_and_infer_types()
    return model
