"""A blessed run (`baseline/1`), and what the gate says of another one beside it (`gate/1`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evals.stability.record import Figure, Record, Stability, Verdict, Who

Outcome = Literal["pass", "regress", "inconclusive", "unreliable baseline", "not comparable", "missing answers"]
#: 2 is for set-up errors, as everywhere.
EXIT_CODES: dict[Outcome, int] = {
    "pass": 0,
    "regress": 1,
    "inconclusive": 3,
    "unreliable baseline": 4,
    "not comparable": 5,
    "missing answers": 6,
}


class Baseline(Record):
    """A run that somebody answers for. `sha256` goes over `run`: a file that was edited by hand is no baseline."""

    schema_: Literal["baseline/1"] = Field(default="baseline/1", alias="schema")
    who: str
    why: str
    when: str
    sha256: str
    run: Stability


class CellChange(Record):
    """A verdict of this run that is not that of the baseline.

    `label` is empty for a tool as it is written; `right` says which of the two gold agrees with; `pulls` are the pieces
    that moved most: id, then, now (nats).
    """

    tool: str
    persona: str
    probe: str
    label: str = ""
    then: Verdict
    now: Verdict
    p_then: float | None
    p_now: float | None
    right: Literal["then", "now", "neither", "unknown"] = "unknown"
    pulls: tuple[tuple[str, float, float], ...] = ()


class Finding(Record):
    """One comparison that came out worse, or better, for one persona under one probe.

    `probe` may also be `gold`, `brier` or the name of a promise that every run keeps. `effect` is this run less the
    baseline, in `unit`, over tools, negative for worse; `p` is Holm-corrected, and null for an `exact` promise.
    `smallest` is the smallest effect that would have been found four times in five.
    """

    persona: Who
    probe: str
    what: str
    worse: bool
    exact: bool
    effect: Figure
    unit: str
    lost: int = 0
    gained: int = 0
    p: float | None = None
    smallest: float | None = None
    counts: Literal["regress", "inconclusive", "note"] = "note"
    sentence: str


class Gate(Record):
    """What the gate says: one outcome, one sentence for a tired person, and what it rests on."""

    schema_: Literal["gate/1"] = Field(default="gate/1", alias="schema")
    outcome: Outcome
    exit_code: int
    sentence: str
    findings: tuple[Finding, ...] = ()
    changes: tuple[CellChange, ...] = ()
    compared: int = 0
    identical: int = 0
    smallest: dict[str, float] = {}
    notes: tuple[str, ...] = ()
