"""The yardsticks: what each says of tools written by hand, and the threshold that they are given."""

from __future__ import annotations

import math

import pytest

from evals.baselines import always_ship, asked_directly, direct_prompt, fitted, sentiment
from panel.engines.scripted import ScriptedEngine
from panel.personas import load_personas
from tests.evals.judges import GOOD, POOR, SPLIT, TOOLS, tool

BUILDER, BUYER = (next(p for p in load_personas() if p.slug == slug) for slug in ("builder", "business-buyer"))


# --------------------------------------------------------------------------------------------------- always ship


def test_always_ship_tells_no_tool_from_another() -> None:
    assert always_ship(BUILDER, TOOLS) == [0.0, 0.0, 0.0, 0.0]


def test_where_nothing_is_told_apart_it_is_the_base_rate() -> None:
    """Two of three shipped. Where most were skipped it still ships: ½."""
    assert fitted([0.0, 0.0, 0.0], [True, True, False], [0.0, 0.0]) == [pytest.approx(2 / 3)] * 2
    assert fitted([5.0, 5.0, 5.0], [True, False, False], [5.0]) == [0.5]


# ----------------------------------------------------------------------------------------------------- sentiment


def test_sentiment_by_hand() -> None:
    """VADER has "great" at 3.1 and "terrible" at −2.1, and a compound of x / √(x² + 15): 0.6249 and −0.4767. The
    mean of a great part, a terrible one and one without a word of the lexicon is 0.0494."""
    great, terrible = 3.1 / math.sqrt(3.1**2 + 15), -2.1 / math.sqrt(2.1**2 + 15)
    mixed = tool("mixed", "looks great", "looks terrible", "has a door")
    plain = tool("plain", "has a door")
    assert sentiment(BUILDER, [mixed, plain]) == [pytest.approx((great + terrible) / 3, abs=1e-4), 0.0]
    assert round((great + terrible) / 3, 4) == 0.0494


def test_sentiment_knows_no_reader() -> None:
    cases = [tool("mixed", "looks great", "looks terrible", "looks great"), POOR, SPLIT]
    assert sentiment(BUILDER, cases) == sentiment(BUYER, cases)


# ------------------------------------------------------------------------------------------------ asked directly


def test_the_direct_question_by_hand() -> None:
    assert direct_prompt(BUYER, SPLIT) == (
        "Tool: Split. A tool of parts\n"
        "Facts:\n"
        "- Part 1 of type m pleases builder.\n"
        "- Part 2 of type n pleases builder.\n"
        "- Part 3 of type o pleases builder.\n"
        "\n"
        f"Question: Should {BUYER.audience} ship this tool or skip it?\n"
        "Answer:"
    )


def test_asked_directly_is_the_difference_of_two_words() -> None:
    """Good: −0.5 − −2 = 1.5. Poor: −3 − −0.25 = −2.75. Each tool is asked once, and nothing is weighed."""
    rates = {("Good", " ship"): -0.5, ("Good", " skip"): -2.0, ("Poor", " ship"): -3.0, ("Poor", " skip"): -0.25}
    engine = ScriptedEngine(lambda request: "", lambda prompt, word: rates[prompt.split(".")[0][6:], word])
    assert asked_directly(engine)(BUILDER, [GOOD, POOR]) == [1.5, -2.75]
    assert asked_directly(engine)(BUYER, [POOR]) == [-2.75]
    assert [request.prompt for request in engine.scored] == [
        direct_prompt(BUILDER, GOOD),
        direct_prompt(BUILDER, POOR),
        direct_prompt(BUYER, POOR),
    ]
    assert len({request.key for request in engine.scored}) == 3


# -------------------------------------------------------------------------------------------------- the threshold


def test_the_threshold_lies_between_two_groups() -> None:
    """Skips at 10 and 11, ships at 13 and 14: by symmetry 12 is one half, however far from zero they all are."""
    low, middle, high = fitted([10.0, 11.0, 13.0, 14.0], [False, False, True, True], [10.0, 12.0, 14.0])
    assert middle == pytest.approx(0.5, abs=1e-3)
    assert low < 0.3
    assert high > 0.7
    assert low + high == pytest.approx(1.0, abs=1e-3)


def test_the_unit_of_a_judge_does_not_matter() -> None:
    train, ships, values = [-2.0, -1.0, 0.5, 1.0, 3.0], [False, True, False, True, True], [-1.5, 0.0, 2.0]
    plain = fitted(train, ships, values)
    assert plain == sorted(plain)
    assert fitted([1e4 * v for v in train], ships, [1e4 * v for v in values]) == pytest.approx(plain, abs=1e-6)
    assert fitted([1e-4 * v for v in train], ships, [1e-4 * v for v in values]) == pytest.approx(plain, abs=1e-6)


def test_a_judge_that_is_always_wrong_is_turned_round() -> None:
    """It knows which is which, and loses only by its sign; a yardstick that is easy to beat would flatter us."""
    up = fitted([-1.0, 1.0], [False, True], [-1.0, 1.0])
    down = fitted([1.0, -1.0], [False, True], [1.0, -1.0])
    assert down == pytest.approx(up)
    assert up[0] < 0.5 < up[1]
