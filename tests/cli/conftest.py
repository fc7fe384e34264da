"""The command line on a scripted engine."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import panel.engines
from panel.assets import asset_folder
from panel.calibrate import FILE, Entry, calibration_key, save
from panel.engines.identity import Identity
from panel.engines.scripted import ScriptedEngine
from panel.prompts import Prompts
from panel.records import Calibration, Persona
from panel.weigh import weighing_of
from tests import scripted as script
from tests.cli.commands import Command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`review-panel`; wide enough for no message to be broken over lines, and with no engine to load."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("CI", "1")  # no browser opens in a test

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a model was looked for")

    monkeypatch.setattr(panel.engines, "find_engine", refuse)
    return Command(monkeypatch, capsys)


@pytest.fixture
def with_engine(monkeypatch: pytest.MonkeyPatch, personas: tuple[Persona, ...]) -> Callable[..., ScriptedEngine]:
    """Makes every command run on a scripted engine, and returns it.

    Two scripts are two models; they share their answers where `model` is the same.
    """
    number = itertools.count()

    def use(engine: ScriptedEngine | None = None, *, model: str = "", **options: object) -> ScriptedEngine:
        engine = engine or script.scripted_engine(personas, **options)  # type: ignore[arg-type]
        identity = Identity(engine.info, {"script": model or str(next(number))})
        monkeypatch.setattr(panel.engines, "find_engine", lambda *_, **__: (identity, lambda: engine))
        return engine

    return use


@pytest.fixture
def calibrated(personas: tuple[Persona, ...], prompts: Prompts, tmp_path: Path) -> Path:
    """A folder with our personas, calibrated for the scripted engine, and for nothing else."""
    folder = Path(shutil.copytree(asset_folder("personas"), tmp_path / "calibrated"))
    (folder / FILE).unlink(missing_ok=True)
    info = script.scripted_engine().info
    values = Calibration(fitted=True, deadband=0.4, strengths=0.75, weaknesses=0.75)
    save(
        folder,
        [
            Entry(
                key=calibration_key(persona, info, weighing_of(prompts, persona, info)), persona=persona.slug,
                model=info.model, engine=info.engine, cases=4, calibration=values,
            )
            for persona in personas
        ],
    )  # fmt: skip
    return folder
