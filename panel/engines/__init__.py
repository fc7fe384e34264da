"""Engines: the only part of the package that runs a model.

`open_engine` is the one door; what comes out is a `panel.requests.Engine`.
"""

from __future__ import annotations

from panel.errors import SetupError
from panel.requests import Engine

ENGINE_NAMES = ("openvino", "transformers")


def open_engine(
    name: str, model: str, *, offline: bool = False, precision: str = "auto", device: str = "auto"
) -> Engine:
    """Load `model` (embedded, embedded-base, a folder, or org/name[@revision]) into the engine called `name`.

    `precision` and `device` are those of `panel.engines.precision`.

    Raises:
        SetupError: no such engine, or the model is not there or cannot run on it; the message says what to do.
    """
    if name not in ENGINE_NAMES:
        raise SetupError(f"unknown engine {name!r}", field="--engine", fix=f"choose one of {', '.join(ENGINE_NAMES)}")
    from panel.engines.hub import resolve_model
    from panel.engines.precision import check_choices

    check_choices(name, precision, device)
    resolved = resolve_model(model, offline=offline)
    if name == "openvino":
        from panel.engines.openvino import open_openvino

        return open_openvino(resolved, precision=precision)
    from panel.engines.transformers import open_transformers

    return open_transformers(resolved, precision=precision, device=device)
