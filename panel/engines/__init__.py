"""Engines: the only part of the package that runs a model.

`open_engine` loads a model; `open_cached` gives an engine that has its answers kept, and loads the model when one is
missing. What comes out of either is a `panel.requests.Engine`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from panel.engines.server import ServerOptions as ServerOptions  # part of this module's face
from panel.errors import SetupError
from panel.requests import Engine

if TYPE_CHECKING:  # they bring numpy and sqlite3 along, which `--help` does not need
    from panel.engines.cached import CachedEngine, Mode
    from panel.engines.hub import ResolvedModel
    from panel.engines.identity import Identity

ENGINE_NAMES = ("openvino", "transformers", "openai")


def open_engine(
    name: str,
    model: str,
    *,
    offline: bool = False,
    server: ServerOptions | None = None,
    precision: str = "auto",
    device: str = "auto",
) -> Engine:
    """Load `model` (embedded, embedded-base, a folder, or org/name[@revision]) into the engine called `name`.

    `precision` and `device` are those of `panel.engines.precision`.

    The engine openai loads nothing: `server` says where a model runs, and `model` which of those that it lists
    (`embedded`, the default of the command line, is the first).

    Raises:
        SetupError: no such engine, or the model is not there or cannot run on it; the message says what to do.
    """
    return find_engine(name, model, offline=offline, server=server, precision=precision, device=device)[1]()


def open_cached(
    name: str,
    model: str,
    *,
    offline: bool = False,
    server: ServerOptions | None = None,
    precision: str = "auto",
    device: str = "auto",
    answers: Path | None = None,
    mode: Mode = "use",
    on_load: Callable[[], None] = lambda: None,
) -> CachedEngine:
    """The same model with its answers kept; it is loaded when an answer is missing, and `on_load` called before.

    Args:
        answers: the file of answers (default: `panel.engines.answers.default_path`).
        mode: `use` kept answers, ask for all of them anew (`fresh`), or never load a model (`replay`).

    Raises:
        SetupError: as `open_engine`, and where the file of answers cannot be used.
    """
    _check(name, precision, device)
    from panel.engines.answers import AnswerStore, default_path
    from panel.engines.cached import CachedEngine, replay_identity

    path = answers or default_path()
    asked = " ".join([model, *(choice for choice in (precision, device) if choice != "auto")])
    if mode == "replay":
        from panel.engines.embedded import SOURCES

        source = SOURCES.get(model)
        store = AnswerStore(path, read_only=True)
        expected = (source.sha256, source.adapter_sha256) if source else None
        return CachedEngine(replay_identity(store, name, asked, expected), _no_model, store, mode=mode)
    identity, load = find_engine(name, model, offline=offline, server=server, precision=precision, device=device)
    store = AnswerStore(path)
    store.remember(asked, identity)

    def open_it() -> Engine:
        on_load()
        return load()

    return CachedEngine(identity, open_it, store, mode=mode)


def find_engine(
    name: str,
    model: str,
    *,
    offline: bool = False,
    server: ServerOptions | None = None,
    precision: str = "auto",
    device: str = "auto",
) -> tuple[Identity, Callable[[], Engine]]:
    """What `model` on the engine called `name` is, and what loads it. Raises `SetupError`."""
    _check(name, precision, device)
    if name == "openai":
        from panel.engines.identity import server_identity
        from panel.engines.openai import open_openai

        engine = open_openai(model, server)
        return server_identity(engine.info, engine.base_url), lambda: engine
    if server is not None:
        raise SetupError("only the engine openai asks a server", field="--base-url", fix="add --engine openai")
    from panel.engines.hub import resolve_model
    from panel.engines.identity import openvino_identity, transformers_identity

    resolved = resolve_model(model, offline=offline)
    if name == "openvino":
        return openvino_identity(resolved, precision), lambda: _load_openvino(resolved, precision)
    return transformers_identity(resolved, precision, device), lambda: _load_transformers(resolved, precision, device)


def _check(name: str, precision: str, device: str) -> None:
    if name not in ENGINE_NAMES:
        raise SetupError(f"unknown engine {name!r}", field="--engine", fix=f"choose one of {', '.join(ENGINE_NAMES)}")
    from panel.engines.precision import check_choices

    check_choices(name, precision, device)


def _load_openvino(resolved: ResolvedModel, precision: str) -> Engine:
    from panel.engines.openvino import open_openvino

    return open_openvino(resolved, precision=precision)


def _load_transformers(resolved: ResolvedModel, precision: str, device: str) -> Engine:
    from panel.engines.transformers import open_transformers

    return open_transformers(resolved, precision=precision, device=device)


def _no_model() -> Engine:
    raise AssertionError("a replay has no model")
