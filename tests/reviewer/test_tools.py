"""The tools do what they say, note it on the desk, and refuse in words that say what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from smolagents.tools import validate_tool_arguments

from panel.draft import plan_beats
from panel.engines.scripted import ScriptedEngine
from panel.errors import DraftError
from panel.prompts import Prompts
from panel.records import Calibration, Dossier, Persona, PricePlan
from panel.reviewer.desk import Desk
from panel.reviewer.tools import (
    FinalAnswer,
    FindEvidence,
    ListRivals,
    Price,
    ReadEvidence,
    WeighEvidence,
    plan_total,
)
from tests.scripted import restated


@pytest.fixture
def desk(dossier: Dossier, persona: Callable[[str], Persona]) -> Desk:
    return Desk(persona("builder"), dossier)


# --------------------------------------------------------------------------------------------- weigh, find, read


def test_weighing_notes_pulls_and_verdict(desk: Desk, scripted: ScriptedEngine, prompts: Prompts) -> None:
    """The scripted engine likes everything by 8 nats; sigmoid(8) = 0.9997."""
    desk.persona = desk.persona.model_copy(update={"calibration": Calibration()})
    said = WeighEvidence(desk, scripted, prompts)()
    assert [pull.evidence for pull in desk.pulls.values()] == [f"E{n}" for n in range(1, 11)]
    assert {pull.log_odds for pull in desk.pulls.values()} == {8.0}
    assert (desk.decision, desk.p_ship) == ("ship", 0.9997)
    assert "E1 +8.0" in said
    assert said.endswith("On balance: ship.")


def test_finding_names_ids_and_kinds(desk: Desk) -> None:
    find = FindEvidence(desk)
    assert find("manual example") == "E2 (docs)"
    assert find("zebra") == "Nothing found. Use other words."
    assert desk.searches == ["manual example", "zebra"]


def test_reading_gives_the_text_once(desk: Desk) -> None:
    read = ReadEvidence(desk)
    assert read(["E3", "E1"]) == (
        "E3: Backups stop while the nightly index is rebuilt.\n"
        "E1: Queries run in parallel across every core of the machine."
    )
    assert read(["E1", "E2", "E2"]) == "E2: The manual shows each command with a complete example."
    assert read(["E1"]) == "Nothing new in these."
    assert desk.read == ["E3", "E1", "E2"]


def test_reading_what_is_not_there_says_what_is(desk: Desk) -> None:
    with pytest.raises(ValueError, match="no evidence E77; read one of E1, E2, E3"):
        ReadEvidence(desk)(["E1", "E77"])
    assert desk.read == [], "half of a refused call must not count"


# -------------------------------------------------------------------------------------------------- rivals, price


def test_rivals_are_listed(desk: Desk, other_dossier: Dossier) -> None:
    assert ListRivals(desk)() == "Bramble, Quaydb"
    assert desk.rivals_listed
    assert ListRivals(Desk(desk.persona, other_dossier))() == "The dossier names no rivals."


@pytest.mark.parametrize(
    ("plan", "seats", "months", "total", "basis"),
    [
        # 12 · 10 seats · 6 months
        ({"price": 12}, 10, 6, 720, "10 seats, 6 months"),
        # a started year is paid in full: 13 months are two years, 12 are one
        ({"price": 100, "period": "year"}, 3, 13, 600, "3 seats, 13 months"),
        ({"price": 100, "period": "year"}, 3, 12, 300, "3 seats, 12 months"),
        ({"price": 300, "period": "once"}, 2, 36, 600, "2 seats, 36 months"),
        # a server is no seat: it is counted once
        ({"price": 50, "per": "server"}, 10, 2, 100, "one server, 2 months"),
        ({"price": 50, "per": "server"}, 1, 2, 100, "one server, 2 months"),
        ({"price": 9.99, "per": "User"}, 1, 12, 119.88, "1 seat, 12 months"),
        ({"price": 9.99}, 1, 1, 9.99, "1 seat, 1 month"),
        ({"price": 0}, 500, 36, 0, "500 seats, 36 months"),
    ],
)
def test_prices_worked_by_hand(plan: dict[str, Any], seats: int, months: int, total: float, basis: str) -> None:
    found, said = plan_total(PricePlan(plan="P", **plan), seats, months)
    assert found == pytest.approx(total)
    assert said == basis


def test_a_price_is_said_and_noted(desk: Desk) -> None:
    assert Price(desk)("Team", 10, 6) == "Team: $720 for 10 seats, 6 months."
    assert desk.priced


def test_a_plan_that_is_not_there_is_refused_with_those_that_are(desk: Desk) -> None:
    with pytest.raises(ValueError, match="no plan 'Gold'; choose one of Solo, Team"):
        Price(desk)("Gold", 1, 1)
    assert not desk.priced


# --------------------------------------------------------------------------------------------------- final answer


@pytest.fixture
def ready(desk: Desk, scripted: ScriptedEngine, prompts: Prompts) -> Desk:
    """Weighed in favour of ship, with E1 to E7 read."""
    WeighEvidence(desk, scripted, prompts)()
    ReadEvidence(desk)([f"E{n}" for n in range(1, 8)])
    return desk


@pytest.fixture
def answer(ready: Desk, scripted: ScriptedEngine) -> FinalAnswer:
    tool = FinalAnswer(ready, scripted)
    pulls = {i: pull.log_odds for i, pull in ready.pulls.items()}
    plans = plan_beats(ready.persona, ready.dossier, "ship", pulls, ready.read)
    tool.plans = {plan.spec.name: plan for plan in plans}
    return tool


@pytest.fixture
def beats(answer: FinalAnswer, ready: Desk) -> list[dict[str, Any]]:
    """A good answer: each beat restates what it cites."""
    return [
        {"name": name, "text": plan.stem + restated(ready.evidence[plan.cites[0]].text), "cites": list(plan.cites)}
        for name, plan in answer.plans.items()
    ]


def test_a_good_answer_is_taken(answer: FinalAnswer, ready: Desk, beats: list[dict[str, Any]]) -> None:
    validate_tool_arguments(answer, {"decision": "ship", "beats": beats})
    assert answer("ship", beats) == {"decision": "ship", "beats": beats}
    assert [beat.name for beat in ready.beats] == [spec.name for spec in ready.persona.beats]
    assert (ready.tries, len(ready.standing)) == (1, 5)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda b: b[1].update(cites=["E8"]), "dx-bet: cites E8, which was not read"),
        (lambda b: b[1].update(cites=["E99"]), "dx-bet: cites E99, which is not in the dossier"),
        (lambda b: b[1].update(cites=[]), "dx-bet: cites nothing"),
        (lambda b: b[1].update(text=b[1]["text"].replace(".", ", says Oracle.")), "dx-bet: names Oracle"),
        (lambda b: b[1].update(text="It is so."), "dx-bet does not argue for ship: it should start with"),
        (lambda b: b.pop(), "answers ['primitive', 'dx-bet', 'moment-of-truth', 'weekend-alternative'] instead of"),
        (lambda b: b.reverse(), "instead of ['primitive', 'dx-bet'"),
    ],
)
def test_a_spoilt_answer_is_refused_with_the_reason(
    answer: FinalAnswer, ready: Desk, beats: list[dict[str, Any]], spoil: Callable[[Any], None], says: str
) -> None:
    spoil(beats)
    with pytest.raises(DraftError) as caught:
        answer("ship", beats)
    assert any(says in problem for problem in caught.value.problems)
    assert ready.beats == ()
    assert ready.tries == 1


def test_what_was_right_stands(answer: FinalAnswer, ready: Desk, beats: list[dict[str, Any]]) -> None:
    good = beats[1]["text"]
    beats[1]["text"] = good.replace(".", ", says Oracle.")
    with pytest.raises(DraftError):
        answer("ship", beats)
    assert set(ready.standing) == {b["name"] for b in beats} - {"dx-bet"}
    beats[1]["text"] = good
    answer("ship", beats)
    assert (ready.tries, len(ready.beats)) == (2, 5)


@pytest.mark.parametrize("decision", ["skip", "maybe", "SHIP"])
def test_an_answer_against_the_evidence_is_refused(
    answer: FinalAnswer, ready: Desk, beats: list[dict[str, Any]], decision: str
) -> None:
    with pytest.raises(DraftError, match="the evidence weighs toward ship, so the decision cannot be"):
        answer(decision, beats)
    assert ready.beats == ()


@pytest.mark.parametrize(
    "beats", [[{"name": "primitive"}], [{"name": "primitive", "text": "x", "cites": "E1", "mood": "sour"}], ["x"], "x"]
)
def test_an_answer_of_another_shape_is_refused(answer: FinalAnswer, ready: Desk, beats: Any) -> None:
    with pytest.raises(ValueError, match="validation error"):
        answer("ship", beats)
    assert ready.beats == ()
