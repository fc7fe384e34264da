"""Intervals of a few paired differences, and the exact test of McNemar, against values worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from panel.tuning.statistics import Interval, mcnemar, paired


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (1, 1, 1.0),  # 2 · (1 + 2) / 4, and no p is above 1
        (5, 0, 2 / 32),
        (0, 6, 2 / 64),
        (8, 1, 2 * (1 + 9) / 512),
    ],
)
def test_mcnemar_counts_the_ways(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)
    assert mcnemar(lost, gained) == pytest.approx(p)


def test_the_interval_is_around_the_mean_and_the_same_each_time() -> None:
    values = [0.1, -0.2, 0.4, 0.3, 0.0]
    found = paired(values)
    assert found.value == pytest.approx(0.12)
    assert found.low < found.value < found.high
    assert paired(values) == found
    assert paired(values, seed=1) != found
    turned = paired([-value for value in values])
    assert (turned.low, turned.high) == (pytest.approx(-found.high, abs=0.02), pytest.approx(-found.low, abs=0.02))


def test_what_does_not_differ_has_no_width() -> None:
    assert paired([0.25] * 4) == Interval(0.25, 0.25, 0.25)
    assert paired([]) == Interval(0.0, 0.0, 0.0)
    assert paired([0.5]) == Interval(0.5, 0.5, 0.5)


def test_one_tool_of_eleven_is_no_evidence() -> None:
    assert not paired([0.0] * 10 + [1.0]).excludes_zero
    assert paired([0.3, 0.4, 0.2, 0.35, 0.3, 0.25, 0.4, 0.3, 0.2, 0.3, 0.35]).excludes_zero


@pytest.mark.parametrize("count", [11, 20])
def test_the_interval_covers_what_it_claims(count: int) -> None:
    """Of 400 draws from a normal distribution about 380 hold its mean; two standard errors are ± 9 of them."""
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(400):
        found = paired(list(rng.normal(0.3, 1, count)), seed)
        held += found.low <= 0.3 <= found.high
    assert 371 <= held <= 391


def test_the_plain_percentiles_would_not() -> None:
    """Why the expansion is there: on eleven values they cover 92%."""
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(400):
        values = rng.normal(0.3, 1, 11)
        means = values[np.random.default_rng(seed).integers(0, 11, (2000, 11))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        held += low <= 0.3 <= high
    assert held < 371


def test_an_interval_in_words() -> None:
    assert Interval(-0.0412, -0.08, 0.003).plain() == "−0.041 (−0.080 to +0.003)"
    assert Interval(math.pi, 3, 4).plain(1) == "+3.1 (+3.0 to +4.0)"
