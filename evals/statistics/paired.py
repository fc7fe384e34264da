"""Two runs cell by cell: is this one worse, and how much worse would it have had to be for anyone to see it?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.intervals import Estimate, clustered_mean

ALPHA = 0.05
POWER = 0.8
_RESAMPLES = 20_000


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences over tools with its interval, and the p-value (two-sided) that it is 0."""

    mean: Estimate
    p: float
    tools: int
    differing: int


def difference(differences: Sequence[float]) -> Difference:
    """
    The p-value is from the sign-flip (paired permutation) test of Fisher (1935, "The Design of Experiments", 21): if
    the change did nothing, each tool's difference was as likely the other way around. Exact for up to 14 tools that
    differ; with differences of one size it is McNemar's exact test.

    Args:
        differences: one per tool, now less then.
    """
    from scipy.stats import permutation_test

    moved = np.asarray([d for d in differences if d], dtype=float)
    p = 1.0
    if moved.size:
        # scipy wants two values for a sample; a zero may have either sign and changes nothing
        sample = moved if moved.size > 1 else np.append(moved, 0.0)
        p = float(
            permutation_test(
                (sample,),
                lambda x, axis: np.sum(x, axis=axis),
                permutation_type="samples",
                vectorized=True,
                n_resamples=_RESAMPLES,
                rng=np.random.default_rng(0),
            ).pvalue
        )
    return Difference(clustered_mean(differences, [1] * len(differences)), min(p, 1.0), len(differences), moved.size)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values after Holm's step-down correction (Holm 1979), from statsmodels.

    Comparisons in which nothing differs at all can never be rejected, so they cost the others nothing (Tarone 1990,
    "A modified Bonferroni method for discrete data"): leave them out.
    """
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return {}
    corrected = multipletests(list(p_values.values()), method="holm")[1]
    return dict(zip(p_values, map(float, corrected), strict=True))


def smallest_share(tools: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest share of tools that a change must spoil, improving none, to be found by McNemar's exact test with
    the chance `power`; nan where there are too few tools for any such change to be found.

    k losses without a gain have p = 2 · 0.5^k; with k₀ the first that is at most alpha, the share q solves
    P(Binomial(tools, q) ≥ k₀) = power.
    """
    from scipy.optimize import brentq
    from scipy.stats import binom

    needed = math.ceil(math.log2(2 / alpha))
    if tools < needed:
        return math.nan
    if tools == needed:
        return float(power ** (1 / needed))
    return float(brentq(lambda q: binom.sf(needed - 1, tools, q) - power, 1e-9, 1 - 1e-9))


def smallest_mean(spread: float, tools: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest mean difference that a paired t-test finds with the chance `power` (Cohen 1988, 2.3).

    Args:
        spread: standard deviation of the differences over tools.
    """
    from statsmodels.stats.power import TTestPower

    if tools < 2:
        return math.nan
    if not spread:
        return 0.0
    effect = TTestPower().solve_power(nobs=tools, alpha=alpha, power=power, alternative="two-sided")
    return float(np.atleast_1d(effect)[0]) * spread
