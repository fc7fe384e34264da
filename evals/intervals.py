"""95% intervals of what is measured on a few tools."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]
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
    """`figure` over items that belong together (tools), with an interval from resampling them (see `percentiles`).

    Resamples for which the figure is undefined (nan) are left out.
    """
    values = [figure([items[i] for i in row]) for row in resamples(len(items), seed)]
    return Estimate(figure(items), *percentiles(values, len(items)))


@cache
def resamples(count: int, seed: int = 0) -> IntArray:
    """Efron's bootstrap: indices [resamples, count] of items drawn with replacement; the same array each time."""
    drawn = np.random.default_rng(seed).integers(0, count, (_RESAMPLES, count))
    drawn.flags.writeable = False
    return drawn


def percentiles(values: Sequence[float] | FloatArray, count: int) -> tuple[float, float]:
    """The 95% interval of a figure from its resamples, of `count` items each.

    Percentiles are too narrow for few items; they are taken farther out by what the t distribution with its √(n/(n−1))
    adds (the expanded percentile interval: Hesterberg 2015, "What Teachers Should Know About the Bootstrap", 5.3).
    """
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if not known.size:
        return math.nan, math.nan
    tail = _tail(count)
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


@cache
def _tail(count: int) -> float:
    from scipy.stats import norm, t

    return float(norm.cdf(-math.sqrt(count / (count - 1)) * t.ppf(0.975, count - 1))) if count > 1 else 0.0


def clustered_mean(sums: Sequence[float], counts: Sequence[float], seed: int = 0) -> Estimate:
    """The mean of values that come in clusters (a tool's trials): Σ sums ÷ Σ counts, resampling clusters whole."""
    return clustered_ratio(np.asarray(sums, dtype=float), np.asarray(counts, dtype=float), seed)


def clustered_ratio(over: FloatArray, under: FloatArray, seed: int = 0) -> Estimate:
    """Σ over ÷ Σ under with an interval from resampling the pairs; nan where nothing is under."""
    if not under.sum():
        return Estimate(math.nan, math.nan, math.nan)
    rows = resamples(len(over), seed)
    below = under[rows].sum(axis=1)
    values = np.divide(over[rows].sum(axis=1), below, out=np.full(len(rows), math.nan), where=below != 0)
    return Estimate(float(over.sum() / under.sum()), *percentiles(values, len(over)))


def clustered_share(hits: Sequence[int], totals: Sequence[int]) -> Estimate:
    """A share of trials that come in clusters (a tool's trials), with Wilson's interval for as many independent trials
    as they are worth.

    That number is p(1 − p) over the variance of the share between clusters (Kish's design effect), times (z/t)² for
    the few clusters that the variance rests on (Korn and Graubard 1998; Franco et al. 2019 find Wilson's the best of
    its kind). Where all trials have come out the same nothing is known of that variance, and each cluster counts once.
    """
    from scipy.stats import norm, t

    k, n = np.asarray(hits, dtype=float), np.asarray(totals, dtype=float)
    k, n = k[n > 0], n[n > 0]
    total, clusters = float(n.sum()), len(n)
    if not clusters:
        return Estimate(math.nan, 0.0, 1.0)
    share = float(k.sum() / total)
    worth = float(clusters)
    if clusters > 1 and 0 < share < 1:
        variance = clusters / (clusters - 1) * float(((k - share * n) ** 2).sum()) / total**2
        independent = share * (1 - share) / variance if variance else total
        few = (norm.ppf(0.975) / t.ppf(0.975, clusters - 1)) ** 2
        worth = min(max(independent, 1.0), total) * few
    return _wilson(share, worth)


def _wilson(share: float, worth: float) -> Estimate:
    """Wilson's interval for a number of trials that need not be whole (scipy's wants whole ones)."""
    from scipy.stats import norm

    z = float(norm.ppf(0.975))
    centre = (share + z * z / (2 * worth)) / (1 + z * z / worth)
    half = z / (1 + z * z / worth) * math.sqrt(share * (1 - share) / worth + z * z / (4 * worth * worth))
    return Estimate(share, max(centre - half, 0.0) if share else 0.0, min(centre + half, 1.0) if share < 1 else 1.0)


def auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """Chance that one of `higher` exceeds one of `lower`, ties counting half (Mann–Whitney U / nm); nan of nothing."""
    if not len(higher) or not len(lower):
        return math.nan
    a, b = np.asarray(higher)[:, None], np.asarray(lower)[None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())
