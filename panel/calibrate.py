"""Calibrations: the few numbers that turn a persona's pulls into a probability, for one model on one engine.

They stand in `personas/calibrations.yaml`, keyed by what the pulls depend on: the model with its adapter, the engine,
and the prompt and lens that a persona weighs with (not its stems or its voice).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

from panel.decide import CEILING, EDGE, LIMIT, SAME_FACT, balance
from panel.errors import SetupError
from panel.files import write_atomic
from panel.gold import Case
from panel.inputs import parse, read_text
from panel.records import Calibration, Persona, PersonaSlug, Pull
from panel.requests import EngineInfo

FILE = "calibrations.yaml"
#: Half-width of the dead band in nats, chosen on dev with `EDGE`, `LIMIT` and `PENALTY_C` (see evals/LOG.md).
DEADBAND = 0.2
#: Inverse strength of the L2 penalty on the standardised sums (scikit-learn's C).
PENALTY_C = 1.0


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Record):
    """One calibration and what it is for."""

    key: str
    persona: PersonaSlug
    model: str
    engine: str
    cases: int
    calibration: Calibration


class Calibrations(_Record):
    """The file `calibrations.yaml`."""

    schema_: str = Field(alias="schema", pattern="^calibrations/1$")
    entries: tuple[Entry, ...] = ()


def calibration_key(persona: Persona, info: EngineInfo, weighing: str) -> str:
    """16 hexadecimal digits over all that a persona's pulls, and what is made of them, depend on.

    Args:
        weighing: the prompt that the persona weighs with, and the version of the code that asks.
    """
    about = {
        "model": info.model_sha256,
        "adapter": info.adapter_sha256,
        "engine": info.engine,
        "weighing": weighing,
        "deciding": [EDGE, LIMIT, CEILING, SAME_FACT],
        "lens": {kind: float(weight) for kind, weight in sorted(persona.lens.items())},
    }
    return hashlib.sha256(json.dumps(about, ensure_ascii=False).encode()).hexdigest()[:16]


def load_calibrations(folder: Path) -> Calibrations:
    """The calibrations beside the persona files of `folder`; none where there is no such file.

    Raises:
        SetupError: the file is wrong; names the line, the field and the fix.
    """
    path = folder / FILE
    if not path.exists():
        return Calibrations(schema="calibrations/1")
    return parse(Calibrations, read_text(path, "calibrations"), path)


def calibrated(
    personas: Sequence[Persona], info: EngineInfo, known: Calibrations, weighing: Callable[[Persona], str]
) -> list[Persona]:
    """The personas, each with its calibration for this model on this engine, or with the default one."""
    by_key = {entry.key: entry.calibration for entry in known.entries}
    return [
        persona.model_copy(
            update={"calibration": by_key.get(calibration_key(persona, info, weighing(persona)), Calibration())}
        )
        for persona in personas
    ]


def fit(persona: Persona, cases: Sequence[Case], pulls: Sequence[Sequence[Pull]]) -> Calibration:
    """A calibration from cases with gold.

    The zero is the mean pull of the facts that gold calls without bearing. Then a logistic regression with an L2
    penalty (scikit-learn) on the sums that `decide` makes; both classes weigh the same, so it says nothing about how
    many tools are good.

    Args:
        pulls: for each case what `weigh` says without a calibration.

    Raises:
        SetupError: scikit-learn is missing, or the cases have one verdict only.
    """
    slug = persona.slug
    ships = [case.gold.verdicts[slug] == "ship" for case in cases]
    if len(set(ships)) < 2:
        raise SetupError(
            f"{slug} has the same verdict in all {len(cases)} cases", fix="give cases with both verdicts to --cases"
        )
    neutral = neutral_of(slug, cases, pulls)
    rows = [
        balance(persona, case.dossier.evidence, moved(row, neutral), DEADBAND)
        for case, row in zip(cases, pulls, strict=True)
    ]
    return fit_sums(rows, ships, neutral)


def neutral_of(slug: PersonaSlug, cases: Sequence[Case], pulls: Sequence[Sequence[Pull]]) -> float:
    """The mean pull (nats, 3 decimals) of the facts that gold calls without bearing for the persona; 0 of none."""
    idle = [
        pull.log_odds
        for case, row in zip(cases, pulls, strict=True)
        for pull in row
        if pull.weighed and case.gold.pulls.get(pull.evidence, {}).get(slug) == 0
    ]
    return round(math.fsum(idle) / len(idle), 3) if idle else 0.0


def moved(row: Sequence[Pull], neutral: float) -> list[Pull]:
    """Pulls with `neutral` as their zero."""
    return [p.model_copy(update={"log_odds": p.log_odds - neutral if p.weighed else 0.0}) for p in row]


def fit_sums(rows: Sequence[tuple[float, float]], ships: Sequence[bool], neutral: float) -> Calibration:
    """A calibration from the sums toward ship and toward skip (nats) of tools of both verdicts; see `fit`.

    Raises:
        SetupError: scikit-learn is missing.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with it
    except ImportError as error:
        raise SetupError("fitting needs scikit-learn", fix="pip install 'review-panel[evals]'") from error
    import numpy as np

    sums = np.array([[toward, -against] for toward, against in rows])
    spread = np.maximum(sums.std(axis=0), 1e-6)
    with threadpool_limits(1):  # two columns gain nothing by threads, and lose much on a busy machine
        model = LogisticRegression(C=PENALTY_C, class_weight="balanced").fit(sums / spread, ships)
        weights = model.coef_[0] / spread
        if (weights <= 0).any():  # too few cases to tell the two apart: one weight for both
            joint = sums.sum(axis=1, keepdims=True)
            width = max(float(joint.std()), 1e-6)
            model = LogisticRegression(C=PENALTY_C, class_weight="balanced").fit(joint / width, ships)
            weights = np.full(2, max(float(model.coef_[0][0]) / width, 1e-3))
    return Calibration(
        fitted=True,
        neutral=neutral,
        deadband=DEADBAND,
        intercept=round(float(model.intercept_[0]), 3),
        strengths=max(round(float(weights[0]), 3), 0.001),
        weaknesses=max(round(float(weights[1]), 3), 0.001),
    )


def save(folder: Path, entries: Sequence[Entry]) -> Path:
    """Write `entries` into the folder's file, in the place of those with the same key. Raises `SetupError`."""
    fresh = {entry.key for entry in entries}
    kept = [entry for entry in load_calibrations(folder).entries if entry.key not in fresh]
    ordered = sorted([*kept, *entries], key=lambda e: (e.engine, e.model, e.persona, e.key))
    lines = [
        "# p_ship = sigmoid(intercept + strengths · S − weaknesses · W), S and W in nats beyond the dead band.",
        "# Written by: review-panel personas calibrate",
        "schema: calibrations/1",
        "entries:",
        *(
            f"  - {yaml.safe_dump(e.model_dump(), default_flow_style=True, sort_keys=False, width=1000).strip()}"
            for e in ordered
        ),
    ]
    path = folder / FILE
    write_atomic(path, "\n".join(lines) + "\n")
    return path
