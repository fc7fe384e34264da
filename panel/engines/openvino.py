"""The CPU default: an OpenVINO model with a paged cache, in 32-bit floats.

The plain `openvino` runtime is used rather than openvino-genai's pipeline: it returns logits, so that scoring is
exact and the grammar may speak of tokens. The stateful model of the folder is given openvino's paged attention, as
openvino-genai does itself: rows of any length in one pass, without padding, and beginnings that they share held once.
The defaults of the CPU plug-in are not faithful enough (it would round to bfloat16 and keep an 8-bit cache);
`OPENVINO_SETTINGS` says what replaces them, and a test bounds the difference.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from panel.engines.codec import Codec
from panel.engines.hub import ResolvedModel
from panel.engines.identity import openvino_identity, openvino_settings
from panel.engines.local import LocalEngine, give_memory_back, let_go
from panel.engines.precision import QUANTISED, choose_precision
from panel.engines.rows import Batch, Floats, Ints, Rows
from panel.errors import SetupError

_INPUTS = {"input_ids", "attention_mask", "position_ids", "beam_idx"}
#: Bytes in a line of the processor's cache.
_LINE = 64
_EXACT, _GRAIN = 64, 16


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
        compiled = core.compile_model(_paged(core.read_model(path), path), "CPU", settings)
        # The first pass packs the weights in the order that they are multiplied in. After that only the rows of the
        # embedding are looked up where the weights were read from: a file of 32-bit weights, which is mapped.
        Rows(PagedForward(compiled)).prefill([[0]], [1])
        let_go(path.with_suffix(".bin").resolve())
        return compiled

    with ThreadPoolExecutor(max_workers=1) as other:  # compiling is no work of Python's: both at once
        compiling = other.submit(compile_model)
        codec = Codec(folder)
        _ = codec.ll_tokenizer  # made when it is first asked for, in half a second
        compiled = compiling.result()
    return LocalEngine(info, codec, lambda: PagedForward(compiled))


def _refuse_windows(folder: Path) -> None:
    """Raise `SetupError` for a model with sliding windows: no model of that kind has been seen to keep to its window
    once its attention is paged."""
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


class PagedForward:
    """`Forward` over one infer request of a compiled model; the cache is made of arrays of ours."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._ports = [port for port in compiled.inputs if _is_cache(port)]
        self._caches: list[Any] = []  # arrays [blocks, heads, block_size, head_dim]
        self._spare = 0
        self.block_size = self._ports[0].get_partial_shape()[2].get_length()

    def reserve(self, blocks: int) -> None:
        import openvino

        self._spare = blocks  # one more, for padding
        for n, port in enumerate(self._ports):
            shape = (blocks + 1, *(axis.get_length() for axis in list(port.get_partial_shape())[1:]))
            cache = _aligned_zeros(shape, port.get_element_type().to_dtype())
            if len(self._caches) > n:
                cache[: len(self._caches[n])] = self._caches[n]
                self._caches[n] = cache
            else:
                self._caches.append(cache)
            self._request.set_tensor(port, openvino.Tensor(cache, shared_memory=True))

    def copy(self, sources: Ints, targets: Ints) -> None:
        for cache in self._caches:
            cache[targets] = cache[sources]

    def extend(self, batch: Batch) -> Floats:
        batch = self._padded(batch)
        lengths = np.diff(batch.begins)
        self._request.infer(
            {
                "input_ids": batch.ids,
                "position_ids": np.arange(len(batch.ids)) + np.repeat(batch.past - batch.begins[:-1], lengths),
                "past_lens": batch.past.astype(np.int32),
                "subsequence_begins": batch.begins.astype(np.int32),
                "block_indices": batch.blocks.astype(np.int32),
                "block_indices_begins": batch.table_begins.astype(np.int32),
                "max_context_len": np.array((batch.past + lengths).max(), np.int32),
                "logit_rows": batch.wanted,
            },
            share_inputs=True,
        )
        logits: Floats = np.array(self._request.get_output_tensor(0).data, dtype=np.float32)
        return logits

    def _padded(self, batch: Batch) -> Batch:
        """OpenVINO keeps 0.8 MB for every number of tokens that it has met. Beyond `_EXACT` they are made a multiple of
        `_GRAIN`, by a row of zeros that nobody looks at."""
        missing = -len(batch.ids) % _GRAIN if len(batch.ids) > _EXACT else 0
        if not missing:
            return batch
        return replace(
            batch,
            ids=np.append(batch.ids, [0] * missing),
            begins=np.append(batch.begins, len(batch.ids) + missing),
            past=np.append(batch.past, 0),
            blocks=np.append(batch.blocks, self._spare),
            table_begins=np.append(batch.table_begins, len(batch.blocks) + 1),
        )


def _is_cache(port: Any) -> bool:
    return bool(port.get_any_name().startswith(("key_cache.", "value_cache.")))


def _aligned_zeros(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Zeros that begin at a line of the processor's cache; large ones take no memory until they are written to."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    aligned: npt.NDArray[Any] = raw[start : start + size].view(dtype).reshape(shape)
    return aligned


def _paged(model: Any, path: Path) -> Any:
    """The model with paged attention in the place of a cache of its own, and logits only where they are wanted."""
    from openvino._offline_transformations import paged_attention_transformation

    names = {name for port in model.inputs for name in port.get_names()}
    if names != _INPUTS:
        raise SetupError(
            f"the model's inputs are {', '.join(sorted(names))}, not those of a stateful decoder",
            path=path,
            fix="export it with a cache (text-generation-with-past)",
        )
    try:
        paged_attention_transformation(model)
    except RuntimeError as error:
        raise SetupError(
            f"its attention cannot be paged ({' '.join(str(error).split())[-200:]})",
            path=path,
            fix="use --engine transformers",
        ) from error
    return _with_chosen_logits(model)


def _with_chosen_logits(model: Any) -> Any:
    """Let the model compute logits only where they are asked for (input `logit_rows`), before the vocabulary's
    matrix is multiplied: that matrix is a fifth of the work at 135M parameters."""
    import openvino.opset13 as ops

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
