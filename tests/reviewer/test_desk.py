"""What a reviewer may do next: weigh before all else, read before it cites, nothing twice, answer last."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from panel.decide import TELLING
from panel.records import Dossier, Evidence, Persona, Pull
from panel.reviewer.desk import MAX_STEPS, READ_AT_ONCE, TRIES, Desk, Loop


@pytest.fixture
def desk(dossier: Dossier, persona: Callable[[str], Persona]) -> Callable[..., Desk]:
    """A desk on which the evidence has been weighed: E1 +1.0, E2 −0.9, E3 +0.8 … E10 −0.1, in favour of ship."""

    def make(slug: str = "builder", loop: Loop = "led", dossier: Dossier = dossier) -> Desk:
        desk = Desk(persona(slug), dossier, loop)
        for n, item in enumerate(dossier.evidence):
            desk.pulls[item.id] = Pull(evidence=item.id, log_odds=round((1.0 - n / 10) * (-1) ** n, 1))
        desk.decision, desk.p_ship = "ship", 0.6
        return desk

    return make


@pytest.mark.parametrize("loop", ["led", "free"])
def test_nothing_comes_before_weighing(dossier: Dossier, persona: Callable[[str], Persona], loop: Loop) -> None:
    assert Desk(persona("builder"), dossier, loop).options() == {"weigh_evidence": {}}


def test_weighing_comes_once(desk: Callable[..., Desk]) -> None:
    assert "weigh_evidence" not in desk().options()
    assert "weigh_evidence" not in desk(loop="free").options()


def test_there_is_no_answer_before_enough_is_read(desk: Callable[..., Desk]) -> None:
    """The builder has five beats and reads seven pieces: one for each beat, and two to choose from. Only six pulls
    (1.0, −0.9 … −0.5) are telling."""
    builder = desk()
    assert builder.persona.calibration.deadband < TELLING == 0.4
    assert builder.still_to_read == 7
    for number in range(1, 7):
        builder.read.append(f"E{number}")
        assert "final_answer" not in builder.options()
        assert "read_evidence" in builder.options()
    builder.read.append("E7")
    assert set(builder.options()) == {"final_answer"}


def test_what_weighs_most_is_offered_first(desk: Callable[..., Desk]) -> None:
    builder = desk()
    offered = builder.options()["read_evidence"]["ids"]
    assert offered["subset"] == [f"E{n}" for n in range(1, 8)]
    assert 1 <= offered["minItems"] <= builder.still_to_read == 7
    builder.read += ["E1", "E2", "E3", "E4", "E6"]
    assert builder.unread == ["E5", "E7", "E8", "E9", "E10"]
    offered = builder.options()["read_evidence"]["ids"]
    assert offered["subset"] == builder.unread[:2]
    assert 1 <= offered["minItems"] <= builder.still_to_read == 2


def test_equal_pulls_are_read_in_the_order_of_their_numbers(desk: Callable[..., Desk]) -> None:
    """E10 comes after E2, not before it."""
    builder = desk()
    builder.pulls = {i: Pull(evidence=i, log_odds=0.5) for i in builder.pulls}
    assert builder.unread == [f"E{n}" for n in range(1, 11)]


@pytest.mark.parametrize(("weighty", "wanted"), [(0, 7), (6, 7), (7, 7), (8, 8), (9, 9), (10, 10)])
def test_all_that_weighs_is_read(desk: Callable[..., Desk], weighty: int, wanted: int) -> None:
    """Otherwise a beat might say that the dossier does not tell what it does."""
    builder = desk()
    builder.pulls = {f"E{n}": Pull(evidence=f"E{n}", log_odds=-0.41 if n <= weighty else 0.4) for n in range(1, 11)}
    assert builder.still_to_read == wanted
    assert builder.options()["read_evidence"]["ids"]["minItems"] == wanted


def many(dossier: Dossier, number: int) -> Dossier:
    items = tuple(
        Evidence(id=f"E{n}", kind="docs", text=f"Page {n} is long.", source="x") for n in range(1, number + 1)
    )
    return dossier.model_copy(update={"evidence": items})


def test_no_more_has_to_be_read_than_at_once(desk: Callable[..., Desk], dossier: Dossier) -> None:
    builder = desk(dossier=many(dossier, READ_AT_ONCE + 4))
    builder.pulls = {item.id: Pull(evidence=item.id, log_odds=1.0) for item in builder.dossier.evidence}
    offered = builder.options()["read_evidence"]["ids"]
    assert offered == {"subset": [f"E{n}" for n in range(1, READ_AT_ONCE + 1)], "minItems": READ_AT_ONCE}


def test_what_weighs_cannot_be_passed_over(desk: Callable[..., Desk], dossier: Dossier) -> None:
    """Of 14 pieces the first 8 weigh. Who reads the last 8 of those that are offered has read 2 of them."""
    builder = desk(dossier=many(dossier, 14))
    builder.pulls = {f"E{n}": Pull(evidence=f"E{n}", log_odds=1.0 if n <= 8 else 0.1) for n in range(1, 15)}
    offered = builder.options()["read_evidence"]["ids"]
    assert offered["minItems"] == 8
    builder.read += offered["subset"][-8:]
    assert {f"E{n}" for n in range(1, 9)} <= set(builder.read) or not builder.enough_read


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_small_dossier_is_read_whole(desk: Callable[..., Desk], dossier: Dossier, size: int) -> None:
    small = desk(dossier=dossier.model_copy(update={"evidence": dossier.evidence[:size]}))
    assert small.options()["read_evidence"]["ids"]["minItems"] == size
    small.read += [item.id for item in small.dossier.evidence]
    assert set(small.options()) == {"final_answer"}


def test_the_verdict_is_what_the_evidence_weighs(desk: Callable[..., Desk]) -> None:
    """The grammar leaves the model no other decision than the one that was worked out."""
    builder = desk()
    builder.read += [f"E{n}" for n in range(1, 8)]
    assert builder.options()["final_answer"] == {"decision": {"type": "string", "enum": ["ship"]}}
    builder.decision = "skip"
    assert builder.options()["final_answer"] == {"decision": {"type": "string", "enum": ["skip"]}}


def test_a_persona_uses_its_own_tools_before_it_answers(desk: Callable[..., Desk]) -> None:
    analyst, buyer = desk("competitor-analyst"), desk("business-buyer")
    for one in (analyst, buyer):
        one.read += [f"E{n}" for n in range(1, 8)]
    assert set(analyst.options()) == {"list_rivals"}
    assert set(buyer.options()) == {"price"}
    assert buyer.options()["price"]["plan"] == {"type": "string", "enum": ["Solo", "Team"]}
    analyst.rivals_listed = buyer.priced = True
    assert set(analyst.options()) == set(buyer.options()) == {"final_answer"}


def test_it_is_not_asked_for_what_the_dossier_lacks(desk: Callable[..., Desk], other_dossier: Dossier) -> None:
    """Bramble has no rivals and no plans."""
    for slug in ("competitor-analyst", "business-buyer"):
        one = desk(slug, dossier=other_dossier)
        one.read += [f"E{n}" for n in range(1, 8)]
        assert set(one.options()) == {"final_answer"}


def test_a_free_reviewer_may_answer_early_and_use_any_tool_once(desk: Callable[..., Desk]) -> None:
    free = desk("builder", "free")
    assert set(free.options()) == {"find_evidence", "read_evidence", "list_rivals", "price"}
    assert free.options()["find_evidence"] == {"query": {"type": "string", "maxLength": 60}}
    free.read += [f"E{n}" for n in range(1, 8)]
    assert set(free.options()) == {"list_rivals", "price", "final_answer"}
    free.rivals_listed = free.priced = True
    assert set(free.options()) == {"final_answer"}


def test_a_led_reviewer_does_not_look_up_what_it_reads_anyway(desk: Callable[..., Desk]) -> None:
    assert set(desk().options()) == {"read_evidence"}
    searched = desk(loop="free")
    searched.searches.append("docs")
    assert "find_evidence" not in searched.options()


def test_a_led_reviewer_chooses_from_a_short_transcript(desk: Callable[..., Desk]) -> None:
    """Rivals and prices come before the reading, which makes the transcript long."""
    assert set(desk("competitor-analyst").options()) == {"list_rivals"}
    assert set(desk("business-buyer").options()) == {"price"}


def test_there_are_steps_enough_for_the_longest_way() -> None:
    """Weigh, find, two rounds of reading (4 + 3 of 7), rivals, price, and every try: 1 + 1 + 2 + 2 + 3."""
    assert MAX_STEPS >= 1 + 1 + 2 + 2 + TRIES


# -------------------------------------------------------------------------------------------------------- finding


def test_found_evidence_is_ranked_by_what_it_shares(desk: Callable[..., Desk]) -> None:
    """E7 shares rows, seconds and laptop with the query; E10 none of them, nor does it share its kind."""
    assert [item.id for item in desk().find("rows on a laptop in seconds")] == ["E7"]
    # E3 is of the kind, which counts two; E2 shares one word.
    assert [item.id for item in desk().find("limitation, manual")] == ["E3", "E2"]
    assert desk().find("zebra") == []
    assert desk().find("") == []


def test_no_more_is_found_than_can_be_read_at_once(dossier: Dossier, persona: Callable[[str], Persona]) -> None:
    pages = tuple(
        Evidence(id=f"E{n}", kind="docs", text=f"Page {n} is about queues.", source="x") for n in range(20, 0, -1)
    )
    desk = Desk(persona("builder"), dossier.model_copy(update={"evidence": pages}))
    assert [item.id for item in desk.find("queues")] == [f"E{n}" for n in range(1, READ_AT_ONCE + 1)]
