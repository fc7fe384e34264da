"""What most tests need: a small dossier written by hand, the project's personas and prompts, a scripted engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

from panel.engines.codec import Codec
from panel.engines.embedded import embedded_folder
from panel.engines.scripted import ScriptedEngine
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.records import Dossier, Evidence, Persona
from tests import scripted as script

# A busy machine is no fault of what is tested.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def answers_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where model answers are kept in this test: never in the file that people use."""
    path = tmp_path / "answers.sqlite"
    monkeypatch.setenv("REVIEW_PANEL_ANSWERS", str(path))
    return path


@pytest.fixture
def dossier() -> Dossier:
    """Lanternfish 1.2: ten pieces of evidence, one of each kind, E1 to E10."""
    return Dossier.model_validate(yaml.safe_load(script.DOSSIER))


@pytest.fixture
def other_dossier() -> Dossier:
    """Bramble: the same evidence, no plans and no rivals."""
    return Dossier.model_validate(yaml.safe_load(script.second_dossier()))


@pytest.fixture(scope="session")
def personas() -> tuple[Persona, ...]:
    return load_personas()


@pytest.fixture(scope="session")
def persona(personas: tuple[Persona, ...]) -> Callable[[str], Persona]:
    """A persona by its slug."""
    return {p.slug: p for p in personas}.__getitem__


@pytest.fixture(scope="session")
def prompts() -> Prompts:
    return Prompts()


@pytest.fixture(scope="session")
def codec() -> Codec:
    """The tokenizer of the embedded model, which `make test` pulls before the tests start. No model is run for it."""
    return Codec(embedded_folder())


@pytest.fixture
def scripted(personas: tuple[Persona, ...]) -> ScriptedEngine:
    """Likes everything; see `tests.scripted`."""
    return script.scripted_engine(personas)


@pytest.fixture
def dossier_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the hand-written dossier, with some of its text replaced, and returns where."""

    def write(*replacements: tuple[str, str], name: str = "tool.yaml") -> Path:
        text = script.DOSSIER
        for old, new in replacements:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the dossier"
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def fact() -> Callable[..., Evidence]:
    """Makes evidence: `fact("E1", "text", kind="docs")`."""

    def make(id: str, text: str, **fields: Any) -> Evidence:
        return Evidence(**{"id": id, "kind": "capability", "text": text, "source": "https://example.com"} | fields)

    return make
