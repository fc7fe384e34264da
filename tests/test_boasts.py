"""Boasts weigh nothing: they are taken out of a fact before it is weighed; a sentence of nothing else is no fact."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panel.boasts import _WORDS, only_boasts, without_boasts
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.records import Evidence, Persona
from panel.requests import EngineInfo, ScoreRequest, Scores
from panel.screen import Screened, screen
from panel.weigh import weigh


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The stunning parser reads 2 GB a second.", "The parser reads 2 GB a second."),
        ("The truly stunning, world-class parser reads 2 GB.", "The parser reads 2 GB."),
        ("Its fluent, superb syntax compiles.", "Its fluent syntax compiles."),
        ("An amazing tool with an astonishing win.", "A tool with a win."),
        ("A superb index of files.", "An index of files."),
        ("Dazzling charts come without data.", "Charts come without data."),
        ("It fails. Stunning charts hide it.", "It fails. Charts hide it."),
        ("Amazing, stunning, world-class: it ran out of memory.", "It ran out of memory."),
        ("It effortlessly sorts 40 million rows.", "It sorts 40 million rows."),
    ],
)
def test_a_boast_before_a_word_is_taken_out(text: str, plain: str) -> None:
    assert without_boasts(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "Sold by Stunning Labs of Kent.",  # a name
        "It beats the state of the art by 3 points.",  # a noun
        "Pages so lovely that one reads them for pleasure.",  # no noun after it
        "The parser is superb.",
        "It has no elegant way to undo.",  # what is denied is more than the boast
        "It doesn't effortlessly sort 40 million rows.",
        "The charts come without any impressive result.",
        "A fast, secure, reliable and free server, the first and only one with an open log.",  # may be facts
        "",
        "…",
    ],
)
def test_what_is_no_boast_before_a_word_stays(text: str) -> None:
    assert without_boasts(text) == text


@pytest.mark.parametrize(
    "sentence",
    [
        "It is superb.",
        "Breathtaking!",
        "A masterpiece.",
        "What a triumph, and what a joy it is!",
        "It’s a must-have.",
        "Simply the best!",
        "It is the greatest of all, everyone agrees.",
    ],
)
def test_praise_without_a_fact_is_set_aside(sentence: str) -> None:
    assert only_boasts(sentence)
    assert screen(sentence) == Screened("", ((sentence, "praise without a fact"),))
    honest = "Backups stop while the index is rebuilt."
    assert screen(f"{sentence} {honest}") == Screened(honest, ((sentence, "praise without a fact"),))


@pytest.mark.parametrize(
    "sentence",
    ["It is free.", "It is superb for 3 users.", "It is.", "It just works.", "", "42.", "It is better.", "Best of 12."],
)
def test_a_sentence_that_may_state_a_fact_is_not(sentence: str) -> None:
    assert not only_boasts(sentence)


def test_a_short_fact_beside_praise_is_read() -> None:
    """Beside an attack it would be a scrap."""
    assert screen("Superb! Costs nothing.").fact == "Costs nothing."


@given(st.text(max_size=200))
def test_no_text_is_too_strange(text: str) -> None:
    plain = without_boasts(text)
    assert len(plain) <= len(text) + 1  # "a" may become "an"
    only_boasts(text)


def test_no_text_makes_it_slow() -> None:
    """Linear: four times as long takes four times as long, and not the sixteen of a search that starts over."""

    def seconds(times: int) -> float:
        started = time.process_time()
        for text in ("amazing, " * times, "truly " * times, "an amazing and " * times):
            without_boasts(text)
            only_boasts(text)
        return time.process_time() - started

    seconds(200)
    assert min(seconds(4000) for _ in range(3)) < 10 * min(seconds(1000) for _ in range(3))


def test_the_list_has_no_entry_twice_and_none_in_capitals() -> None:
    assert set(_WORDS) == {"adjectives", "adverbs", "nouns", "verbs"}
    for entries in _WORDS.values():
        assert len(entries) == len(set(entries)) > 20
        assert all(entry == entry.lower().strip() for entry in entries)


class Reading:
    """An engine that remembers what it was given to read, and scores by its length."""

    info = EngineInfo("scripted", "1", "test", "0" * 64, "1" * 64)

    def __init__(self) -> None:
        self.read: list[str] = []

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        self.read += [request.prompt for request in requests]
        return [Scores((float(len(request.prompt)), 0.0), 1) for request in requests]


@pytest.fixture
def builder() -> Persona:
    return next(persona for persona in load_personas() if persona.slug == "builder")


def test_a_fact_weighs_the_same_with_boasts_and_without(builder: Persona) -> None:
    texts = [
        "The parser reads an index of 2 GB.",
        "The stunning parser reads an index of 2 GB.",
        "Amazing: the parser reads a jaw-dropping index of 2 GB. It is phenomenal.",
        "It is phenomenal.",
    ]
    evidence = [
        Evidence(id=f"E{n}", kind="capability", text=text, source="https://example.com")
        for n, text in enumerate(texts, 1)
    ]
    engine = Reading()
    pulls = weigh(engine, Prompts(), builder, evidence)  # type: ignore[arg-type]
    assert pulls[0].log_odds == pulls[1].log_odds == pulls[2].log_odds
    assert (pulls[3].log_odds, pulls[3].weighed) == (0.0, False)
    assert not any("stunning" in prompt for prompt in engine.read)
