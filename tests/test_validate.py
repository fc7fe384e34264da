"""Every problem that a draft may have: a planted fault is found, and its clean twin passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from panel.grounding import Grounds, grounds, quotation_grammar
from panel.records import Beat, Dossier, Evidence, Persona
from panel.validate import SUPPORT, check_beat, check_review, content_words, support

STEM = "What stands out is that"
OTHER = " the manual shows each command with a complete example."

#: problem (the start of its message) → a rest of a sentence that has it, what it cites, and its clean twin
FAULTS: dict[str, tuple[str, str, str]] = {
    "cites E77, which is not in the dossier": (
        " queries run in parallel across every core.", "E1 E77", " queries run in parallel across every core.",
    ),
    "cites nothing": (" queries run in parallel across every core.", "", " queries run in parallel across every core."),
    "names Sweden, which the dossier does not": (
        " hospitals in Sweden store patient letters.", "E6", " hospitals in Norway store patient letters.",
    ),
    "names 41, which the dossier does not": (
        " sorting 41 million rows takes seconds.", "E7", " sorting 40 million rows takes seconds.",
    ),
    "says nothing after its opening words": (" it is one of those.", "E3", " backups stop while the index is rebuilt."),
    "is not supported by E1": (
        " gardens bloom beside quiet parallel roads.", "E1", " queries run in parallel across quiet roads.",
    ),
    "repeats itself": (
        " queries run in parallel and queries run in parallel.", "E1", " queries run in parallel across every core.",
    ),
    "turns the sense of E8 around": (
        " somebody outside the team has audited the encryption.", "E8",
        " nobody outside the team has audited the encryption.",
    ),
    "turns the sense of E3 around": (
        " backups never stop while the nightly index is rebuilt.", "E3",
        " backups stop while the nightly index is rebuilt.",
    ),
    "does not end": (" queries run in parallel across every", "E1", " queries run in parallel across every core."),
    "says what another beat says": (
        " the manual shows a complete example with each command.", "E2", " the manual has a complete example.",
    ),
}  # fmt: skip


@pytest.fixture
def ground(dossier: Dossier, persona: Callable[[str], Persona]) -> Grounds:
    return grounds(dossier, persona("builder"), frozenset({"queries"}))


@pytest.fixture
def check(dossier: Dossier, ground: Grounds) -> Callable[..., list[str]]:
    """The messages that a beat made of the stem and `rest` gets."""

    def do(
        rest: str, cites: str, *, stem: str = STEM, verbatim: bool = False, others: Sequence[str] = (OTHER,)
    ) -> list[str]:
        beat = Beat(name="primitive", text=stem + rest, cites=tuple(cites.split()), verbatim=verbatim)
        problems = check_beat(beat, stem, {e.id: e for e in dossier.evidence}, ground, others)
        assert all(p.beat == "primitive" for p in problems)
        return [p.message for p in problems]

    return do


@pytest.mark.parametrize("problem", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else_is(check: Callable[..., list[str]], problem: str) -> None:
    fault, cites, _ = FAULTS[problem]
    assert check(fault, cites) == [problem]


@pytest.mark.parametrize("problem", FAULTS)
def test_its_clean_twin_passes(check: Callable[..., list[str]], problem: str) -> None:
    _, cites, twin = FAULTS[problem]
    assert check(twin, " ".join(c for c in cites.split() if c != "E77") or "E1") == []


def test_words_of_the_stem_are_no_answer(check: Callable[..., list[str]]) -> None:
    """E2 says all of it, and so did the stem already."""
    stem = "With each command that the manual shows"
    assert check(" the manual shows each command.", "E2", stem=stem) == ["only repeats its opening words"]
    assert check(" a complete example is shown.", "E2", stem=stem) == []


@pytest.mark.parametrize(
    ("text", "kept", "turned"),
    [
        ("It doesn't need an account to start.", " it doesn't need an account.", " it does need an account to start."),
        (
            "It doesn’t need an account to start.",
            " it needs no account to start.",
            " an account is what it needs to start.",
        ),
        ("Exports cannot be scheduled.", " exports cannot be scheduled.", " exports can be scheduled."),
        ("Exports can be scheduled by anyone.", " anyone schedules exports.", " nobody schedules exports."),
        ("The vendor lacks an audit report.", " the vendor lacks an audit report.", " the vendor has an audit report."),
        (
            "Starting is quick, but no audit report exists.",
            " starting is quick with it.",
            " an audit report exists, and starting is quick.",
        ),
        (
            "Starting is quick, but no audit report exists.",
            " starting is quick, though no audit report exists.",
            " starting is never quick.",
        ),
    ],
)
def test_a_denial_is_neither_dropped_nor_added(
    text: str, kept: str, turned: str, ground: Grounds, fact: Callable[..., Evidence]
) -> None:
    evidence = {"E1": fact("E1", text)}

    def messages(rest: str) -> list[str]:
        beat = Beat(name="x", text=STEM + rest, cites=("E1",))
        return [p.message for p in check_beat(beat, STEM, evidence, ground)]

    assert messages(kept) == []
    assert messages(turned) == ["turns the sense of E1 around"]


@pytest.mark.parametrize("text", ["It is.", "Yes", "N/A", "?", "日本語だけ", "It can be used by you."])
def test_evidence_that_says_nothing_is_no_reason_to_break_down(
    text: str, ground: Grounds, fact: Callable[..., Evidence]
) -> None:
    beat = Beat(name="x", text=f"{STEM} queries run in parallel.", cites=("E1",))
    messages = [p.message for p in check_beat(beat, STEM, {"E1": fact("E1", text)}, ground)]
    assert messages == ["is not supported by E1"]


# -------------------------------------------------------------------------------------------------- quotations


def test_a_quotation_is_held_to_its_words_alone(check: Callable[..., list[str]], dossier: Dossier) -> None:
    rest = json.loads(quotation_grammar(dossier.evidence[1].text, []).text.removeprefix("start: "))
    # it says what another beat says, and may: the evidence says it so
    assert check(rest, "E2") != []
    assert check(rest, "E2", verbatim=True) == []
    assert check(rest.replace("complete", "partial"), "E2", verbatim=True) == ["does not quote E2 word for word"]
    assert check(rest, "E1", verbatim=True) == ["does not quote E1 word for word"]
    assert check(rest, "", verbatim=True)[0] == "cites nothing"
    assert check(rest, "E2 E77", verbatim=True) == ["cites E77, which is not in the dossier"]


def test_every_fact_of_a_dossier_can_be_quoted(
    check: Callable[..., list[str]], dossier: Dossier, ground: Grounds
) -> None:
    for item in dossier.evidence:
        rest = json.loads(quotation_grammar(item.text, ground.names).text.removeprefix("start: "))
        assert check(rest, item.id, verbatim=True) == []


# ----------------------------------------------------------------------------------------------------- support


def test_content_words_are_those_that_say_something() -> None:
    assert content_words("The queries of it are running: 9 times, and never twice.") == [
        "quer", "runn", "9", "tim", "never", "twice",
    ]  # fmt: skip
    assert content_words("It is not for you.") == []


def test_support_is_the_share_of_words_that_the_evidence_has(fact: Callable[..., Evidence]) -> None:
    """Of backups, stop, gardens, bloom the evidence has the first two: 2 / 4."""
    evidence = [fact("E1", "Backups stop while the index is rebuilt.")]
    assert support("backups stop, gardens bloom", evidence) == 0.5
    assert support("it is", evidence) == 0.0
    assert support("backups stop", []) == 0.0


def test_support_may_come_from_several_pieces(check: Callable[..., list[str]]) -> None:
    """Of audited, backups, stop, complete, ideas E2 has one, and E2, E3 and E8 together have four."""
    assert 1 / 5 < SUPPORT <= 4 / 5
    rest = " audited backups stop complete ideas."
    assert check(rest, "E2") == ["is not supported by E2"]
    assert check(rest, "E2 E3 E8") == []


# ---------------------------------------------------------------------------------------------- a whole review


def test_a_review_answers_every_question_in_order(persona: Callable[[str], Persona]) -> None:
    builder = persona("builder")
    stems = {spec.name: spec.stem["ship"] for spec in builder.beats}
    beats = [Beat(name=name, text=f"{stem} so.", cites=("E1",)) for name, stem in stems.items()]
    assert check_review(builder, "ship", stems, beats) == []
    names = [b.name for b in beats]
    for wrong in (beats[::-1], beats[:-1], [], [*beats, beats[0]]):
        assert [p.message for p in check_review(builder, "ship", stems, wrong)] == [
            f"answers {[b.name for b in wrong]} instead of {names}"
        ]


def test_a_beat_that_argues_for_the_other_decision_is_found(persona: Callable[[str], Persona]) -> None:
    builder = persona("builder")
    stems = {spec.name: spec.stem["skip"] for spec in builder.beats}
    beats = [Beat(name=name, text=f"{stem} so.", cites=("E1",)) for name, stem in stems.items()]
    beats[2] = beats[2].model_copy(update={"text": builder.beats[2].stem["ship"] + " so."})
    (problem,) = check_review(builder, "skip", stems, beats)
    assert problem.beat == builder.beats[2].name
    assert problem.message.startswith("does not argue for skip: it should start with")
