"""Intervals worked by hand, and counted: 95% of them hold the truth, about."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from evals.intervals import Estimate, auc, bootstrap, wilson


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        # z = 1.95996, z² = 3.84146. Centre (p + z²/2n) / (1 + z²/n) = (0.8 + 0.19207) / 1.38415 = 0.71674,
        # half-width z / (1 + z²/n) · √(p (1 − p) / n + z²/4n²) = 1.41601 · √(0.016 + 0.0096036) = 0.22658.
        (8, 10, 0.49016, 0.94332),
        # p = 0: both terms are z²/2n / (1 + z²/n), so that low is 0 and high is 0.384146 / 1.384146.
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
        # Centre (0.5 + 0.0192073) / 1.0384146 = 0.5; half-width 1.88746 · √(0.0025 + 0.000096036) = 0.09617.
        (50, 100, 0.40383, 0.59617),
    ],
)
def test_wilson_by_hand(hits: int, total: int, low: float, high: float) -> None:
    found = wilson(hits, total)
    assert found.value == hits / total
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)


def test_a_share_of_nothing_is_not_known() -> None:
    found = wilson(0, 0)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (0.0, 1.0)


def test_as_people_read_them() -> None:
    assert wilson(8, 10).share() == "80% (49–94)"
    assert wilson(8, 10).plain() == "0.800 (0.490–0.943)"
    assert Estimate(7.25, 5.0, 12.125).plain(1) == "7.2 (5.0–12.1)"


@pytest.mark.parametrize("share", [0.5, 0.85, 0.97])
def test_wilson_holds_the_truth_as_often_as_it_says(share: float) -> None:
    """500 samples of 60; near 1 the plain interval p ± z √(p (1 − p) / n) would hold it in 4 of 5 only."""
    drawn = np.random.default_rng(11).binomial(60, share, 500)
    held = [found.low <= share <= found.high for found in (wilson(int(hits), 60) for hits in drawn)]
    assert 0.92 <= mean(held) <= 0.985
    if share == 0.97:
        p = drawn / 60
        plain = np.abs(p - share) <= 1.96 * np.sqrt(p * (1 - p) / 60)
        assert plain.mean() < 0.88


def test_the_bootstrap_of_a_constant_is_that_constant() -> None:
    assert bootstrap([0.25] * 7, mean) == Estimate(0.25, 0.25, 0.25)
    assert bootstrap([3.0], mean) == Estimate(3.0, 3.0, 3.0)


def test_the_bootstrap_of_two_by_hand() -> None:
    """Of {0, 1} the means are 0, ½, 1 with chances ¼, ½, ¼: both ends are reached. Of eight like that 2.5% lie at or
    below 1/8 (chance of 0 or 1 in 8: 9/256 = 3.5%) and more than at 0 (0.4%)."""
    assert bootstrap([0.0, 1.0], mean) == Estimate(0.5, 0.0, 1.0)
    found = bootstrap([0.0, 1.0] * 4, mean)
    assert (found.value, found.low, found.high) == (0.5, 0.125, 0.875)


def test_the_bootstrap_holds_the_truth_as_often_as_it_says() -> None:
    """100 samples of 30 from a skew distribution of mean 1 (exponential): the percentile interval is known to be a
    little short there, at nine in ten; a 90% interval would hold it in 84% of the same samples, a 99% one in 98%."""
    rng = np.random.default_rng(12)
    held = []
    for _ in range(100):
        found = bootstrap(rng.exponential(1.0, 30).tolist(), mean)
        held.append(found.low <= 1.0 <= found.high)
    assert 0.85 <= mean(held) <= 0.98


def test_what_belongs_together_is_drawn_together() -> None:
    """Twenty facts of two tools are two things, not twenty: the interval is that of [0, 1], not of ten of each."""
    tools = [[0.0] * 10, [1.0] * 10]
    found = bootstrap(tools, lambda sample: mean([fact for tool in sample for fact in tool]))
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_same_seed_draws_the_same() -> None:
    values = np.random.default_rng(1).normal(size=9).tolist()
    assert bootstrap(values, mean) == bootstrap(values, mean)
    assert bootstrap(values, mean).low != bootstrap(values, mean, seed=1).low


def test_samples_without_a_figure_are_left_out() -> None:
    """A good and a bad tool: half of the samples hold one kind alone, and have no AUC; in the others it is 1."""

    def figure(sample: Sequence[str]) -> float:
        return auc([1.0] * sample.count("good"), [0.0] * sample.count("bad"))

    assert bootstrap(["good", "bad"], figure) == Estimate(1.0, 1.0, 1.0)
    nothing = bootstrap(["good", "good"], figure)
    assert all(math.isnan(value) for value in (nothing.value, nothing.low, nothing.high))


def test_auc_by_hand() -> None:
    # 2 > 1, 2 > 0, 1 = 1, 1 > 0: (1 + 1 + ½ + 1) / 4
    assert auc([1.0, 2.0], [1.0, 0.0]) == 0.875
    assert auc([3.0], [1.0, 2.0]) == 1.0
    assert auc([0.0], [1.0, 2.0]) == 0.0
    assert auc([1.0, 1.0], [1.0, 1.0, 1.0]) == 0.5  # ties throughout: nothing is told apart
    assert math.isnan(auc([], [1.0]))
    assert math.isnan(auc([1.0], []))


def test_auc_is_blind_to_scale() -> None:
    rng = np.random.default_rng(2)
    higher, lower = rng.normal(1, 1, 40), rng.normal(0, 1, 50)
    assert auc(np.exp(3 * higher).tolist(), np.exp(3 * lower).tolist()) == auc(higher.tolist(), lower.tolist())
    assert auc(lower.tolist(), higher.tolist()) == pytest.approx(1 - auc(higher.tolist(), lower.tolist()))
