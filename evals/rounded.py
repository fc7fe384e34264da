"""The embedded model in int8: each row of a weight matrix rounded to 255 steps, as weight-only quantisation does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from panel.engines import open_engine
from panel.engines.hub import resolve_model
from panel.requests import Engine

#: What has fewer rows or columns is no weight matrix.
_MATRIX = 64


def quantised(model: str, folder: Path) -> Engine:
    """`model` with its weights rounded, opened from `folder`, where it is made if it is not there.

    Raises:
        SetupError: the model is not on this machine.
    """
    if not (folder / "done").is_file():
        source = resolve_model(model, offline=True).folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in source.iterdir():
            # the rounded weights take the place of these; a manifest would say that they are whole
            if path.name not in ("openvino_model.bin", "openvino_model.xml", "model.safetensors", "manifest.json"):
                shutil.copy(path, folder / path.name)
        _round(source, folder)
        (folder / "done").write_text("", encoding="utf-8")
    return open_engine("openvino", str(folder))


def _round(source: Path, folder: Path) -> None:
    """Both formats hold the same weights: the engine runs the one, the model's hash goes over the other."""
    import numpy as np
    import openvino as ov
    from safetensors.numpy import load_file, save_file

    def rounded(values: Any) -> Any:
        step = np.maximum(np.abs(values.astype(np.float32)).max(axis=-1, keepdims=True), 1e-8) / 127
        return (np.round(values.astype(np.float32) / step) * step).astype(values.dtype)

    tensors = load_file(source / "model.safetensors")
    save_file({name: rounded(w) if w.ndim == 2 else w for name, w in tensors.items()}, folder / "model.safetensors")
    model = ov.Core().read_model(source / "openvino_model.xml")
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or not node.get_element_type().is_real():
            continue
        shape = node.get_output_shape(0)
        if len(shape) == 2 and min(shape) >= _MATRIX:
            constant = ov.op.Constant(rounded(node.data.copy()), shared_memory=False)
            for target in list(node.output(0).get_target_inputs()):
                target.replace_source_output(constant.output(0))
    ov.save_model(model, folder / "openvino_model.xml", compress_to_fp16=True)
