"""The tools of a reviewer: each does real work on the dossier, and notes on the desk what was done.

What a tool raises comes back to the model as an observation, so messages say what to do instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from smolagents import Tool

from panel.decide import decide
from panel.draft import BeatPlan
from panel.errors import DraftError
from panel.grounding import format_price, grounds
from panel.prompts import Prompts
from panel.records import Beat, Decision, Evidence, PricePlan
from panel.requests import Engine
from panel.reviewer.desk import Desk
from panel.validate import Problem, check_beat, check_review
from panel.weigh import weigh

_MONTHS = {"month": 1, "year": 12}


class WeighEvidence(Tool):
    name = "weigh_evidence"
    description = "Weigh every piece of evidence: how far it pulls you toward ship (+) or skip (-)."
    inputs: dict[str, Any] = {}
    output_type = "string"

    def __init__(self, desk: Desk, engine: Engine, prompts: Prompts, evidence: Sequence[Evidence]) -> None:
        super().__init__()
        self._desk, self._engine, self._prompts, self._evidence = desk, engine, prompts, evidence

    def forward(self) -> str:
        desk = self._desk
        pulls = weigh(self._engine, self._prompts, desk.persona, self._evidence, tool=desk.dossier.slug)
        desk.pulls = {pull.evidence: pull for pull in pulls}
        desk.decision, desk.p_ship = decide(desk.persona, desk.dossier.evidence, pulls)
        strongest = sorted(pulls, key=lambda p: -abs(p.log_odds))[:4]
        shown = ", ".join(f"{p.evidence} {p.log_odds:+.1f}" for p in strongest)
        return f"{len(pulls)} pieces weighed. The strongest: {shown}. On balance: {desk.decision}."


class FindEvidence(Tool):
    name = "find_evidence"
    description = "Look up evidence by words or by kind. Returns ids."
    inputs = {"query": {"type": "string", "description": "words or a kind of evidence"}}
    output_type = "string"

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def forward(self, query: str) -> str:
        self._desk.searches.append(query)
        found = self._desk.find(query)
        return ", ".join(f"{e.id} ({e.kind})" for e in found) if found else "Nothing found. Use other words."


class ReadEvidence(Tool):
    name = "read_evidence"
    description = "Read pieces of evidence by id."
    inputs = {"ids": {"type": "array", "description": "ids such as E1"}}
    output_type = "string"

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def forward(self, ids: list[str]) -> str:
        known = self._desk.evidence
        fresh = list(dict.fromkeys(i for i in ids if i not in self._desk.read))
        unknown = [i for i in fresh if i not in known]
        if unknown:
            raise ValueError(f"no evidence {', '.join(unknown)}; read one of {', '.join(self._desk.unread)}")
        self._desk.read += fresh
        return "\n".join(f"{i}: {known[i].text}" for i in fresh) or "Nothing new in these."


class Price(Tool):
    name = "price"
    description = "Work out what a plan costs for a number of seats and months."
    inputs = {
        "plan": {"type": "string", "description": "name of the plan"},
        "seats": {"type": "integer", "description": "how many seats"},
        "months": {"type": "integer", "description": "how many months"},
    }
    output_type = "string"

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def forward(self, plan: str, seats: int, months: int) -> str:
        plans = {p.plan: p for p in self._desk.dossier.pricing}
        if plan not in plans:
            raise ValueError(f"no plan {plan!r}; choose one of {', '.join(plans)}")
        self._desk.priced = True
        total, basis = plan_total(plans[plan], seats, months)
        return f"{plan}: {format_price(total, plans[plan].currency)} for {basis}."


def plan_total(plan: PricePlan, seats: int, months: int) -> tuple[float, str]:
    """Cost of a plan in its currency, and what that is for.

    A plan per seat is multiplied by the seats, any other unit is counted once; a started year is paid in full.
    """
    per_seat = plan.per.lower() in ("seat", "user", "person", "agent", "member")
    periods = 1 if plan.period == "once" else -(-months // _MONTHS[plan.period])
    what = f"{seats} seat{'s' * (seats != 1)}" if per_seat else f"one {plan.per}"
    total = plan.price * (seats if per_seat else 1) * periods
    return total, f"{what}, {months} month{'s' * (months != 1)}"


class ListRivals(Tool):
    name = "list_rivals"
    description = "List the rivals that the dossier names."
    inputs: dict[str, Any] = {}
    output_type = "string"

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def forward(self) -> str:
        self._desk.rivals_listed = True
        return ", ".join(self._desk.dossier.rivals) or "The dossier names no rivals."


class _AnswerBeat(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    text: str
    cites: tuple[str, ...]


_BEATS = TypeAdapter(tuple[_AnswerBeat, ...])


class FinalAnswer(Tool):
    """Replaces smolagents' own: typed, and checked before it is accepted."""

    name = "final_answer"
    description = "Give the verdict: the decision and every beat with its citations."
    inputs = {
        "decision": {"type": "string", "description": "ship or skip"},
        "beats": {"type": "array", "description": "name, text and cites of every beat"},
    }
    output_type = "object"

    def __init__(self, desk: Desk, engine: Engine) -> None:
        super().__init__()
        self._desk, self._engine = desk, engine
        self.plans: dict[str, BeatPlan] = {}

    def forward(self, decision: str, beats: list[dict[str, Any]]) -> dict[str, Any]:
        desk = self._desk
        desk.tries += 1
        verdict: Decision = "ship" if decision == "ship" else "skip"
        silent = {name for name, plan in self.plans.items() if plan.silent}
        answer = [
            Beat(**beat.model_dump(), verbatim=beat.name in desk.verbatim, silent=beat.name in silent)
            for beat in _BEATS.validate_python(beats)
        ]
        ordinary = self._engine.ordinary_words()
        stems = {name: plan.stem for name, plan in self.plans.items()}
        pulls = {i: pull.log_odds for i, pull in desk.pulls.items()}
        problems = check_review(desk.persona, verdict, stems, answer, pulls)
        if verdict != desk.decision:
            problems.append(
                Problem("", f"the evidence weighs toward {desk.decision}, so the decision cannot be {decision}")
            )
        desk.standing = {}
        written: list[str] = []
        for beat in answer:
            stem = stems.get(beat.name, "")
            ground = grounds(desk.dossier, desk.persona, ordinary, beat.cites)
            found = check_beat(beat, stem, desk.evidence, ground, written)
            unread = [c for c in beat.cites if c in desk.evidence and c not in desk.read]
            desk.problems[beat.name] = [
                *(p.message for p in found),
                *(f"cites {c}, which was not read" for c in unread),
                *desk.doubts.get(beat.name, []),
            ]
            if not desk.problems[beat.name]:
                desk.standing[beat.name] = beat
            if not beat.silent:
                written.append(beat.text.removeprefix(stem))
        messages = [p.message if not p.beat else f"{p.beat} {p.message}" for p in problems]
        messages += [f"{name}: {m}" for name, found in desk.problems.items() for m in found]
        if messages:
            raise DraftError(messages)
        desk.beats = tuple(answer)
        return {"decision": decision, "beats": beats}
