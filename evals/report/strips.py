"""The cells as rows: one persona on one tool, and a strip ✓✓✗✓✓ for each probe, by family."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evals.report.names import FAMILIES, moved, probability
from evals.stability.record import Cell, Edit, Family, Probe, Stability, Subject, Trial
from evals.stability.verdict import CellChange
from panel.records import PERSONA_SLUGS

#: A longer run of ✓ is written with its length.
LONG = 6
_EDITS, _TEXT = 2, 140
_EXPECTS = {"same": "should not change", "lower": "p_ship should fall", "higher": "p_ship should rise"}


@dataclass(frozen=True)
class Run:
    """`count` trials of one kind in a row; `told` says what came of a single one that is not ✓."""

    kind: Literal["held", "failed", "unscored"]
    count: int = 1
    told: str = ""
    edits: tuple[Edit, ...] = ()
    left: int = 0  # edits that are not shown
    new: bool = False  # the baseline held here


@dataclass(frozen=True)
class Strip:
    probe: str
    told: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Row:
    """`was` is the baseline's verdict where that was another one."""

    tool: str
    persona: str
    decision: str
    p_ship: str
    gold: str
    was: str
    groups: tuple[tuple[Family, tuple[Strip, ...]], ...]
    flipped: bool
    failed: bool
    wrong: bool

    @property
    def flags(self) -> str:
        told = {"flipped": self.flipped, "failed": self.failed, "wrong": self.wrong}
        return " ".join(name for name, is_so in told.items() if is_so)


def present(run: Stability) -> list[Family]:
    """The families of which the run has cells, in the order of the page."""
    names = {cell.probe for cell in run.cells}
    have = {probe.family for probe in run.probes if probe.name in names}
    return [family for family in FAMILIES if family in have]


def rows(
    run: Stability, then: Stability | None = None, changes: Sequence[CellChange] = ()
) -> list[tuple[str, tuple[Row, ...]]]:
    """By tool. A cell has flipped where a verdict changed that should not have, or is not the baseline's."""
    cells: dict[tuple[str, str], dict[str, Cell]] = defaultdict(dict)
    for cell in run.cells:
        cells[cell.tool, cell.persona][cell.probe] = cell
    before: dict[tuple[str, str, str], Cell] = {}
    if then is not None:
        before |= {(c.tool, c.persona, c.probe): c for c in then.cells}
    changed = {(change.tool, change.persona) for change in changes}
    was = {(c.tool, c.persona): f"{c.then} {probability(c.p_then)}" for c in changes if c.probe == "gold"}
    rank = {slug: n for n, slug in enumerate(PERSONA_SLUGS)}
    found = []
    for tool, subjects in itertools.groupby(sorted(run.subjects, key=lambda s: s.tool), key=lambda s: s.tool):
        own = sorted(subjects, key=lambda s: rank[s.persona])
        found.append((tool, tuple(_row(run, s, cells[tool, s.persona], before, changed, was) for s in own)))
    return found


def _row(
    run: Stability,
    subject: Subject,
    cells: Mapping[str, Cell],
    before: Mapping[tuple[str, str, str], Cell],
    changed: set[tuple[str, str]],
    was: Mapping[tuple[str, str], str],
) -> Row:
    key = subject.tool, subject.persona
    groups = []
    for family in present(run):
        own = [(probe, cells[probe.name]) for probe in run.probes if probe.family == family and probe.name in cells]
        groups.append((family, tuple(_strip(p, cell, subject, before.get((*key, p.name))) for p, cell in own)))
    expects = {probe.name: probe.expects for probe in run.probes}
    trials = [(expects[name], trial) for name, cell in cells.items() for trial in cell.trials]
    return Row(
        tool=subject.tool,
        persona=subject.persona,
        decision=subject.decision,
        p_ship=probability(subject.p_ship),
        gold=subject.gold or "",
        was=was.get(key, ""),
        groups=tuple(groups),
        flipped=key in changed or any(trial.flip for expected, trial in trials if expected == "same"),
        failed=any(not trial.held for _, trial in trials),
        wrong=subject.gold is not None and subject.decision != subject.gold,
    )


def _strip(probe: Probe, cell: Cell, subject: Subject, before: Cell | None) -> Strip:
    held_before = {trial.label: trial.held for trial in before.trials} if before else {}
    held = sum(trial.held for trial in cell.trials)
    told = f"{probe.name}: {held} of {len(cell.trials)} hold"
    return Strip(probe.name, told, tuple(_runs(probe, cell.trials, subject, held_before)))


def _runs(probe: Probe, trials: Sequence[Trial], subject: Subject, held_before: Mapping[str, bool]) -> Iterator[Run]:
    for held, own in itertools.groupby(trials, key=lambda trial: trial.held and trial.decision != "unscored"):
        if held:
            yield Run("held", count=len(list(own)))
            continue
        for trial in own:
            kind: Literal["failed", "unscored"] = "unscored" if trial.decision == "unscored" else "failed"
            new = held_before.get(trial.label, False)
            told = f"{probe.name}, {trial.label}: {_told(probe, trial, subject)}"
            edits = tuple(_short(edit) for edit in trial.edits[:_EDITS])
            yield Run(kind, told=told, edits=edits, left=max(0, len(trial.edits) - _EDITS), new=new)


def _told(probe: Probe, trial: Trial, subject: Subject) -> str:
    was, p_was = (subject.decision, subject.p_ship) if trial.before is None else (trial.before, trial.p_before)
    if trial.decision == "unscored":
        said = f"{was} → unscored"
    else:
        p_then, p_now = moved(p_was, trial.p_ship)
        said = f"{was} {p_then} → {trial.decision} {p_now}"
    reason = f"; {trial.reason}" if trial.reason else ""
    return f"{said}, {_EXPECTS[probe.expects]}{reason}"


def _short(edit: Edit) -> Edit:
    def cut(text: str) -> str:
        return text if len(text) <= _TEXT else f"{text[:_TEXT].rstrip()}…"

    return edit.model_copy(update={"before": cut(edit.before), "after": cut(edit.after)})
