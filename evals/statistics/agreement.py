"""Do the personas say the same, beyond chance; and what does each add to the others?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.intervals import Estimate, FloatArray, clustered_mean, percentiles, resamples
from panel.merge import effective_votes as votes_worth

_PERMUTATIONS = 2000


def alpha(units: Sequence[Sequence[bool]]) -> Estimate:
    """Krippendorff's alpha for nominal data (Krippendorff 2019, "Content Analysis", 12), from `krippendorff`, with an
    interval from resampling units (tools). nan where there is one category only: there is nothing to agree about.

    Args:
        units: for each tool the verdicts (ship or not) that are to agree, two or more.
    """
    import krippendorff

    counts = np.array([[sum(unit), len(unit) - sum(unit)] for unit in units if len(unit) > 1], dtype=float)
    if not len(counts):
        return Estimate(math.nan, math.nan, math.nan)
    if not counts.sum(axis=0).all():
        return Estimate(math.nan, math.nan, math.nan)
    value = float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))
    return Estimate(value, *percentiles(_alphas(counts[resamples(len(counts))]), len(counts)))


def _alphas(counts: FloatArray) -> FloatArray:
    """Alpha of many samples at once, which the library would take seconds for: 1 − observed over expected disagreement.

    Args:
        counts: ships and skips [samples, units, 2].
    """
    per_unit = counts.sum(axis=2)
    observed = (2 * counts.prod(axis=2) / (per_unit - 1)).sum(axis=1)
    ships, skips = counts.sum(axis=1).T
    expected = 2 * ships * skips / (ships + skips - 1)
    return np.asarray(1 - np.divide(observed, expected, out=np.full(len(counts), math.nan), where=expected > 0))


def raw_agreement(units: Sequence[Sequence[bool]]) -> Estimate:
    """Share of pairs within a unit that say the same; a mean over units."""
    pairs = [list(itertools.combinations(unit, 2)) for unit in units if len(unit) > 1]
    return clustered_mean([sum(a == b for a, b in unit) / len(unit) for unit in pairs], [1.0] * len(pairs))


def correlation(table: FloatArray) -> Estimate:
    """Mean Pearson correlation of p_ship between two personas; `table` is [tools, personas]. nan where it is undefined
    (three tools or fewer, or a persona that always says the same)."""
    if len(table) < 4:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(_mean_correlations(table[None])[0])
    return Estimate(value, *percentiles(_mean_correlations(table[resamples(len(table))]), len(table)))


def _mean_correlations(tables: FloatArray) -> FloatArray:
    """Of many tables at once [samples, tools, personas]."""
    centred = tables - tables.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=1))
    products = np.einsum("sti,stj->sij", centred, centred)
    rows, columns = np.triu_indices(tables.shape[2], k=1)
    under = size[:, rows] * size[:, columns]
    found = np.divide(products[:, rows, columns], under, out=np.full(under.shape, math.nan), where=under > 1e-12)
    return np.asarray(found.mean(axis=1))


def effective_votes(votes: int, rho: Estimate) -> Estimate:
    """N / (1 + (N − 1)ρ) with ρ and its interval; more correlation is fewer votes. A negative ρ counts as none."""

    def worth(value: float) -> float:
        return math.nan if math.isnan(value) else votes_worth(votes, max(value, 0.0))

    return Estimate(worth(rho.value), worth(rho.high), worth(rho.low))


# ------------------------------------------------------------------------------------- what a persona adds


@dataclass(frozen=True)
class Signal:
    """What is its own in a persona's p_ship: between tools over within tools (F ratio), and the permutation p-value."""

    ratio: float
    p: float


def own_signal(own: FloatArray, others: FloatArray, seed: int = 0) -> Signal:
    """Does a persona say anything steady about tools that the other personas do not say already?

    What the others' p_ship predicts of its own (least squares) is taken off. What is left is either a steady opinion on
    each tool, which all wordings of the tool share, or noise: the F ratio of a one-way analysis of variance by tool
    tells, and its p-value comes from shuffling what is left over tools (Freedman and Lane 1983; Manly 2007,
    "Randomization, Bootstrap and Monte Carlo Methods in Biology", 7). A copy of another persona, a constant and a coin
    leave nothing steady.

    Args:
        own: p_ship [tools, wordings].
        others: p_ship of the other personas [tools, wordings, personas].
    """
    tools, wordings = own.shape
    if tools < 3 or wordings < 2:
        return Signal(math.nan, math.nan)
    predictors = np.column_stack([np.ones(own.size), others.reshape(own.size, -1)])
    # a constant among the others makes the columns dependent, which least squares by SVD takes in its stride
    left = own.reshape(-1) - predictors @ np.linalg.lstsq(predictors, own.reshape(-1), rcond=None)[0]
    if np.abs(left).max() < 1e-6:
        return Signal(0.0, 1.0)
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(left, (_PERMUTATIONS, 1)), axis=1).reshape(-1, tools, wordings)
    observed = float(_f_ratios(left.reshape(1, tools, wordings))[0])
    return Signal(observed, float((1 + (_f_ratios(drawn) >= observed).sum()) / (1 + _PERMUTATIONS)))


def _f_ratios(tables: FloatArray) -> FloatArray:
    """Of many tables at once [samples, tools, wordings]."""
    between = tables.shape[2] * tables.mean(axis=2).var(axis=1, ddof=1)
    within = tables.var(axis=2, ddof=1).mean(axis=1)
    return np.asarray(between / np.maximum(within, 1e-12))
