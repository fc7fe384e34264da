"""One check per persona × probe, with what came of it: what CI counts.

With a gate its findings decide. Without one only the promises do, which every run must keep whatever came before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from evals.promises import broken
from evals.report.names import COMPARED
from evals.stability import show
from evals.stability.record import PersonaFigures, Probe, ProbeFigures, Stability, Who
from evals.stability.verdict import Finding, Gate
from panel.records import PERSONA_SLUGS

Status = Literal["passed", "failed", "skipped", "error"]
#: What is compared with the baseline beside the probes.
AGAINST_GOLD = {"gold": "verdicts as written, against gold", "brier": "p_ship as written, against gold (Brier score)"}


@dataclass(frozen=True)
class Check:
    """`kind` is the gate's word for a failure (`regress`, `inconclusive`), or its outcome where nothing was compared;
    `told` are figures."""

    persona: Who
    probe: str
    status: Status
    kind: str = ""
    sentences: tuple[str, ...] = ()
    told: str = ""


def checks(run: Stability, gate: Gate | None) -> list[Check]:
    """In the order of the personas and of the probes; the panel as a whole comes last."""
    stopped = gate is not None and gate.outcome not in COMPARED
    failed = {} if stopped else _failures(run, gate)
    found: list[Check] = []
    if gate is not None and stopped:
        found.append(Check("all", "gate", "error", gate.outcome, (gate.sentence, *gate.notes)))
    whos: list[Who] = [slug for slug in PERSONA_SLUGS if slug in run.about.personas]
    for who in [*whos, "all"]:
        figures = {f.probe: f for f in run.figures.probes if f.persona == who}
        people = next((f for f in run.figures.personas if f.persona == who), None)
        names = [*AGAINST_GOLD, *(probe.name for probe in run.probes if probe.name in figures)]
        names += sorted({probe for persona, probe in failed if persona == who} - set(names))
        for name in names:
            told = _told(name, figures, people)
            if stopped:
                found.append(Check(who, name, "skipped", sentences=("nothing was compared",), told=told))
            elif (who, name) in failed:
                kind, sentences = failed[who, name]
                found.append(Check(who, name, "failed", kind, sentences, told))
            else:
                found.append(Check(who, name, "passed", told=told))
    found += [_absent(probe) for probe in run.probes if probe.unavailable]
    return found


def _failures(run: Stability, gate: Gate | None) -> dict[tuple[Who, str], tuple[str, tuple[str, ...]]]:
    """By persona and probe: the worst word, and the sentences."""
    rows = (
        _counted(gate.findings)
        if gate is not None
        else [(b.persona, b.probe, "regress", b.sentence) for b in broken(run)]
    )
    found: dict[tuple[Who, str], tuple[str, tuple[str, ...]]] = {}
    for persona, probe, kind, sentence in rows:
        worst, said = found.get((persona, probe), (kind, ()))
        found[persona, probe] = ("regress" if "regress" in (worst, kind) else kind, (*said, sentence))
    return found


def _counted(findings: tuple[Finding, ...]) -> Iterator[tuple[Who, str, str, str]]:
    return ((f.persona, f.probe, f.counts, f.sentence) for f in findings if f.counts != "note")


def _told(name: str, figures: dict[str, ProbeFigures], people: PersonaFigures | None) -> str:
    if name in figures:
        one = figures[name]
        return (
            f"holds {show.share(one.held)}, flips {show.share(one.flips)}, trials {one.trials}, unscored {one.unscored}"
        )
    if people is not None and name in AGAINST_GOLD:
        return f"right {show.share(people.right)}" if name == "gold" else f"Brier score {show.number(people.brier)}"
    return ""


def _absent(probe: Probe) -> Check:
    return Check("all", probe.name, "skipped", sentences=(probe.unavailable,))
