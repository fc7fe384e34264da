"""A run and the gate's verdict on a terminal."""

from __future__ import annotations

from evals.shared import report
from evals.stability.record import Figure, Stability
from evals.stability.verdict import Gate


def share(found: Figure | None) -> str:
    if found is None or found.value is None:
        return "undefined" if found is not None else ""
    if found.low is None or found.high is None:
        return f"{found.value:.1%}"
    return f"{found.value:.1%} ({100 * found.low:.1f}–{100 * found.high:.1f})"


def number(found: Figure | None) -> str:
    if found is None or found.value is None:
        return "undefined" if found is not None else ""
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"


def table(run: Stability) -> None:
    """The probes, the personas and the agreement, with 95% intervals."""
    rows = [["probe", "expects", "trials", "flips", "holds", "cells that never flip", "mean |Δ p_ship|", "largest"]]
    for probe in run.probes:
        found = next((f for f in run.figures.probes if (f.probe, f.persona) == (probe.name, "all")), None)
        if found is None:
            rows.append([probe.name, probe.expects, "0", probe.unavailable or "nothing to change in these cases"])
            continue
        largest = f"{found.largest:.3f}" if found.largest is not None else ""
        flips, never = share(found.flips), share(found.never)
        told = [probe.name, probe.expects, str(found.trials), flips, share(found.held), never, number(found.moved)]
        rows.append([*told, largest])
    rows += [[""], ["persona", "right", "Brier score", "alpha with itself", "own signal", "p", ""]]
    for who in run.figures.personas:
        mark = "decoration: adds nothing to the others" if who.decoration else ""
        p = f"{who.signal_p:.3f}" if who.signal_p is not None else ""
        told = [who.persona, share(who.right), number(who.brier), number(who.within), number(who.signal)]
        rows.append([*told, p, mark])
    agreement = run.figures.agreement
    details = [
        f"alpha between personas: {number(agreement.between)}; raw agreement {share(agreement.raw)}, "
        f"ships {share(agreement.prevalence)}",
        f"correlation of p_ship {number(agreement.correlation)}: four votes are worth "
        f"{number(agreement.effective_votes)}",
    ]
    report({}, rows, details, as_json=False)


def gate(said: Gate, *, as_json: bool) -> None:
    """The sentence first; below it what it rests on."""
    details = [f"{f.counts}: {f.sentence}" for f in said.findings if f.counts != "note"]
    details += [
        f"{c.tool}/{c.persona} {c.probe} {c.label}: {c.then} {c.p_then} → {c.now} {c.p_now}" for c in said.changes[:20]
    ]
    details += [f"note: {text}" for text in said.notes]
    report(said.model_dump(mode="json", by_alias=True), [[said.sentence]], details, as_json=as_json)
