"""Engines: the only part of the package that runs a model.

`open_engine` loads a model; `open_cached` gives an engine that has its answers kept, and loads the model when one is
missing. What comes out of either is a `panel.requests.Engine`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from panel.errors import SetupError
from panel.requests import Engine

if TYPE_CHECKING:  # they bring numpy and sqlite3 along, which `--help` does not need
    from panel.engines.cached import CachedEngine, Mode
    from panel.engines.hub import ResolvedModel
    from panel.engines.identity import Identity

ENGINE_NAMES = ("openvino", "transformers")


def open_engine(name: str, model: str, *, offline: bool = False) -> Engine:
    """Load `model` (embedded, embedded-base, a folder, or org/name[@revision]) into the engine called `name`.

    Raises:
        SetupError: no such engine, or the model is not there or cannot run on it; the message says what to do.
    """
    return _load(name, _resolved(name, model, offline))


def open_cached(
    name: str,
    model: str,
    *,
    offline: bool = False,
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
    _check(name)
    from panel.engines.answers import AnswerStore, default_path
    from panel.engines.cached import CachedEngine, replay_identity

    path = answers or default_path()
    if mode == "replay":
        from panel.engines.embedded import SOURCES

        source = SOURCES.get(model)
        store = AnswerStore(path, read_only=True)
        expected = (source.sha256, source.adapter_sha256) if source else None
        return CachedEngine(replay_identity(store, name, model, expected), _no_model, store, mode=mode)
    identity, load = find_engine(name, model, offline=offline)
    store = AnswerStore(path)
    store.remember(model, identity)

    def open_it() -> Engine:
        on_load()
        return load()

    return CachedEngine(identity, open_it, store, mode=mode)


def find_engine(name: str, model: str, *, offline: bool = False) -> tuple[Identity, Callable[[], Engine]]:
    """What `model` on the engine called `name` is, and what loads it. Raises `SetupError`."""
    resolved = _resolved(name, model, offline)
    from panel.engines.identity import openvino_identity, transformers_identity

    identify = openvino_identity if name == "openvino" else transformers_identity
    return identify(resolved), lambda: _load(name, resolved)


def _check(name: str) -> None:
    if name not in ENGINE_NAMES:
        raise SetupError(f"unknown engine {name!r}", field="--engine", fix=f"choose one of {', '.join(ENGINE_NAMES)}")


def _resolved(name: str, model: str, offline: bool) -> ResolvedModel:
    _check(name)
    from panel.engines.hub import resolve_model

    return resolve_model(model, offline=offline)


def _load(name: str, resolved: ResolvedModel) -> Engine:
    if name == "openvino":
        from panel.engines.openvino import open_openvino

        return open_openvino(resolved)
    from panel.engines.transformers import open_transformers

    return open_transformers(resolved)


def _no_model() -> Engine:
    raise AssertionError("a replay has no model")
