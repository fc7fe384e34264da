"""The CPU default: a stateful OpenVINO model, in 32-bit floats.

The plain `openvino` runtime is used rather than openvino-genai's pipeline: it returns logits, so that scoring is
exact and the grammar may speak of tokens. The defaults of the CPU plug-in are not faithful enough (it would round
to bfloat16 and keep an 8-bit cache); `OPENVINO_SETTINGS` says what replaces them, and a test bounds the difference.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from panel.engines.codec import Codec
from panel.engines.hub import ResolvedModel
from panel.engines.identity import openvino_identity, openvino_settings
from panel.engines.local import LocalEngine, give_memory_back, let_go
from panel.engines.precision import QUANTISED, choose_precision
from panel.engines.rows import Floats, Ints
from panel.errors import SetupError

_INPUTS = {"input_ids", "attention_mask", "position_ids", "beam_idx"}


def open_openvino(model: ResolvedModel, *, precision: str = "auto") -> LocalEngine:
    """Load `openvino_model.xml` of a model's folder, beside which its tokenizer files are.

    `precision` is one of `panel.engines.precision`; a model in int8 or int4 is made the first time, and kept.

    Raises:
        SetupError: the folder holds no OpenVINO model, one that is not a stateful decoder, or one whose layers see
            only a window of the text.
    """
    info = openvino_identity(model, precision).info
    _refuse_windows(model.folder)
    import openvino

    chosen = choose_precision(precision, "cpu")
    folder, settings = model.folder, openvino_settings(chosen)
    if chosen in QUANTISED:
        from panel.engines.quantise_openvino import quantised_folder

        folder = quantised_folder(model, chosen)
    path = folder / "openvino_model.xml"
    give_memory_back()

    def compile_model() -> Any:
        core = openvino.Core()
        compiled = core.compile_model(_with_chosen_logits(core.read_model(path), path), "CPU", settings)
        # The first pass packs the weights in the order that they are multiplied in. After that only the rows of the
        # embedding are looked up where the weights were read from: a file of 32-bit weights, which is mapped.
        one = np.zeros((1, 1), np.int64)
        _OpenVinoForward(compiled.create_infer_request()).extend(one[0], one, one + 1, one, one[0])
        let_go(path.with_suffix(".bin").resolve())
        return compiled

    with ThreadPoolExecutor(max_workers=1) as other:  # compiling is no work of Python's: both at once
        compiling = other.submit(compile_model)
        codec = Codec(folder)
        _ = codec.ll_tokenizer  # made when it is first asked for, in half a second
        compiled = compiling.result()
    return LocalEngine(info, codec, lambda: _OpenVinoForward(compiled.create_infer_request()))


def _refuse_windows(folder: Path) -> None:
    """Raise `SetupError` for a model with sliding windows: its network counts them in slots of the cache, and the
    slots of our batches may be holes, so that a window would be too short by those."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config") or config
        kinds = text.get("layer_types")
        slides = "sliding_attention" in kinds if kinds else bool(text.get("sliding_window"))
        slides = slides and text.get("use_sliding_window") is not False
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise SetupError(
            f"cannot be read ({type(error).__name__})",
            path=folder / "config.json",
            fix="fetch the model again",
        ) from error
    if slides:
        raise SetupError(
            "layers that see a sliding window of the text are not run by the engine openvino",
            path=folder / "config.json",
            field="sliding_window",
            fix="use --engine transformers",
        )


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
    unknown = [port for port in model.inputs if not port.get_names() & _INPUTS]
    if unknown or not names >= _INPUTS:
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
