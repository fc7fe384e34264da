"""The run over the cases: every probe that was asked for, then the figures. The same answers give the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from evals.shared import note
from evals.stability.figures import figures
from evals.stability.ground import Ground, Progress, Subjects
from evals.stability.identity import about as identity
from evals.stability.identity import code_sha256
from evals.stability.live import LivePlan, live_plans
from evals.stability.missing import Lacking
from evals.stability.probes import Found, Plan, plans, unavailable
from evals.stability.record import About, Cell, Probe, Stability, Subject, Trial
from evals.statistics.flips import against_mode
from panel.errors import SetupError
from panel.gold import Case
from panel.prompts import Prompts
from panel.records import Persona, PersonaSlug
from panel.requests import Engine


def run_stability(
    engine: Engine,
    prompts: Prompts,
    personas: Sequence[Persona],
    cases: Sequence[Case],
    out: Path,
    *,
    seeds: int = 5,
    draws: int = 5,
    live: int = 0,
    only: Sequence[str] = (),
    against: Sequence[tuple[str, Engine]] = (),
    again: Callable[[str], Engine] | None = None,
    progress: Progress | None = None,
) -> Stability:
    """
    Args:
        out: where answers are kept; a stopped run goes on from there.
        seeds: how often everything is weighed, and reviewed, again.
        draws: orders and paddings per tool.
        live: how many of the cases are also reviewed as a whole, with agents and drafts.
        only: names of probes; all of them where none is named.
        again: the engine for a rerun, by its name; needed where `engine` keeps its answers.

    Raises:
        SetupError: there is no such probe, or there are no cases.
        EngineError: the engine failed.
        MissingRun: the engine is a replay, and lacks answers.
    """
    if not cases:
        raise SetupError("there are no cases", field="--cases", fix="name a tool of evals/cases")
    info = engine.info
    key = hashlib.sha256(json.dumps([asdict(info), code_sha256()]).encode()).hexdigest()[:16]
    ground = Ground(engine, prompts, personas, cases, out / key, again, progress or Progress(quiet=True))
    frozen = plans(engine, seeds=seeds, draws=draws, against=against)
    whole = live_plans(seeds) if live else []
    missing = unavailable([name for name, _ in against])
    known = [plan.probe.name for plan in frozen] + [plan.probe.name for plan in live_plans(seeds)]
    for name in only:
        if name not in known:
            raise SetupError(f"there is no probe {name!r}", field="--only", fix=f"choose from {', '.join(known)}")
    if only:
        frozen = [plan for plan in frozen if plan.probe.name in only]
        whole = [plan for plan in whole if plan.probe.name in only]
        missing = []
    made_with = identity(engine, prompts, personas, cases, {"seeds": str(seeds), "draws": str(draws)})
    lacking = Lacking()
    subjects: Subjects = {}
    with lacking.under("gold"):
        subjects = ground.subjects()
    _load(ground, frozen, lacking)
    live_cells = _live_cells(ground, whole, subjects, cases[:live], lacking) if subjects else []
    with lacking.under("examples"):
        more: dict[str, object] = {"examples": ground.examples(), "nothing": ground.nothing()}
    lacking.check(made_with)
    cells = _frozen_cells(ground, frozen, subjects) + live_cells
    probes = [*(plan.probe for plan in frozen), *(plan.probe for plan in whole), *missing]
    ordered = sorted(subjects.values(), key=lambda s: (s.tool, s.persona))
    return assemble(made_with, probes, ordered, cells, **more)


def assemble(
    about: About,
    probes: Sequence[Probe],
    subjects: Sequence[Subject],
    cells: Sequence[Cell],
    **more: object,
) -> Stability:
    """A record with its figures, in an order that does not depend on that of the cases; `more` are fields of it."""
    rank = {probe.name: n for n, probe in enumerate(probes)}
    sorted_cells = sorted(cells, key=lambda c: (rank[c.probe], c.tool, c.persona))
    found = figures(probes, subjects, sorted_cells)
    told = {"about": about, "probes": tuple(probes), "subjects": tuple(subjects), "cells": tuple(sorted_cells)}
    return Stability.model_validate({**told, **more, "figures": found})


def _load(ground: Ground, frozen: Sequence[Plan], lacking: Lacking) -> None:
    """Weigh whatever the probes need."""
    needs = []
    for plan in frozen:
        with lacking.under(plan.probe.name):
            needs += [(plan.probe.name, *need) for need in plan.needs(ground)]
    ground.progress.begin("weighing", sum(bank.missing(evidence) for _, bank, evidence in needs))
    for name, bank, evidence in needs:
        with lacking.under(name):
            bank.load(evidence)
    ground.progress.end()


def _frozen_cells(ground: Ground, frozen: Sequence[Plan], subjects: Subjects) -> list[Cell]:
    ground.progress.begin("probes", len(frozen))
    cells = []
    for plan in frozen:
        cells += _cells(plan.probe, plan.trials(ground, subjects))
        ground.progress.advance()
    ground.progress.end()
    return cells


def _live_cells(
    ground: Ground, whole: Sequence[LivePlan], subjects: Subjects, cases: Sequence[Case], lacking: Lacking
) -> list[Cell]:
    ground.progress.begin("reviews", sum(plan.reviews(cases, len(ground.personas)) for plan in whole))
    cells = []
    for plan in whole:
        with lacking.under(plan.probe.name):
            cells += _cells(plan.probe, plan.trials(ground, subjects, cases))
    ground.progress.end()
    return cells


def _cells(probe: Probe, trials: Iterable[Found]) -> list[Cell]:
    """Trials gathered by subject. A flip of a rerun is one from the cell's mode."""
    found: dict[tuple[str, PersonaSlug], list[Trial]] = defaultdict(list)
    for tool, persona, trial in trials:
        found[tool, persona].append(trial)
    cells = []
    for (tool, persona), own in found.items():
        if probe.family == "rerun":
            scored = [trial for trial in own if trial.decision != "unscored"]
            flips = dict(zip(map(id, scored), against_mode([t.decision for t in scored]), strict=True))
            own = [t.model_copy(update={"flip": flips.get(id(t), False)}) for t in own]
        cells.append(Cell(tool=tool, persona=persona, probe=probe.name, trials=tuple(own)))
    return cells


def to_json(run: Stability) -> str:
    """One line for each subject and cell, so that people can read the difference of two runs; no default is written."""
    data = {"schema": run.schema_, **run.model_dump(mode="json", by_alias=True, exclude_defaults=True)}
    lines = []
    for key, value in data.items():
        if isinstance(value, list):
            rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value)
            lines.append(f"{json.dumps(key)}: [\n{rows}\n]" if value else f"{json.dumps(key)}: []")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, indent=1)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def warn_uncalibrated(personas: Sequence[Persona], model: str, engine: str) -> None:
    if not all(persona.calibration.fitted for persona in personas):
        note(f"warning: {model} on {engine} is judged on the default calibration; see review-panel personas calibrate")
