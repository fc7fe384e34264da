"""The command line on a scripted engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import panel.engines
from panel.engines.scripted import ScriptedEngine
from panel.records import Persona
from tests import scripted as script
from tests.cli.commands import Command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`review-panel`; wide enough for no message to be broken over lines, and with no engine to load."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("CI", "1")  # no browser opens in a test

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a model was loaded")

    monkeypatch.setattr(panel.engines, "open_engine", refuse)
    return Command(monkeypatch, capsys)


@pytest.fixture
def with_engine(monkeypatch: pytest.MonkeyPatch, personas: tuple[Persona, ...]) -> Callable[..., ScriptedEngine]:
    """Makes every command run on a scripted engine, and returns it."""

    def use(engine: ScriptedEngine | None = None, **options: object) -> ScriptedEngine:
        engine = engine or script.scripted_engine(personas, **options)  # type: ignore[arg-type]
        monkeypatch.setattr(panel.engines, "open_engine", lambda *_, **__: engine)
        return engine

    return use
