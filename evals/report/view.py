"""What the page prints: a run, and what the gate says of it, turned into words, rows and points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evals.report.differences import persona_changes, settings
from evals.report.names import COMPARED, FAMILIES, persona_name, plural, signed
from evals.report.plots import LEFT, SIZE, TOP, curve, scatters
from evals.report.strips import LONG, present, rows
from evals.stability import show
from evals.stability.record import Agreement, Family, Figure, Probe, ProbeFigures, Stability
from evals.stability.verdict import Baseline, Finding, Gate
from panel.records import PERSONA_SLUGS


@dataclass(frozen=True)
class Bar:
    """An interval on a track of 100 units: where it starts, how wide it is, where the value stands."""

    low: str
    width: str
    value: str


@dataclass(frozen=True)
class ProbeRow:
    """`figure` is the row's one number that matters: the share of trials that hold; `was` the baseline's."""

    probe: Probe
    trials: str
    flips: str
    holds: str
    was: str
    bar: Bar | None
    never: str
    moved: str
    largest: str
    more: tuple[tuple[str, str], ...]
    by_persona: tuple[tuple[str, str, str], ...]  # persona, share that holds, "" or "weak"


@dataclass(frozen=True)
class FindingRow:
    persona: str
    finding: Finding
    effect: str
    p: str
    smallest: str


def view(run: Stability, gate: Gate | None = None, baseline: Baseline | None = None) -> dict[str, Any]:
    """The values of the page's template."""
    then = baseline.run if baseline is not None else None
    changes = gate.changes if gate is not None else ()
    # beside a run that cannot be compared its verdicts say nothing
    other = then if gate is not None and gate.outcome in COMPARED else None
    cells = rows(run, other, changes)
    flat = [row for _, own in cells for row in own]
    return {
        "run": run,
        "gate": gate,
        "baseline": baseline,
        "outcome": gate.outcome if gate is not None else "run",
        "headline": _headline(run, gate),
        "summary": _summary(run),
        "stats": _stats(run, gate),
        "findings": [_finding(f) for f in gate.findings] if gate is not None else [],
        "notes": gate.notes if gate is not None else (),
        "smallest": sorted(gate.smallest.items()) if gate is not None else [],
        "compared": other is not None,
        "differences": persona_changes(run, then, changes) if then is not None else [],
        "probes": _probe_rows(run, other),
        "whos": [slug for slug in PERSONA_SLUGS if slug in run.about.personas],
        "people": run.figures.personas,
        "agreement": _agreement(run.figures.agreement),
        "curves": [curve(figures) for figures in run.figures.personas],
        "scatters": scatters(run, other),
        "cells": cells,
        "present": present(run),
        "counts": {
            "all": len(flat),
            "flipped": sum(row.flipped for row in flat),
            "failed": sum(row.failed for row in flat),
            "wrong": sum(row.wrong for row in flat),
        },
        "settings": settings(run, then),
        "families": FAMILIES,
        "name": persona_name,
        "share": show.share,
        "number": show.number,
        "plural": plural,
        "long": LONG,
        "square": {"left": LEFT, "top": TOP, "size": SIZE},
    }


def _headline(run: Stability, gate: Gate | None) -> str:
    """The gate's sentence, less the outcome that it starts with; without a gate what the run found."""
    if gate is None:
        return _summary(run)
    said = gate.sentence
    for mark in (":", "."):
        said = said.removeprefix(f"{gate.outcome.capitalize()}{mark}").strip()
    return said[:1].upper() + said[1:]


def _summary(run: Stability) -> str:
    """Plain counts over all probes."""
    expects = {probe.name: probe.expects for probe in run.probes}
    trials = [(expects[c.probe], t) for c in run.cells for t in c.trials if t.decision != "unscored"]
    same = [trial for expected, trial in trials if expected == "same"]
    must = [trial for expected, trial in trials if expected != "same"]
    unscored = sum(t.decision == "unscored" for c in run.cells for t in c.trials)
    said = []
    if same:
        flipped = sum(trial.flip for trial in same)
        said.append(f"{flipped:,} of {plural(len(same), 'change')} that should change nothing turned a verdict")
    if must:
        said.append(f"{sum(t.held for t in must):,} of {len(must):,} that must count did")
    if unscored:
        said.append(f"{plural(unscored, 'trial')} unscored")
    return "; ".join(said) + "." if said else "No probe was run."


def _stats(run: Stability, gate: Gate | None) -> list[tuple[str, str, str]]:
    """What stands in large figures: (label, figure, note)."""
    people = {figures.persona: figures for figures in run.figures.personas}
    found = []
    if gate is not None and gate.compared:
        note = f"of {gate.compared:,} verdicts compared"
        found.append(("Not as in the baseline", f"{len(gate.changes):,}", note))
    expects = {probe.name: probe.expects for probe in run.probes}
    scored = [(expects[c.probe], t) for c in run.cells for t in c.trials if t.decision != "unscored"]
    same = [t for expected, t in scored if expected == "same"]
    must = [t for expected, t in scored if expected != "same"]
    if same:
        flipped = sum(t.flip for t in same)
        found.append(
            (
                "Flips",
                _percent(flipped, len(same)),
                f"{flipped:,} of {len(same):,} changes that should not turn a verdict",
            )
        )
    if must:
        held = sum(t.held for t in must)
        found.append(("Directional", _percent(held, len(must)), f"{held:,} of {len(must):,} facts that must count did"))
    if (panel := people.get("all")) is not None and panel.right.value is not None:
        found.append(("Right", f"{panel.right.value:.1%}", _interval(panel.right)))
    votes = run.figures.agreement.effective_votes
    if votes.value is not None:
        found.append(("Independent votes", f"{votes.value:.1f}", f"of {len(run.about.personas)} personas"))
    return found


def _percent(part: int, whole: int) -> str:
    """Never 0.0% for something, nor 100.0% for less than all of it."""
    value = 100 * part / whole
    if part and value < 0.05:
        return "<0.1%"
    return ">99.9%" if part < whole and value >= 99.95 else f"{value:.1f}%"


def _interval(found: Figure) -> str:
    if found.low is None or found.high is None:
        return f"against gold, {found.n} verdicts"
    return f"against gold; 95% interval {100 * found.low:.1f}–{100 * found.high:.1f}"


def _finding(found: Finding) -> FindingRow:
    return FindingRow(
        persona=persona_name(found.persona),
        finding=found,
        effect=signed(found.effect),
        p="a promise" if found.exact else f"{found.p:.4f}" if found.p is not None else "—",
        smallest=f"{found.smallest:.3f}" if found.smallest else "—",
    )


def _probe_rows(run: Stability, then: Stability | None) -> list[tuple[Family, list[ProbeRow]]]:
    figures = {(f.probe, f.persona): f for f in run.figures.probes}
    before = {(f.probe, f.persona): f for f in then.figures.probes} if then is not None else {}
    found = []
    for family in FAMILIES:
        own = [probe for probe in run.probes if probe.family == family]
        if own:
            found.append((family, [_probe_row(p, figures, before) for p in own]))
    return found


def _probe_row(
    probe: Probe,
    figures: dict[tuple[str, Any], ProbeFigures],
    before: dict[tuple[str, Any], ProbeFigures],
) -> ProbeRow:
    one, was = figures.get((probe.name, "all")), before.get((probe.name, "all"))
    if one is None:
        return ProbeRow(probe, "0", "", "", "", None, "", "", "", (), ())
    by_persona = []
    for slug in PERSONA_SLUGS:
        own = figures.get((probe.name, slug))
        value = own.held.value if own is not None else None
        weak = "weak" if value is not None and value < 1 and (probe.exact or value < 0.97) else ""
        said = (
            _percent(round(value * own.held.n), own.held.n)
            if own is not None and value is not None and own.held.n
            else ""
        )
        by_persona.append((slug, said, weak))
    more = [
        ("entropy", f"{one.entropy:.3f} bits" if one.entropy is not None else ""),
        ("mean shift", show.number(one.shift)),
        ("per 100 words more", show.number(one.slope)),
        ("same in both orders", show.share(one.consistency)),
        ("bias toward ship", f"{one.bias:+.3f}".replace("-", "−") if one.bias is not None else ""),
        ("exact McNemar p", f"{one.mcnemar:.3f}" if one.mcnemar is not None else ""),
        ("unscored", f"{one.unscored:,}" if one.unscored else ""),
    ]
    return ProbeRow(
        probe=probe,
        trials=f"{one.trials:,}",
        flips=show.share(one.flips),
        holds=show.share(one.held),
        was=show.share(was.held) if was is not None and was.held != one.held else "",
        bar=_bar(one.held),
        never=show.share(one.never),
        moved=show.number(one.moved),
        largest=f"{one.largest:.3f}" if one.largest is not None else "",
        more=tuple((what, said) for what, said in more if said),
        by_persona=tuple(by_persona),
    )


def _bar(found: Figure) -> Bar | None:
    if found.value is None:
        return None
    low, high = (found.value if end is None else end for end in (found.low, found.high))
    return Bar(f"{100 * low:.1f}", f"{100 * (high - low):.1f}", f"{100 * found.value:.1f}")


def _agreement(found: Agreement) -> Sequence[tuple[str, str]]:
    def why(text: str, figure: Figure) -> str:
        return f"{text}: {figure.undefined}" if figure.value is None and figure.undefined else text

    return (
        ("Krippendorff’s alpha between personas", why(show.number(found.between), found.between)),
        ("Raw agreement", why(show.share(found.raw), found.raw)),
        ("Share of ships", why(show.share(found.prevalence), found.prevalence)),
        ("Correlation of p_ship", why(show.number(found.correlation), found.correlation)),
        ("What four votes are worth", why(show.number(found.effective_votes), found.effective_votes)),
    )
