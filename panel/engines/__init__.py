"""Engines: the only part of the package that runs a model.

`open_engine` is the one door; what comes out is a `panel.requests.Engine`.
"""

from __future__ import annotations

from panel.engines.server import ServerOptions as ServerOptions  # part of this module's face
from panel.errors import SetupError
from panel.requests import Engine

ENGINE_NAMES = ("openvino", "transformers", "openai")


def open_engine(name: str, model: str, *, offline: bool = False, server: ServerOptions | None = None) -> Engine:
    """Load `model` (embedded, embedded-base, a folder, or org/name[@revision]) into the engine called `name`.

    The engine openai loads nothing: `server` says where a model runs, and `model` which of those that it lists
    (`embedded`, the default of the command line, is the first).

    Raises:
        SetupError: no such engine, or the model is not there or cannot run on it; the message says what to do.
    """
    if name not in ENGINE_NAMES:
        raise SetupError(f"unknown engine {name!r}", field="--engine", fix=f"choose one of {', '.join(ENGINE_NAMES)}")
    if name == "openai":
        from panel.engines.openai import open_openai

        return open_openai(model, server)
    if server is not None:
        raise SetupError("only the engine openai asks a server", field="--base-url", fix="add --engine openai")
    from panel.engines.hub import resolve_model

    resolved = resolve_model(model, offline=offline)
    if name == "openvino":
        from panel.engines.openvino import open_openvino

        return open_openvino(resolved)
    from panel.engines.transformers import open_transformers

    return open_transformers(resolved)
