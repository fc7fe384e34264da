"""From pulls to a verdict: worked by hand, whatever the order of the evidence, and however often a thing is said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panel.decide import decide
from panel.personas import load_personas
from panel.records import KINDS, Calibration, Evidence, Persona, Pull

PERSONAS = load_personas()


def lens(**weights: float) -> Persona:
    """A persona with these weights, 0 for every other kind, and no calibration."""
    return PERSONAS[0].model_copy(update={"lens": dict.fromkeys(KINDS, 0.0) | weights, "calibration": Calibration()})


def pulls(**log_odds: float) -> list[Pull]:
    return [Pull(evidence=i, log_odds=v) for i, v in log_odds.items()]


def test_p_ship_worked_by_hand(fact: Callable[..., Evidence]) -> None:
    """Lens 2 and 1, pulls 0.5 and −0.4: mean (2·0.5 − 1·0.4) / 3 = 0.2; sigmoid(0.2) = 0.5498."""
    evidence = [fact("E1", "It runs anywhere."), fact("E2", "Nobody answers letters.", kind="support")]
    assert decide(lens(capability=2, support=1), evidence, pulls(E1=0.5, E2=-0.4)) == ("ship", 0.5498)


def test_calibration_worked_by_hand(fact: Callable[..., Evidence]) -> None:
    """−1 + 3 · 0.2 = −0.4; sigmoid(−0.4) = 0.4013."""
    evidence = [fact("E1", "It runs anywhere.")]
    persona = lens(capability=1).model_copy(update={"calibration": Calibration(intercept=-1, slope=3)})
    assert decide(persona, evidence, pulls(E1=0.2)) == ("skip", 0.4013)


def test_what_a_persona_does_not_look_at_does_not_count(fact: Callable[..., Evidence]) -> None:
    evidence = [fact("E1", "It runs anywhere."), fact("E2", "Nobody answers letters.", kind="support")]
    assert decide(lens(capability=1), evidence, pulls(E1=1.0, E2=-50.0)) == ("ship", 0.7311)  # sigmoid(1)
    assert decide(lens(), evidence, pulls(E1=1.0, E2=-50.0)) == ("ship", 0.5)


@pytest.mark.parametrize("log_odds", [-1e6, -800.0, 800.0, 1e6])
def test_a_pull_of_any_size_gives_a_probability(log_odds: float, fact: Callable[..., Evidence]) -> None:
    expected = ("ship", 1.0) if log_odds > 0 else ("skip", 0.0)
    assert decide(lens(capability=1), [fact("E1", "It runs.")], pulls(E1=log_odds)) == expected


def test_the_same_thing_twice_counts_once(fact: Callable[..., Evidence]) -> None:
    """With E3 beside E1, and nothing new in it, the mean stays (1.0 − 0.6) / 2 = 0.2 and is not (2 − 0.6) / 3."""
    evidence = [fact("E1", "Queries run in parallel on every core."), fact("E2", "Nobody answers letters.")]
    once = decide(lens(capability=1), evidence, pulls(E1=1.0, E2=-0.6))
    assert once == ("ship", 0.5498)
    again = fact("E3", "On every core queries run in parallel!")
    assert decide(lens(capability=1), [*evidence, again], pulls(E1=1.0, E2=-0.6, E3=1.0)) == once
    # Something else that shares half of the words is a fact of its own: (1.0 − 0.6 + 1.0) / 3 = 0.4667.
    other = fact("E3", "Backups run in parallel on one disk.")
    assert decide(lens(capability=1), [*evidence, other], pulls(E1=1.0, E2=-0.6, E3=1.0)) == ("ship", 0.6146)


def test_a_yes_and_a_no_are_two_facts(fact: Callable[..., Evidence]) -> None:
    """They differ in one word of nine. Taken for one fact, the +3 and −1 would be averaged before they are weighed:
    here (3 − 1 − 1) / 3 = 0.3333, sigmoid 0.5826; else ((3 − 1) / 2 − 1) / 2 = 0, sigmoid 0.5."""
    evidence = [
        fact("E1", "It is certified for the whole of the market."),
        fact("E2", "It is not certified for the whole of the market."),
        fact("E3", "Backups stop at noon."),
    ]
    assert decide(lens(capability=1), evidence, pulls(E1=3.0, E2=-1.0, E3=-1.0)) == ("ship", 0.5826)


def test_two_prices_are_two_facts(fact: Callable[..., Evidence]) -> None:
    evidence = [
        fact("E1", "The small plan costs 20 dollars for each seat and month."),
        fact("E2", "The small plan costs 90 dollars for each seat and month."),
        fact("E3", "Backups stop at noon."),
    ]
    assert decide(lens(capability=1), evidence, pulls(E1=3.0, E2=-1.0, E3=-1.0)) == ("ship", 0.5826)


# Few words, so that many facts overlap and some are the same.
_TEXT = st.lists(st.sampled_from("queries run fast on every core of no old machine".split()), min_size=1, max_size=8)
_PULL = st.floats(-6, 6).map(lambda x: round(x, 3))
_FACTS = st.lists(
    st.tuples(_TEXT.map(" ".join), st.sampled_from(KINDS), _PULL),
    min_size=1,
    max_size=14,
)


def _evidence(facts: list[tuple[str, str, float]]) -> tuple[list[Evidence], list[Pull]]:
    evidence = [
        Evidence.model_validate({"id": f"E{n}", "kind": kind, "text": text, "source": "x"})
        for n, (text, kind, _) in enumerate(facts, start=1)
    ]
    return evidence, [Pull(evidence=e.id, log_odds=f[2]) for e, f in zip(evidence, facts, strict=True)]


# One sentence with up to three of its words left out: A may be like B and B like C where A and C are two facts.
_WORDS = ["queries", "run", "fast", "on", "every", "core", "of", "an", "old", "machine"]
_ALIKE = st.sets(st.integers(0, len(_WORDS) - 1), max_size=3).map(
    lambda left_out: " ".join(word for n, word in enumerate(_WORDS) if n not in left_out)
)
_ALIKE_FACTS = st.lists(st.tuples(_ALIKE, st.sampled_from(KINDS), _PULL), min_size=2, max_size=6)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_chain_of_likeness_is_cut_in_the_same_place_whatever_the_order(order: tuple[int, ...]) -> None:
    """Of seven, eight and nine words: 7/8 and 8/9 are one fact, 7/9 are two. By their texts the seven come first, the
    eight join them, and the nine stand alone: ((−3 + 0) / 2 + 3) / 2 = 0.75, sigmoid 0.6792."""
    texts = ["a b c d e f g", "a b c d e f g h", "a b c d e f g h i"]
    facts = [(text, "capability", pull) for text, pull in zip(texts, (-3.0, 0.0, 3.0), strict=True)]
    assert decide(lens(capability=1), *_evidence([facts[i] for i in order])) == ("ship", 0.6792)


@given(_FACTS | _ALIKE_FACTS, st.randoms(use_true_random=False))
def test_the_order_of_the_evidence_cannot_show(facts: list[tuple[str, str, float]], random: object) -> None:
    """Bit for bit, whether a piece keeps its id or is numbered anew."""
    for persona in PERSONAS:
        evidence, weighed = _evidence(facts)
        expected = decide(persona, evidence, weighed)
        order = list(range(len(facts)))
        random.shuffle(order)  # type: ignore[attr-defined]
        assert decide(persona, [evidence[i] for i in order], weighed) == expected
        assert decide(persona, *_evidence([facts[i] for i in order])) == expected
        assert 0 <= expected[1] <= 1
        assert expected[0] == ("ship" if expected[1] >= 0.5 else "skip")


@given(_FACTS, st.data())
def test_saying_it_again_cannot_show(facts: list[tuple[str, str, float]], data: st.DataObject) -> None:
    """What is repeated word for word, weighed alike, changes nothing, however often.

    Facts that are alike without being the same are left out: which of them a third one joins may depend on both.
    """
    distinct = list({frozenset(f[0].split()): f for f in facts}.values())
    words = [set(f[0].split()) for f in distinct]
    kept = [f for i, f in enumerate(distinct) if not any(2 * len(words[i] & w) >= len(words[i] | w) for w in words[:i])]
    said = data.draw(st.lists(st.sampled_from(kept), max_size=5))
    for persona in PERSONAS:
        once = decide(persona, *_evidence(kept))
        again = decide(persona, *_evidence([*kept, *said]))
        assert again[1] == pytest.approx(once[1], abs=1e-4)  # the last digit of 4 may turn on a sum's last bit
        assert math.isfinite(again[1])
