"""95% intervals of what is measured on a few tools."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")

_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def share(self) -> str:
        """As percentages: 94% (88–97)."""
        return f"{self.value:.0%} ({100 * self.low:.0f}–{100 * self.high:.0f})"

    def plain(self, digits: int = 3) -> str:
        """As numbers: 0.941 (0.882–0.973)."""
        return f"{self.value:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def wilson(hits: int, total: int) -> Estimate:
    """A share and its Wilson score interval (Wilson 1927), from scipy; (nan, 0, 1) of nothing."""
    from scipy.stats import binomtest

    if total == 0:
        return Estimate(math.nan, 0.0, 1.0)
    interval = binomtest(hits, total).proportion_ci(0.95, method="wilson")
    return Estimate(hits / total, float(interval.low), float(interval.high))


def bootstrap(items: Sequence[Item], figure: Callable[[Sequence[Item]], float], seed: int = 0) -> Estimate:
    """`figure` over items that belong together (tools), with a percentile interval from resampling them.

    Efron's bootstrap; resamples for which the figure is undefined (nan) are left out.
    """
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(items), (_RESAMPLES, len(items)))
    values = [figure([items[i] for i in row]) for row in draws]
    known = [value for value in values if not math.isnan(value)]
    low, high = np.quantile(known, [0.025, 0.975]) if known else (math.nan, math.nan)
    return Estimate(figure(items), float(low), float(high))


def auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """Chance that one of `higher` exceeds one of `lower`, ties counting half (Mann–Whitney U / nm); nan of nothing."""
    if not len(higher) or not len(lower):
        return math.nan
    a, b = np.asarray(higher)[:, None], np.asarray(lower)[None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())
