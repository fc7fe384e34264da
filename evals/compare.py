"""Two runs cell by cell: which verdicts changed, and which figures are worse by more than chance would make them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evals.stability.figures import figure
from evals.stability.record import Cell, Probe, Stability, Subject, Trial, Who
from evals.stability.verdict import CellChange, Finding
from evals.statistics.paired import ALPHA, Difference, difference, holm, smallest_mean, smallest_share
from panel.records import PERSONA_SLUGS

#: What a figure may lose before anyone is told: a share of trials, a Brier score. Of verdicts right, none.
MARGIN = 0.01

# ------------------------------------------------------------------------------------------------- cell by cell


@dataclass(frozen=True)
class Pair:
    """What two runs have in common."""

    now: Stability
    then: Stability
    subjects: list[tuple[Subject, Subject]]
    cells: list[tuple[Cell, Cell]]
    probes: list[Probe]

    @classmethod
    def of(cls, now: Stability, then: Stability) -> Pair:
        known = {(s.tool, s.persona): s for s in then.subjects}
        was = {(c.tool, c.persona, c.probe): c for c in then.cells}
        names = {probe.name for probe in then.probes}
        return cls(
            now,
            then,
            [(s, known[s.tool, s.persona]) for s in now.subjects if (s.tool, s.persona) in known],
            [(c, was[c.tool, c.persona, c.probe]) for c in now.cells if (c.tool, c.persona, c.probe) in was],
            [probe for probe in now.probes if probe.name in names],
        )

    @property
    def tools(self) -> list[str]:
        return sorted({now.tool for now, _ in self.subjects})

    def trials(self) -> Iterator[tuple[Cell, Trial, Trial]]:
        for now, then in self.cells:
            for a, b in zip(now.trials, then.trials, strict=False):
                if a.label == b.label:
                    yield now, a, b

    def compared(self) -> int:
        return len(self.subjects) + sum(1 for _ in self.trials())

    def changes(self) -> Iterator[CellChange]:
        """Every verdict that is not what it was."""
        gold = {(s.tool, s.persona): s for s, _ in self.subjects}
        for now, then in self.subjects:
            if now.decision != then.decision:
                yield _change(now, now, then, "gold", "", pulls=_moved(now, then))
        for cell, a, b in self.trials():
            if a.decision != b.decision:
                yield _change(gold[cell.tool, cell.persona], a, b, cell.probe, a.label)


def _change(
    subject: Subject,
    now: Subject | Trial,
    then: Subject | Trial,
    probe: str,
    label: str,
    pulls: tuple[tuple[str, float, float], ...] = (),
) -> CellChange:
    right = "now" if now.decision == subject.gold else "then" if then.decision == subject.gold else "neither"
    return CellChange.model_validate(
        {
            "tool": subject.tool,
            "persona": subject.persona,
            "probe": probe,
            "label": label,
            "then": then.decision,
            "now": now.decision,
            "p_then": then.p_ship,
            "p_now": now.p_ship,
            "right": right if subject.gold is not None else "unknown",
            "pulls": pulls,
        }
    )


def _moved(now: Subject, then: Subject) -> tuple[tuple[str, float, float], ...]:
    """The three pieces whose pulls moved most."""
    both = [(id, then.pulls[id], pull) for id, pull in now.pulls.items() if id in then.pulls and then.pulls[id] != pull]
    return tuple(sorted(both, key=lambda row: -abs(row[2] - row[1]))[:3])


# ------------------------------------------------------------------------------------------------- the figures


@dataclass(frozen=True)
class _Measure:
    """A figure of one persona, or all: by tool this run less the baseline, negative for worse."""

    who: Who
    probe: str
    unit: str
    margin: float
    by_tool: list[float]
    lost: int
    gained: int


def figure_findings(pair: Pair) -> list[Finding]:
    measures = [m for m in _measures(pair) if any(m.by_tool)]
    found = [difference(m.by_tool) for m in measures]
    corrected = holm({str(n): one.p for n, one in enumerate(found)})
    findings = [
        _finding(m, one, corrected[str(n)], len(measures))
        for n, (m, one) in enumerate(zip(measures, found, strict=True))
    ]
    rank = {"regress": 0, "inconclusive": 1, "note": 2}
    # a persona before all of them: it says where to look
    return sorted(findings, key=lambda f: (rank[f.counts], f.persona == "all", f.p or 0.0, f.effect.value or 0.0))


def _measures(pair: Pair) -> Iterator[_Measure]:
    whos: list[Who] = [slug for slug in PERSONA_SLUGS if slug in pair.now.about.personas]
    for who in [*whos, "all"] if len(whos) > 1 else whos:
        own = [(a, b) for a, b in pair.subjects if who in ("all", a.persona) and a.gold is not None]
        yield _gold(who, own)
        yield _brier(who, own)
        for probe in pair.probes:
            if not probe.exact:
                yield _held(who, probe, [row for row in pair.trials() if row[0].probe == probe.name])


def _gold(who: Who, pairs: Sequence[tuple[Subject, Subject]]) -> _Measure:
    by_tool: dict[str, list[int]] = defaultdict(list)
    for now, then in pairs:
        by_tool[now.tool].append((now.decision == now.gold) - (then.decision == now.gold))
    moved = [d for own in by_tool.values() for d in own]
    means = [float(np.mean(by_tool[tool])) for tool in sorted(by_tool)]
    return _Measure(who, "gold", "share of verdicts right", 0.0, means, moved.count(-1), moved.count(1))


def _brier(who: Who, pairs: Sequence[tuple[Subject, Subject]]) -> _Measure:
    by_tool: dict[str, list[float]] = defaultdict(list)
    for now, then in pairs:
        if now.p_ship is not None and then.p_ship is not None:
            is_ship = now.gold == "ship"
            by_tool[now.tool].append((then.p_ship - is_ship) ** 2 - (now.p_ship - is_ship) ** 2)
    means = [round(float(np.mean(by_tool[tool])), 9) for tool in sorted(by_tool)]
    return _Measure(who, "brier", "Brier score, as a gain", MARGIN, means, 0, 0)


def _held(who: Who, probe: Probe, rows: Sequence[tuple[Cell, Trial, Trial]]) -> _Measure:
    by_tool: dict[str, list[int]] = defaultdict(list)
    for cell, now, then in rows:
        if who in ("all", cell.persona):
            by_tool[cell.tool].append(int(now.held) - int(then.held))
    moved = [d for own in by_tool.values() for d in own]
    means = [float(np.mean(by_tool[tool])) for tool in sorted(by_tool)]
    return _Measure(who, probe.name, "share of trials that hold", MARGIN, means, moved.count(-1), moved.count(1))


def _finding(measure: _Measure, found: Difference, p: float, tests: int) -> Finding:
    effect = found.mean.value
    worse = effect < 0 and -effect > measure.margin - 1e-12
    sure = p <= ALPHA
    spread = float(np.std(measure.by_tool, ddof=1)) if len(measure.by_tool) > 1 else math.nan
    if measure.probe == "gold" and measure.who != "all":
        smallest = smallest_share(found.tools, ALPHA / tests)
    else:
        smallest = smallest_mean(spread, found.tools, ALPHA / tests)
    finding = Finding(
        persona=measure.who,
        probe=measure.probe,
        what="less right" if measure.probe in ("gold", "brier") else "less stable",
        worse=effect < 0,
        exact=False,
        effect=figure(found.mean, found.tools),
        unit=measure.unit,
        lost=measure.lost,
        gained=measure.gained,
        p=round(p, 4),
        smallest=None if math.isnan(smallest) else round(smallest, 4),
        counts="regress" if worse and sure else "inconclusive" if worse else "note",
        sentence="",
    )
    return finding.model_copy(update={"sentence": _sentence(finding, found)})


def _sentence(finding: Finding, found: Difference) -> str:
    who = "the panel" if finding.persona == "all" else f"the {finding.persona}"
    verb = "is" if finding.worse else "is not"
    if finding.probe == "gold":
        said = f"{who} {verb} less right: {finding.lost} verdicts became wrong and {finding.gained} right"
    elif finding.probe == "brier":
        went, by = "rose" if finding.worse else "fell", abs(finding.effect.value or 0.0)
        said = f"{who} {verb} less right: the Brier score of p_ship {went} by {by:.3f}"
    else:
        said = f"{who} {verb} less stable: {finding.lost} trials no longer hold, {finding.gained} now do,"
    where = f"on {found.differing} of {found.tools} tools (probe {finding.probe}, p = {finding.p})"
    doubt = ""
    if finding.counts == "inconclusive":
        least = f"only {finding.smallest:.2f} or more would show" if finding.smallest else "no loss would show"
        doubt = f"; that may be chance, on {found.tools} tools {least}"
    return f"{said} {where}{doubt}."
