"""Verdicts against gold: how right, how sure, and in which direction wrong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.intervals import Estimate, clustered_mean, clustered_share

BINS = 5


def right(tools: Sequence[Sequence[tuple[bool, bool]]]) -> Estimate:
    """Share of verdicts that gold agrees with; by tool, (said ship, is ship)."""
    return clustered_share([sum(said == is_ for said, is_ in tool) for tool in tools], [len(tool) for tool in tools])


def brier(tools: Sequence[Sequence[tuple[float, bool]]]) -> Estimate:
    """Mean squared error of p_ship (Brier 1950); by tool, (p_ship, is ship)."""
    return clustered_mean(
        [math.fsum((p - ship) ** 2 for p, ship in tool) for tool in tools], [len(tool) for tool in tools]
    )


def confusion(verdicts: Sequence[tuple[bool, bool]]) -> dict[tuple[bool, bool], int]:
    """How many there are of each (said ship, is ship), from scikit-learn."""
    from sklearn.metrics import confusion_matrix

    if not verdicts:
        return dict.fromkeys([(a, b) for a in (False, True) for b in (False, True)], 0)
    said, is_ = zip(*verdicts, strict=True)
    table = confusion_matrix(is_, said, labels=[False, True])
    return {(a, b): int(table[int(b), int(a)]) for a in (False, True) for b in (False, True)}


@dataclass(frozen=True)
class Step:
    """One step of a calibration curve: verdicts with p_ship in [low, high), the last one with its upper end."""

    low: float
    high: float
    n: int
    p_ship: float
    ships: Estimate


def calibration_curve(tools: Sequence[Sequence[tuple[float, bool]]], bins: int = BINS) -> list[Step]:
    """Mean p_ship and share of ships in `bins` equal steps (reliability diagram: Murphy and Winkler 1977)."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    steps = []
    for low, high in itertools.pairwise(edges):
        inside = [[(p, s) for p, s in tool if low <= p < high or p == high == 1.0] for tool in tools]
        known = [p for tool in inside for p, _ in tool]
        share = clustered_share([sum(s for _, s in tool) for tool in inside], [len(tool) for tool in inside])
        mean = math.fsum(known) / len(known) if known else math.nan
        steps.append(Step(round(float(low), 3), round(float(high), 3), len(known), mean, share))
    return steps
