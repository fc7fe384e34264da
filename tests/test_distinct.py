"""Reviewers of one tool each say a fact in words of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from panel.draft import planned, said
from panel.engines.scripted import ScriptedEngine
from panel.prompts import Prompts
from panel.records import Dossier, Persona, Review
from panel.requests import GenerateRequest
from panel.run import compare
from tests import scripted as script

Write = Callable[[GenerateRequest], str]
Panel = Callable[[Write], tuple[tuple[Review, ...], ScriptedEngine]]


def alike(request: GenerateRequest) -> str:
    """Every reviewer restates its fact; whoever is asked to write it again has a word of its own."""
    text = script.write(request)
    _, slug, *_, attempt, _ = request.key.split("/")
    own = script.OWN_WORD[slug]
    return text if attempt.startswith("apart") else text.replace(f" {own} ", " ", 1) if own else text


def stubborn(request: GenerateRequest) -> str:
    """Every reviewer restates its fact, and never finds other words."""
    return (
        script.restated(script.last_fact(request.messages[-1].content)) if "/apart" in request.key else alike(request)
    )


@pytest.fixture
def panel(dossier: Dossier, personas: tuple[Persona, ...], prompts: Prompts, tmp_path: Path) -> Panel:
    """Reviews of Lanternfish by an engine with `write`, and the engine."""

    def run(write: Write) -> tuple[tuple[Review, ...], ScriptedEngine]:
        engine = script.scripted_engine(personas, write=write)
        return compare([dossier], personas, prompts, engine, out=tmp_path / "outputs").record.tools[0].reviews, engine

    return run


def sayings(reviews: tuple[Review, ...], dossier: Dossier, persona: Callable[[str], Persona]) -> list[str]:
    found = []
    for review in reviews:
        for beat in review.beats:
            if not beat.silent:
                assert review.decision is not None
                found.append(said(beat, planned(persona(review.persona), dossier, review.decision, beat)))
    return found


def test_who_comes_later_finds_other_words(panel: Panel, dossier: Dossier, persona: Callable[[str], Persona]) -> None:
    reviews, engine = panel(alike)
    words = sayings(reviews, dossier, persona)
    assert len(words) == len(set(words)) > 8
    again = {request.key.split("/")[1] for request in engine.generated if "/apart" in request.key}
    assert "builder" not in again, "the panel's order decides who keeps the words"
    assert again
    for review in reviews:
        assert review.quote == " ".join(beat.text for beat in review.beats)


def test_what_cannot_be_said_otherwise_stays(panel: Panel, dossier: Dossier, persona: Callable[[str], Persona]) -> None:
    reviews, engine = panel(stubborn)
    words = sayings(reviews, dossier, persona)
    assert len(set(words)) < len(words)
    assert any("/apart" in request.key for request in engine.generated)
    assert all(review.status == "scored" for review in reviews)


def test_nothing_is_asked_where_all_is_said_once(panel: Panel) -> None:
    _, engine = panel(script.write)
    assert not [request for request in engine.generated if "/apart" in request.key]


def test_a_kept_review_stands_for_itself(panel: Panel, tmp_path: Path) -> None:
    """What is stored does not depend on who else was asked."""
    reviews, engine = panel(alike)
    stored = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "outputs" / "reviews").rglob("*.json"))
    again = {request.key.split("/")[1] for request in engine.generated if "/apart" in request.key}
    assert [review.quote in stored for review in reviews] == [review.persona not in again for review in reviews]
