"""Does a verdict stay what it is under a change that should not change it?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.intervals import Estimate, clustered_mean, clustered_ratio, clustered_share


def mode(decisions: Sequence[str]) -> str:
    """The commonest decision; of equally common ones the one that came first."""
    counts = Counter(decisions)
    return max(counts, key=lambda decision: (counts[decision], -list(decisions).index(decision)))


def entropy(decisions: Sequence[str]) -> float:
    """Shannon's entropy of the decisions of one cell, in bits: 0 where they are all alike, 1 for half and half."""
    shares = [count / len(decisions) for count in Counter(decisions).values()]
    return -math.fsum(share * math.log2(share) for share in shares) + 0.0


@dataclass(frozen=True)
class Flips:
    """Flips over trials, and the share of cells without one. Intervals count a tool's trials as a cluster."""

    rate: Estimate
    never: Estimate
    entropy: float


def flip_rate(tools: Sequence[Sequence[Sequence[bool]]], decisions: Sequence[Sequence[str]]) -> Flips:
    """
    Args:
        tools: by tool, by cell, whether each trial is a flip.
        decisions: the decisions of each cell.
    """
    rate = clustered_share([sum(map(sum, tool)) for tool in tools], [sum(map(len, tool)) for tool in tools])
    never = clustered_share([sum(not any(cell) for cell in tool) for tool in tools], [len(tool) for tool in tools])
    known = [entropy(cell) for cell in decisions if cell]
    return Flips(rate, never, math.fsum(known) / len(known) if known else math.nan)


def against_mode(cell: Sequence[str]) -> list[bool]:
    """Which decisions of a cell are not its mode: a rerun has no right answer, only a usual one."""
    usual = mode(cell) if cell else ""
    return [decision != usual for decision in cell]


# ------------------------------------------------------------------------------------------------------- swaps


@dataclass(frozen=True)
class Swap:
    """Trials in two orders: how many are decided alike, and whether the flips have a side.

    `bias` is the share of trials that flip toward ship less the share that flip toward skip; `p` is the exact
    two-sided p-value of McNemar's test (McNemar 1947) that both are as likely.
    """

    consistency: Estimate
    bias: float
    p: float


def swap(tools: Sequence[Sequence[tuple[bool, bool]]]) -> Swap:
    """
    Args:
        tools: by tool, for each trial whether it was a ship before and after.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    pairs = [pair for tool in tools for pair in tool]
    table = np.zeros((2, 2), dtype=int)
    for before, after in pairs:
        table[int(before), int(after)] += 1
    same = clustered_share([sum(a == b for a, b in tool) for tool in tools], [len(tool) for tool in tools])
    toward_ship, toward_skip = int(table[0, 1]), int(table[1, 0])
    bias = (toward_ship - toward_skip) / len(pairs) if pairs else math.nan
    return Swap(same, bias, float(mcnemar(table, exact=True).pvalue) if toward_ship + toward_skip else 1.0)


# ------------------------------------------------------------------------------------------------------ shifts


def shift(tools: Sequence[Sequence[float]]) -> Estimate:
    """Mean of paired differences (after less before), by tool; the interval from resampling tools whole."""
    return clustered_mean([math.fsum(tool) for tool in tools], [len(tool) for tool in tools])


def slope(tools: Sequence[Sequence[tuple[float, float]]]) -> Estimate:
    """The change of y for 1 of x more, by tool: least squares on what differs within a tool (tool fixed effects:
    Wooldridge 2010, "Econometric Analysis of Cross Section and Panel Data", 10.5), resampling tools whole."""
    over, under = [], []
    for tool in tools:
        points = np.asarray(tool, dtype=float).reshape(-1, 2)
        centred = points - points.mean(axis=0) if len(points) else points
        over.append(float((centred[:, 0] * centred[:, 1]).sum()))
        under.append(float((centred[:, 0] ** 2).sum()))
    return clustered_ratio(np.asarray(over), np.asarray(under))
