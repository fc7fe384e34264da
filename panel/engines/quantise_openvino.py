"""Weights in 8 or 4 bits for OpenVINO, through nncf (the `quantised` extra), made once and kept in the cache.

    <cache>/quantised/<name>-<precision>-<hash>/    what the engine loads, with manifest.json

The hash goes over the exact model's files and nncf's version, so that neither is ever taken for another.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from panel.engines.hub import ResolvedModel
from panel.engines.precision import GROUP, rounder
from panel.engines.weights import cache_root, manifest_problems, remembered_sha256, weight_files, write_manifest
from panel.errors import SetupError


def quantised_folder(model: ResolvedModel, precision: str) -> Path:
    """The folder of `model` with its weights in `int8` or `int4`, made where it is not there or not whole.

    Takes about the memory of the exact model twice while it is made. Raises `SetupError` where nncf is missing, the
    folder holds no OpenVINO model, or the cache cannot be written.
    """
    about = {
        "precision": precision,
        "rounded_with": rounder("openvino"),
        "source_sha256": _source_sha256(model.folder),
    }
    digest = hashlib.sha256("\n".join(about.values()).encode()).hexdigest()[:16]
    home = cache_root() / "quantised"
    folder = home / f"{model.folder.name}-{precision}-{digest}"
    if not manifest_problems(folder, about, hashes=False):
        return folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".tmp-", dir=home))
        try:
            fresh = scratch / "fresh"
            fresh.mkdir()
            _compress(model.folder, fresh, precision)
            write_manifest(fresh, about)
            if folder.exists():  # broken, or made by another process just now
                folder.rename(scratch / "replaced")
            fresh.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise SetupError(
            f"the {precision} model cannot be written ({error.strerror or error})",
            path=error.filename or home,
            fix="free room there, or name another folder in the environment variable REVIEW_PANEL_CACHE",
        ) from error
    return folder


def _source_sha256(folder: Path) -> str:
    """One hash over the two files of the OpenVINO model."""
    parts = [remembered_sha256(folder / f"openvino_model.{ending}") for ending in ("xml", "bin")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _compress(source: Path, target: Path, precision: str) -> None:
    """Write the model of `source` with smaller weights into `target`, and beside it all that is no weights."""
    import nncf
    import openvino

    mode = nncf.CompressWeightsMode
    model = openvino.Core().read_model(source / "openvino_model.xml")
    if precision == "int8":
        smaller = nncf.compress_weights(model, mode=mode.INT8_ASYM)
    else:  # the embedding and the last matrix stay in 8 bits: they suffer most
        smaller = nncf.compress_weights(model, mode=mode.INT4_SYM, group_size=GROUP, ratio=1.0)
    openvino.save_model(smaller, target / "openvino_model.xml", compress_to_fp16=True)
    weights = {path.name for path in weight_files(source)}
    for path in sorted(source.iterdir()):
        skip = weights | {"openvino_model.xml", "openvino_model.bin", "manifest.json"}
        if path.is_file() and path.name not in skip:
            shutil.copyfile(path, target / path.name)
