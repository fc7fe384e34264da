"""From answers to figures: what `evals.statistics` says of the cells of a run."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from evals.intervals import Estimate, clustered_share
from evals.stability.record import (
    Agreement,
    Bin,
    Cell,
    Confusion,
    Figure,
    Figures,
    PersonaFigures,
    Probe,
    ProbeFigures,
    Subject,
    Trial,
    Who,
)
from evals.statistics import agreement, flips, gold
from panel.records import PERSONA_SLUGS, PersonaSlug

#: From here on a persona's own signal counts as noise.
DECORATION = 0.05
_DIGITS = 4


def figure(estimate: Estimate, n: int, undefined: str = "there is nothing to measure") -> Figure:
    """`estimate` in a record, rounded; where it has no value it says why."""
    if math.isnan(estimate.value):
        return Figure(value=None, n=n, undefined=undefined)
    low, high = (None if math.isnan(end) else _rounded(end) for end in (estimate.low, estimate.high))
    return Figure(value=_rounded(estimate.value), low=low, high=high, n=n)


def _rounded(value: float) -> float:
    return round(value, _DIGITS) + 0.0


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else _rounded(value)


def figures(probes: Sequence[Probe], subjects: Sequence[Subject], cells: Sequence[Cell]) -> Figures:
    by_subject = {(s.tool, s.persona): s for s in subjects}
    by_probe: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_probe[cell.probe].append(cell)
    personas = [slug for slug in PERSONA_SLUGS if any(s.persona == slug for s in subjects)]
    whos: list[Who] = ["all", *personas]
    rows = []
    for probe in probes:
        for who in whos:
            own = [cell for cell in by_probe[probe.name] if who in ("all", cell.persona)]
            if own:
                rows.append(_probe_figures(probe, who, own, by_subject))
    people = tuple(_persona_figures(who, subjects, probes, by_probe) for who in whos)
    return Figures(probes=tuple(rows), personas=people, agreement=_agreement(subjects))


# ------------------------------------------------------------------------------------------------------ probes


def _probe_figures(
    probe: Probe, who: Who, cells: Sequence[Cell], subjects: Mapping[tuple[str, PersonaSlug], Subject]
) -> ProbeFigures:
    tools = _by_tool(cells)
    scored = [[[t for t in cell.trials if t.p_ship is not None] for cell in tool] for tool in tools]
    rate = flips.flip_rate(
        [[[t.flip for t in trials] for trials in tool] for tool in scored],
        [[t.decision for t in trials] for tool in scored for trials in tool],
    )
    pairs = [
        [(*_before(cell, trial, subjects), trial) for cell in tool for trial in cell.trials if trial.p_ship is not None]
        for tool in tools
    ]
    known = [[(was, p, t) for was, p, t in tool if p is not None] for tool in pairs]
    shifts = [[(t.p_ship or 0.0) - p for _, p, t in tool] for tool in known]
    n = len(tools)
    total = sum(len(cell.trials) for cell in cells)
    count = sum(map(len, known))
    held = clustered_share([sum(t.held for *_, t in tool) for tool in pairs], [len(tool) for tool in pairs])
    lengths = [
        [(t.words / 100, moved) for (*_, t), moved in zip(a, b, strict=True)]
        for a, b in zip(known, shifts, strict=True)
    ]
    swap = flips.swap([[(was == "ship", t.decision == "ship") for was, _, t in tool] for tool in known])
    ordered = probe.family == "order"
    return ProbeFigures(
        probe=probe.name,
        persona=who,
        tools=n,
        cells=len(cells),
        trials=total,
        unscored=total - sum(map(len, pairs)),
        flips=figure(rate.rate, count),
        held=figure(held, count),
        never=figure(rate.never, len(cells)),
        entropy=_plain(rate.entropy),
        shift=figure(flips.shift(shifts), n),
        moved=figure(flips.shift([[abs(d) for d in tool] for tool in shifts]), n),
        largest=_plain(max((abs(d) for tool in shifts for d in tool), default=math.nan)),
        slope=figure(flips.slope(lengths), n, "the length never changes") if probe.family == "content" else None,
        consistency=figure(swap.consistency, count) if ordered else None,
        bias=_plain(swap.bias) if ordered else None,
        mcnemar=_plain(swap.p) if ordered else None,
    )


def _before(cell: Cell, trial: Trial, subjects: Mapping[tuple[str, PersonaSlug], Subject]) -> tuple[str, float | None]:
    """What a trial is held against."""
    if trial.before is not None:
        return trial.before, trial.p_before
    subject = subjects[cell.tool, cell.persona]
    return subject.decision, subject.p_ship


def _by_tool(cells: Iterable[Cell]) -> list[list[Cell]]:
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        found[cell.tool].append(cell)
    return [found[tool] for tool in sorted(found)]


# ---------------------------------------------------------------------------------------------------- personas


def _persona_figures(
    who: Who, subjects: Sequence[Subject], probes: Sequence[Probe], by_probe: Mapping[str, Sequence[Cell]]
) -> PersonaFigures:
    own = [s for s in subjects if who in ("all", s.persona)]
    tools: dict[str, list[Subject]] = defaultdict(list)
    for s in own:
        if s.gold is not None and s.p_ship is not None:
            tools[s.tool].append(s)
    grouped = [tools[tool] for tool in sorted(tools)]
    said = [[(s.decision == "ship", s.gold == "ship") for s in tool] for tool in grouped]
    sure = [[(s.p_ship or 0.0, s.gold == "ship") for s in tool] for tool in grouped]
    n = sum(map(len, grouped))
    table = gold.confusion([pair for tool in said for pair in tool])
    confusion = Confusion(
        ship_ship=table[True, True],
        ship_skip=table[True, False],
        skip_ship=table[False, True],
        skip_skip=table[False, False],
        unscored=sum(s.p_ship is None for s in own),
    )
    curve = tuple(
        Bin(low=s.low, high=s.high, n=s.n, p_ship=_plain(s.p_ship), ships=figure(s.ships, s.n, "no verdict here"))
        for s in gold.calibration_curve(sure)
    )
    told: dict[str, object] = {}
    if who != "all":
        signal = _signal(who, subjects, by_probe)
        told["within"] = _within(own, probes, by_probe)
        why = "it takes three tools with rewordings, and two personas"
        told["signal"] = figure(Estimate(signal.ratio, math.nan, math.nan), len(grouped), why)
        told["signal_p"] = _plain(signal.p)
        told["decoration"] = None if math.isnan(signal.p) else signal.p > DECORATION
    return PersonaFigures.model_validate(
        {
            "persona": who,
            "right": figure(gold.right(said), n, "no gold"),
            "brier": figure(gold.brier(sure), n, "no gold"),
            "confusion": confusion,
            "curve": curve,
            **told,
        }
    )


def _within(own: Sequence[Subject], probes: Sequence[Probe], by_probe: Mapping[str, Sequence[Cell]]) -> Figure:
    """Does a persona agree with itself, over the tool as written and every change that should not count?"""
    content = [probe.name for probe in probes if probe.family == "content"]
    units = []
    for subject in own:
        said = [subject.decision]
        for name in content:
            for cell in by_probe[name]:
                if (cell.tool, cell.persona) == (subject.tool, subject.persona):
                    said += [t.decision for t in cell.trials if t.before is None]
        units.append([decision == "ship" for decision in said if decision != "unscored"])
    return figure(agreement.alpha(units), len(units), "one category only: it always says the same")


def _signal(who: Who, subjects: Sequence[Subject], by_probe: Mapping[str, Sequence[Cell]]) -> agreement.Signal:
    """What `who` says of the tools as written and reworded, beside what the others say of the same wordings."""
    rows: dict[str, dict[str, list[float]]] = defaultdict(dict)
    plain = {(s.tool, s.persona): s.p_ship for s in subjects}
    for cell in by_probe["rewording"]:
        said = [plain[cell.tool, cell.persona], *(trial.p_ship for trial in cell.trials)]
        rows[cell.tool][cell.persona] = [p for p in said if p is not None]
    personas = [slug for slug in PERSONA_SLUGS if slug != who and any(slug in row for row in rows.values())]
    lengths = {len(said) for row in rows.values() for said in row.values()}
    whole = [row for _, row in sorted(rows.items()) if {who, *personas} <= row.keys()]
    if not personas or len(whole) < 3 or len(lengths) != 1:
        return agreement.Signal(math.nan, math.nan)
    own = np.array([row[who] for row in whole])
    others = np.array([[row[slug] for slug in personas] for row in whole]).transpose(0, 2, 1)
    return agreement.own_signal(own, others)


# --------------------------------------------------------------------------------------------------- agreement


def _agreement(subjects: Sequence[Subject]) -> Agreement:
    tools: dict[str, dict[str, Subject]] = defaultdict(dict)
    for subject in subjects:
        if subject.p_ship is not None:
            tools[subject.tool][subject.persona] = subject
    rows = [tools[tool] for tool in sorted(tools)]
    units = [[s.decision == "ship" for _, s in sorted(row.items())] for row in rows]
    personas = sorted(set(itertools.chain.from_iterable(rows)))
    whole = [row for row in rows if len(row) == len(personas)]
    table = np.array([[row[slug].p_ship or 0.0 for slug in personas] for row in whole], dtype=float)
    few = "it takes four tools, and personas that do not always say the same"
    unknown = Estimate(math.nan, math.nan, math.nan)
    rho = agreement.correlation(table) if len(personas) > 1 and len(whole) else unknown
    n = len(rows)
    ships = clustered_share([sum(unit) for unit in units], [len(unit) for unit in units])
    return Agreement(
        between=figure(agreement.alpha(units), n, "one category only, or one persona"),
        raw=figure(agreement.raw_agreement(units), n, "one persona only"),
        prevalence=figure(ships, sum(map(len, units))),
        correlation=figure(rho, n, few),
        effective_votes=figure(agreement.effective_votes(len(personas), rho), n, few),
    )
