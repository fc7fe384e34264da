"""How many bits a model's weights have while it runs, and where it runs.

    float32    what the figures of this project are measured with; `auto` on a CPU
    bfloat16   16 bits; `auto` on a GPU
    int8       8 bits per weight, one scale per row; a quarter of the memory
    int4       4 bits per weight, one scale per group of weights

Rounding changes what a model answers, so a rounded model is another model: its name says how it was rounded, its hash
is another, and no calibration of the exact one applies to it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib import metadata

from panel.engines.hub import ResolvedModel
from panel.errors import SetupError

PRECISIONS = ("auto", "float32", "bfloat16", "int8", "int4")
QUANTISED = ("int8", "int4")
DEVICES = ("auto", "cpu", "cuda")
#: What rounds weights, by engine, and what a person is told where it is not installed.
ROUNDERS = {"openvino": "nncf", "transformers": "torchao"}
_INSTALL = {
    "nncf": "pip install 'review-panel[quantised]' (nncf is not built for every Python; where pip finds none, use "
    "--engine transformers, or --precision bfloat16)",
    "torchao": "pip install 'review-panel[torch]'",
}
#: Weights that share a scale in int4: divides the widths of all families that we know of.
GROUP = 64


def check_choices(engine: str, precision: str, device: str) -> None:
    """Raise `SetupError` for a precision or device that there is not, or that `engine` does not have."""
    for field, value, known in (("--precision", precision, PRECISIONS), ("--device", device, DEVICES)):
        if value not in known:
            raise SetupError(f"unknown {field[2:]} {value!r}", field=field, fix=f"choose one of {', '.join(known)}")
    if engine == "openai" and (precision, device) != ("auto", "auto"):
        field = "--device" if precision == "auto" else "--precision"
        raise SetupError("a server decides this itself", field=field, fix="set it where the server is started")
    if engine == "openvino" and device == "cuda":
        raise SetupError("the engine openvino runs on the CPU", field="--device", fix="use --engine transformers")


def choose_device(device: str, *, cuda: bool) -> str:
    """`cpu` or `cuda`; `auto` is a GPU where there is one. Raises `SetupError` where one is asked for and is not."""
    if device == "cuda" and not cuda:
        raise SetupError(
            "PyTorch sees no GPU here", field="--device", fix="install PyTorch for your GPU, or use --device cpu"
        )
    return "cuda" if cuda and device != "cpu" else "cpu"


def choose_precision(precision: str, device: str) -> str:
    """`precision`, or what `auto` stands for on `device`. Raises `SetupError` for what a GPU does not do here."""
    if precision == "auto":
        return "bfloat16" if device == "cuda" else "float32"
    if precision in QUANTISED and device == "cuda":
        raise SetupError(
            f"{precision} is for CPUs here", field="--precision", fix="use --precision bfloat16, or --device cpu"
        )
    return precision


def rounder(engine: str) -> str:
    """What rounds the weights of `engine`, its version and how, known without importing it. Raises `SetupError`."""
    package = ROUNDERS[engine]
    try:
        return f"{package} {metadata.version(package)}, groups of {GROUP}"
    except metadata.PackageNotFoundError as error:
        raise SetupError(
            f"int8 and int4 on the engine {engine} need {package}, which is not installed",
            field="--precision",
            fix=_INSTALL[package],
        ) from error


def as_run(model: ResolvedModel, precision: str, device: str, rounded_with: str) -> ResolvedModel:
    """The model as provenance, kept answers and calibrations know it: its own in 32-bit floats on a CPU, which is what
    the figures are measured with, else another name and another hash.

    `rounded_with` is the library that rounds, and its version: another one may round differently.
    """
    how = [part for part, usual in ((precision, "float32"), (device, "cpu")) if part != usual]
    if not how:
        return model
    digest = hashlib.sha256("\n".join([model.sha256, precision, device, rounded_with, ""]).encode()).hexdigest()
    return replace(model, name=f"{model.name} ({', '.join(how)})", sha256=digest)
