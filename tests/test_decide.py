"""From pulls to a verdict: worked by hand, whatever the order of the evidence, and however often a thing is said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panel.decide import CEILING, EDGE, LIMIT, balance, decide, size_of
from panel.personas import load_personas
from panel.records import KINDS, Calibration, Evidence, Persona, Pull

PERSONAS = load_personas()


def lens(calibration: Calibration | None = None, **weights: float) -> Persona:
    """A persona with these weights, 0 for every other kind, and without a dead band unless a calibration is given."""
    whole = dict.fromkeys(KINDS, 0.0) | weights
    return PERSONAS[0].model_copy(update={"lens": whole, "calibration": calibration or Calibration(deadband=0)})


def pulls(**log_odds: float) -> list[Pull]:
    return [Pull(evidence=i, log_odds=v) for i, v in log_odds.items()]


def levelled(total: float) -> float:
    """12 · (1 − exp(−total / 12)): what is left of a sum. Of 0.5 0.4897, of 1 0.9595, of 12 7.5854, never 12."""
    return 12 * (1 - math.exp(-total / 12))


def test_p_ship_worked_by_hand(fact: Callable[..., Evidence]) -> None:
    """Lens 2 and 1, pulls 2 and −1.5, both half a nat less for the soft edge: sums of 2 · 1.5 = 3 and 1 · 1 = 1,
    levelled S = 2.6544 and W = 0.9595; sigmoid(2.6544 − 0.9595) = 0.8449."""
    evidence = [fact("E1", "It runs anywhere."), fact("E2", "Nobody answers letters.", kind="support")]
    weighed = pulls(E1=2.0, E2=-1.5)
    assert balance(lens(capability=2, support=1), evidence, weighed, deadband=0.0) == pytest.approx(
        (2.65439, 0.95947), abs=1e-5
    )
    assert decide(lens(capability=2, support=1), evidence, weighed) == ("ship", 0.8449)


def test_calibration_worked_by_hand(fact: Callable[..., Evidence]) -> None:
    """Beyond a dead band of 0.25 the pulls 1.75, −0.75 and 0.2 are 1.5, 0.5 and nothing, and weigh 1.5 − 0.5 = 1 and
    0.5² / 2 = 0.125: sums of 1 · 1 and 2 · 0.125 = 0.25, levelled 0.9595 and 0.2474; −1 + 2 · 0.9595 − 0.5 · 0.2474 =
    0.7952; sigmoid(0.7952) = 0.689."""
    evidence = [
        fact("E1", "It runs anywhere."), fact("E2", "Nobody answers letters.", kind="support"),
        fact("E3", "Its manual is blue.", kind="docs"),
    ]  # fmt: skip
    calibration = Calibration(fitted=True, deadband=0.25, intercept=-1, strengths=2, weaknesses=0.5)
    persona = lens(calibration, capability=1, support=2, docs=1)
    weighed = pulls(E1=1.75, E2=-0.75, E3=0.2)
    assert balance(persona, evidence, weighed, deadband=0.25) == pytest.approx((0.95947, 0.24741), abs=1e-5)
    assert decide(persona, evidence, weighed) == ("ship", 0.689)


@pytest.mark.parametrize(
    ("pull", "weight"), [(0.0, 0.0), (0.4, 0.0), (0.5, 0.005), (0.9, 0.125), (1.4, 0.5), (1.5, 0.6), (2.8, 1.9)]
)
def test_the_dead_band_has_its_edge_inside_and_a_soft_one(
    pull: float, weight: float, fact: Callable[..., Evidence]
) -> None:
    """Beyond 0.4, x²/2 over one nat, then x − 1/2."""
    evidence, persona = [fact("E1", "It runs.")], lens(capability=1)
    assert EDGE == 1.0
    assert balance(persona, evidence, pulls(E1=pull), deadband=0.4) == pytest.approx((levelled(weight), 0.0))
    assert balance(persona, evidence, pulls(E1=-pull), deadband=0.4) == pytest.approx((0.0, levelled(weight)))


def test_a_weight_never_jumps() -> None:
    """No step of a thousandth of a nat moves the weight by more, and none moves it the wrong way."""
    weights = [size_of(n / 1000, 0.2) for n in range(4000)]
    steps = [after - before for before, after in itertools.pairwise(weights)]
    assert min(steps) >= 0
    assert max(steps) == pytest.approx(0.001)
    assert weights[-1] == LIMIT


def test_no_fact_weighs_more_than_the_limit(fact: Callable[..., Evidence]) -> None:
    """2.9 = 0.4 + 2 + 1/2 is the last pull that weighs more than those before it."""
    assert LIMIT == 2.0
    evidence, persona = [fact("E1", "It runs.")], lens(capability=2)
    expected = [levelled(2 * weight) for weight in (1.9, 2.0, 2.0, 2.0)]
    sums = [balance(persona, evidence, pulls(E1=pull), deadband=0.4)[0] for pull in (2.8, 2.9, 3.0, 1e6)]
    assert sums == pytest.approx(expected)
    sums = [balance(persona, evidence, pulls(E1=-pull), deadband=0.4)[1] for pull in (2.8, 2.9, 3.0, 1e6)]
    assert sums == pytest.approx(expected)


def test_no_fact_decides_alone(fact: Callable[..., Evidence]) -> None:
    """Two facts that pull by 2 outweigh one that pulls by 1,000: 1.5 twice, levelled 2.6544, against the 1.8422 of the
    limit; sigmoid(0.8122) = 0.6926."""
    evidence = [fact("E1", "It runs anywhere."), fact("E2", "Nobody answers letters."), fact("E3", "Backups are kept.")]
    assert decide(lens(capability=1), evidence, pulls(E1=2.0, E2=-1000.0, E3=2.0)) == ("ship", 0.6926)


def heap(size: int, pull: float) -> tuple[list[Evidence], list[Pull]]:
    """So many facts with no word in common, and their pulls."""
    facts = [(f"thing{n} pleases customer{n}x entirely{n}", "capability", pull) for n in range(size)]
    return _evidence(facts)


def test_no_heap_of_facts_weighs_more_than_the_ceiling() -> None:
    """Forty facts that pull by 0.4 and weigh 0.08 leave 12 · (1 − exp(−3.2 / 12)) = 2.8 of their 3.2 nats, and 200 of
    the limit's weight all but nothing below 12 of their 400."""
    assert CEILING == 12.0
    assert balance(lens(capability=1), *heap(40, 0.4), deadband=0.0) == pytest.approx((2.80886, 0.0), abs=1e-5)
    assert balance(lens(capability=1), *heap(40, -0.4), deadband=0.0) == pytest.approx((0.0, 2.80886), abs=1e-5)
    assert balance(lens(capability=1), *heap(200, 2.5), deadband=0.0)[0] == pytest.approx(12.0, abs=1e-6)


def test_what_a_persona_does_not_look_at_does_not_count(fact: Callable[..., Evidence]) -> None:
    evidence = [fact("E1", "It runs anywhere."), fact("E2", "Nobody answers letters.", kind="support")]
    assert decide(lens(capability=1), evidence, pulls(E1=1.5, E2=-50.0)) == ("ship", 0.723)  # sigmoid(0.9595)
    assert decide(lens(), evidence, pulls(E1=1.0, E2=-50.0)) == ("ship", 0.5)


@pytest.mark.parametrize("log_odds", [-1e6, -800.0, 800.0, 1e6])
def test_a_pull_of_any_size_gives_a_probability(log_odds: float, fact: Callable[..., Evidence]) -> None:
    """The limit holds it at 2, which is levelled to 1.8422; sigmoid(±1.8422) = 0.8632, 0.1368."""
    expected = ("ship", 0.8632) if log_odds > 0 else ("skip", 0.1368)
    assert decide(lens(capability=1), [fact("E1", "It runs.")], pulls(E1=log_odds)) == expected


@pytest.mark.parametrize("intercept", [-1e6, -800.0, 800.0, 1e6])
def test_a_calibration_of_any_size_gives_a_probability(intercept: float, fact: Callable[..., Evidence]) -> None:
    """exp(800) is more than a float holds."""
    expected = ("ship", 1.0) if intercept > 0 else ("skip", 0.0)
    persona = lens(Calibration(intercept=intercept), capability=1)
    assert decide(persona, [fact("E1", "It runs.")], pulls(E1=1.0)) == expected


def test_the_same_thing_twice_counts_once(fact: Callable[..., Evidence]) -> None:
    """With E3 beside E1, and nothing new in it, its side stays at 1.5 − 0.5 = 1 and is not 2, against 0.6: levelled,
    0.9595 − 0.5852; sigmoid 0.5925."""
    evidence = [fact("E1", "Queries run in parallel on every core."), fact("E2", "Nobody answers letters.")]
    once = decide(lens(capability=1), evidence, pulls(E1=1.5, E2=-1.1))
    assert once == ("ship", 0.5925)
    again = fact("E3", "On every core queries run in parallel!")
    assert decide(lens(capability=1), [*evidence, again], pulls(E1=1.5, E2=-1.1, E3=1.5)) == once
    # Something else that shares half of the words is a fact of its own: 1.8422 − 0.5852; sigmoid 0.7785.
    other = fact("E3", "Backups run in parallel on one disk.")
    assert decide(lens(capability=1), [*evidence, other], pulls(E1=1.5, E2=-1.1, E3=1.5)) == ("ship", 0.7785)


def test_a_yes_and_a_no_are_two_facts(fact: Callable[..., Evidence]) -> None:
    """They differ in one word of nine. Here 1.2 against 0.9² / 2 + 0.5 = 0.905, levelled 1.142 − 0.8717, sigmoid
    0.5672; taken for one fact, the fuller no would speak for both: nothing against 0.905, and a skip."""
    evidence = [
        fact("E1", "It is certified for the whole of the market."),
        fact("E2", "It is not certified for the whole of the market."),
        fact("E3", "Backups stop at noon."),
    ]
    assert decide(lens(capability=1), evidence, pulls(E1=1.7, E2=-0.9, E3=-1.0)) == ("ship", 0.5672)


def test_two_prices_that_pull_apart_are_two_facts(fact: Callable[..., Evidence]) -> None:
    evidence = [
        fact("E1", "The small plan costs 20 dollars for each seat and month."),
        fact("E2", "The small plan costs 90 dollars for each seat and month."),
        fact("E3", "Backups stop at noon."),
    ]
    assert decide(lens(capability=1), evidence, pulls(E1=1.7, E2=-0.9, E3=-1.0)) == ("ship", 0.5672)


def test_praise_does_not_count_again_for_every_number_in_it(fact: Callable[..., Evidence]) -> None:
    """Customer 1, customer 2, …: one fact, whose first wording speaks; 0.6 levelled is 0.5852, sigmoid 0.6423."""
    evidence = [
        fact("E1", "Customer 1 of ours says that the tool saved much work."),
        fact("E2", "Customer 2 of ours says that the tool saved much work."),
    ]
    assert decide(lens(capability=1), evidence, pulls(E1=1.1, E2=1.5)) == ("ship", 0.6423)


# Few words, so that many facts overlap and some are the same.
_TEXT = st.lists(st.sampled_from("queries run fast on every core of no old machine".split()), min_size=1, max_size=8)
_PULL = st.floats(-6, 6).map(lambda x: round(x, 3))
_FACTS = st.lists(
    st.tuples(_TEXT.map(" ".join), st.sampled_from(KINDS), _PULL),
    min_size=1,
    max_size=14,
)


#: The personas with calibrations that are all different, and one that has the default.
CALIBRATED = [
    *(
        persona.model_copy(
            update={
                "calibration": Calibration(
                    fitted=True, deadband=0.2 * n, intercept=0.7 - n, strengths=0.5 + n, weaknesses=2.5 - 0.5 * n
                )
            }
        )
        for n, persona in enumerate(PERSONAS)
    ),
    PERSONAS[0],
]


def _evidence(facts: Sequence[tuple[str, str, float]]) -> tuple[list[Evidence], list[Pull]]:
    evidence = [
        Evidence.model_validate({"id": f"E{n}", "kind": kind, "text": text, "source": "x"})
        for n, (text, kind, _) in enumerate(facts, start=1)
    ]
    return evidence, [Pull(evidence=e.id, log_odds=f[2]) for e, f in zip(evidence, facts, strict=True)]


def _unlike(facts: Sequence[tuple[str, str, float]]) -> list[tuple[str, str, float]]:
    """Those of `facts` that share less than half of their words with each one before them."""
    distinct = list({frozenset(f[0].split()): f for f in facts}.values())
    words = [set(f[0].split()) for f in distinct]
    return [f for i, f in enumerate(distinct) if not any(2 * len(words[i] & w) >= len(words[i] | w) for w in words[:i])]


# One sentence with up to three of its words left out: A may be like B and B like C where A and C are two facts.
_WORDS = ["queries", "run", "fast", "on", "every", "core", "of", "an", "old", "machine"]
_ALIKE = st.sets(st.integers(0, len(_WORDS) - 1), max_size=3).map(
    lambda left_out: " ".join(word for n, word in enumerate(_WORDS) if n not in left_out)
)
_ALIKE_FACTS = st.lists(st.tuples(_ALIKE, st.sampled_from(KINDS), _PULL), min_size=2, max_size=6)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_chain_of_likeness_is_cut_in_the_same_place_whatever_the_order(order: tuple[int, ...]) -> None:
    """Of seven, eight and nine words: 7/8 and 8/9 are one fact, 7/9 are two. By their texts the seven come first, the
    eight join them and, being fuller, speak for both with 0; the nine stand alone: 1.4, levelled 1.3214, sigmoid
    0.7894."""
    texts = ["a b c d e f g", "a b c d e f g h", "a b c d e f g h i"]
    facts = [(text, "capability", pull) for text, pull in zip(texts, (-1.7, 0.0, 1.9), strict=True)]
    assert decide(lens(capability=1), *_evidence([facts[i] for i in order])) == ("ship", 0.7894)


def test_the_order_of_the_same_text_under_two_kinds_cannot_show() -> None:
    """The first two say the same and pull apart, as they may under two kinds; the third has another number."""
    text = "The plan costs {} dollars for each seat and each month of use"
    facts = [(text.format(20), "pricing", 1.0), (text.format(20), "docs", -1.0), (text.format(21), "pricing", 1.2)]
    found = {decide(lens(pricing=1, docs=2), *_evidence(order)) for order in itertools.permutations(facts)}
    assert len(found) == 1


@given(_FACTS | _ALIKE_FACTS, st.randoms(use_true_random=False))
def test_the_order_of_the_evidence_cannot_show(facts: list[tuple[str, str, float]], random: object) -> None:
    """Bit for bit, whether a piece keeps its id or is numbered anew."""
    for persona in CALIBRATED:
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
    kept = _unlike(facts)
    said = data.draw(st.lists(st.sampled_from(kept), max_size=5))
    for persona in CALIBRATED:
        once = decide(persona, *_evidence(kept))
        again = decide(persona, *_evidence([*kept, *said]))
        assert again[1] == pytest.approx(once[1], abs=1e-4)  # the last digit of 4 may turn on a sum's last bit
        assert math.isfinite(again[1])


#: A fact that has no word in common with those of `_FACTS`.
_NEWS = "Letters from customers lie unopened."


def _with_news(facts: list[tuple[str, str, float]], kind: str, pull: float) -> tuple[list[Evidence], list[Pull]]:
    return _evidence([*facts, (_NEWS, kind, pull)])


@given(_FACTS | _ALIKE_FACTS, st.sampled_from(KINDS), _PULL)
def test_a_further_fact_moves_p_ship_its_own_way(facts: list[tuple[str, str, float]], kind: str, pull: float) -> None:
    for persona in CALIBRATED:
        before, after = decide(persona, *_evidence(facts))[1], decide(persona, *_with_news(facts, kind, pull))[1]
        band = persona.calibration.deadband
        if pull < -band:
            assert after <= before
        elif pull > band:
            assert after >= before
        else:
            assert after == before


@given(_FACTS, st.sampled_from(KINDS), st.floats(0.8, 6))
def test_a_further_fact_is_felt(facts: list[tuple[str, str, float]], kind: str, beyond: float) -> None:
    """Not only never the wrong way, but the right way, where neither the ceiling nor the four decimals of p_ship leave
    no room for it: a lens of 0.1, 0.8² / 2 = 0.32 nats, a weight of 0.5, a sigmoid as flat as at 0.05 and half of it
    levelled off make at least 0.1 · 0.32 · 0.5 · 0.0475 · 0.5 = 0.0003 of it."""
    assert min(weight for persona in CALIBRATED for weight in persona.lens.values()) >= 0.1
    for persona in CALIBRATED:
        before, band = decide(persona, *_evidence(facts))[1], persona.calibration.deadband
        if 0.05 < before < 0.95 and max(balance(persona, *_evidence(facts), band)) < CEILING / 2:
            assert decide(persona, *_with_news(facts, kind, -band - beyond))[1] < before
            assert decide(persona, *_with_news(facts, kind, band + beyond))[1] > before


# Sentences of two words each, all different, so that none of them is another said again.
_PADS = ["cups wait", "books open", "doors close", "lamps shine", "roads bend", "shoes wear", "birds fly"]


@given(_FACTS | _ALIKE_FACTS, st.lists(st.tuples(st.sampled_from(_PADS), st.sampled_from(KINDS), st.floats(-1, 1))))
def test_padding_within_the_dead_band_changes_nothing_at_all(
    facts: list[tuple[str, str, float]], padding: list[tuple[str, str, float]]
) -> None:
    """However much of it: the sums are the same to the last bit."""
    for persona in CALIBRATED:
        band = persona.calibration.deadband
        padded = [*facts, *((text, kind, share * band) for text, kind, share in padding)]
        assert balance(persona, *_evidence(padded), band) == balance(persona, *_evidence(facts), band)
        assert decide(persona, *_evidence(padded)) == decide(persona, *_evidence(facts))


@given(_FACTS)
def test_sums_are_what_the_facts_weigh(facts: list[tuple[str, str, float]]) -> None:
    """Facts that are not alike: the sum of each side is that of what the facts weigh one by one, levelled."""
    kept = _unlike(facts)
    for persona in CALIBRATED:
        band = persona.calibration.deadband
        sums = [0.0, 0.0]
        for _, kind, pull in kept:
            sums[pull < 0] += persona.lens[kind] * size_of(pull, band)  # type: ignore[index]
        assert balance(persona, *_evidence(kept), band) == pytest.approx([levelled(total) for total in sums], abs=1e-9)
