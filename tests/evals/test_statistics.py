"""The statistics on judges whose answers are known, and by hand."""

from __future__ import annotations

import math

import krippendorff
import numpy as np
import pytest
from scipy.stats import binom, binomtest

from evals.intervals import clustered_mean, clustered_share, wilson
from evals.statistics import agreement, coverage, flips, gold, paired

# ------------------------------------------------------------------------------------------------------- flips


def test_the_mode_is_the_commonest_and_of_equals_the_first() -> None:
    assert flips.mode(["skip", "ship", "ship"]) == "ship"
    assert flips.mode(["skip", "ship", "ship", "skip"]) == "skip"
    assert flips.against_mode(["skip", "ship", "skip"]) == [False, True, False]
    assert flips.against_mode([]) == []


def test_entropy_by_hand() -> None:
    """Half and half is one bit; one of four is 0.25 · 2 + 0.75 · 0.415 = 0.811."""
    assert flips.entropy(["ship"] * 5) == 0.0
    assert flips.entropy(["ship", "skip"]) == 1.0
    assert flips.entropy(["ship", "skip", "ship", "ship"]) == pytest.approx(0.811278, abs=1e-6)


def test_flips_by_hand() -> None:
    """Two tools of two cells of two trials: one flip of eight, three cells of four without."""
    cells = [[[False, True], [False, False]], [[False, False], [False, False]]]
    found = flips.flip_rate(cells, [["ship", "skip"], ["ship", "ship"]])
    assert (found.rate.value, found.never.value, found.entropy) == (1 / 8, 3 / 4, 0.5)
    assert found.rate.low < 1 / 8 < found.rate.high


def test_a_constant_judge_never_flips_and_a_coin_flips_half_of_the_time() -> None:
    rng = np.random.default_rng(5)
    constant = flips.flip_rate([[[False] * 5] * 4] * 15, [["ship"] * 5] * 60)
    assert (constant.rate.value, constant.never.value, constant.entropy) == (0.0, 1.0, 0.0)
    assert (constant.rate.low, constant.rate.high) == pytest.approx((0.0, wilson(0, 15).high))
    tosses = [[["ship" if x else "skip" for x in rng.random(9) < 0.5] for _ in range(4)] for _ in range(40)]
    coin = flips.flip_rate(
        [[[said == "ship" for said in cell] for cell in tool] for tool in tosses], [c for t in tosses for c in t]
    )
    assert coin.rate.low < 0.5 < coin.rate.high
    assert coin.never.value < 0.05
    assert coin.entropy > 0.85


def test_one_trial_a_tool_is_wilsons_interval_but_for_few_tools() -> None:
    """1,000 tools of one trial each: nothing is clustered, and t is z."""
    found, plain = clustered_share([1] * 100 + [0] * 900, [1] * 1000), wilson(100, 1000)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=2e-3)


def test_trials_that_always_agree_are_worth_one_each_tool() -> None:
    """Ten trials of a tool that all come out alike say no more than one: the interval is that of 100 trials."""
    found, plain = clustered_share([10] * 20 + [0] * 80, [10] * 100), wilson(20, 100)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=5e-3)
    assert found.high - found.low > wilson(200, 1000).high - wilson(200, 1000).low


def test_a_judge_who_takes_the_first_has_a_side_and_a_coin_has_none() -> None:
    """Always first: what is a ship before is a skip when turned around. McNemar of 9 to 1 is 2 · (1 + 10) / 2^10."""
    always = flips.swap([[(True, False)] * 9 + [(False, True)]])
    assert (always.consistency.value, always.bias) == (0.0, -0.8)
    assert always.p == pytest.approx(22 / 1024)
    fair = flips.swap([[(True, False), (False, True), (True, True), (False, False)]])
    assert (fair.consistency.value, fair.bias, fair.p) == (0.5, 0.0, 1.0)
    assert flips.swap([[(True, True)]]).p == 1.0


def test_shift_and_slope_by_hand() -> None:
    """The mean of all trials, not of the tools' means. Within each tool y rises by 2 for 1 of x; that the second tool
    lies higher, at a smaller x, is not the length's doing."""
    assert flips.shift([[0.1, 0.3], [0.5]]).value == pytest.approx(0.3)
    found = flips.slope([[(1.0, 2.0), (2.0, 4.0)], [(0.0, 9.0), (1.0, 11.0)]])
    assert found.value == pytest.approx(2.0)
    assert math.isnan(flips.slope([[(1.0, 0.2), (1.0, 0.4)]]).value)


# ---------------------------------------------------------------------------------------------------- two runs


def test_differences_of_one_size_are_mcnemars_test() -> None:
    """Seven losses to one gain: 2 · (1 + 8) / 2^8; zeros count for nothing."""
    found = paired.difference([-1.0] * 7 + [1.0] + [0.0] * 10)
    assert found.p == pytest.approx(binomtest(1, 8).pvalue)
    assert (found.mean.value, found.tools, found.differing) == (pytest.approx(-6 / 18), 18, 8)
    assert paired.difference([0.0] * 5).p == 1.0
    assert paired.difference([-1.0, 0.0]).p == 1.0


def test_holm_by_hand() -> None:
    """0.01 · 3, then 0.02 · 2, then 0.2 · 1, never less than the one before."""
    assert paired.holm({"a": 0.02, "b": 0.2, "c": 0.01}) == pytest.approx({"a": 0.04, "b": 0.2, "c": 0.03})
    assert paired.holm({}) == {}


def test_the_smallest_share_is_found_four_times_in_five() -> None:
    """Six losses without a gain have p = 2 / 64 = 0.031, five 0.0625; of 60 tools, six or more with the chance 0.8."""
    share = paired.smallest_share(60)
    assert binom.sf(5, 60, share) == pytest.approx(0.8)
    assert paired.smallest_share(6) == pytest.approx(0.8 ** (1 / 6))
    assert math.isnan(paired.smallest_share(5))
    assert paired.smallest_share(60, alpha=0.001) > share


def test_the_smallest_mean_by_hand() -> None:
    """For many tools (z₀.₉₇₅ + z₀.₈) · s / √n = 2.8016 · s / √n."""
    assert paired.smallest_mean(0.5, 2500) == pytest.approx(2.8016 * 0.5 / 50, rel=2e-3)
    assert paired.smallest_mean(0.0, 10) == 0.0
    assert math.isnan(paired.smallest_mean(0.5, 1))


# --------------------------------------------------------------------------------------------------- agreement


def test_alpha_by_hand() -> None:
    """Krippendorff's own example of two observers and ten units: α = 1 − 19 · 4 / (14 · 6 ) … = 0.095."""
    one = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    other = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    found = agreement.alpha([[bool(a), bool(b)] for a, b in zip(one, other, strict=True)])
    assert found.value == pytest.approx(0.095, abs=5e-4)


def test_alpha_of_one_category_is_undefined_and_of_perfect_agreement_one() -> None:
    assert math.isnan(agreement.alpha([[True] * 4] * 9).value)
    assert math.isnan(agreement.alpha([[True]]).value)
    assert agreement.alpha([[True] * 4, [False] * 4] * 5).value == 1.0


def test_resamples_use_the_formula_of_the_library() -> None:
    counts = np.array([[3.0, 1.0], [4.0, 0.0], [1.0, 2.0], [0.0, 4.0], [2.0, 2.0]])
    known = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    assert agreement._alphas(counts[None])[0] == pytest.approx(known)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_a_panel_of_known_correlation_is_recovered(rho: float) -> None:
    """1,000 tools. Half of all are ships, so alpha is 1 − (1 − agreement) / ½, and agreement ½ + asin(ρ)/π."""
    table = coverage.panel(np.random.default_rng(7), 1000, rho)
    units = [list(row) for row in table > 0]
    agreeing = 0.5 + math.asin(rho) / math.pi
    assert agreement.raw_agreement(units).value == pytest.approx(agreeing, abs=0.03)
    assert agreement.alpha(units).value == pytest.approx(1 - (1 - agreeing) / 0.5, abs=0.06)
    found = agreement.correlation(table)
    assert found.value == pytest.approx(rho, abs=0.05)
    assert agreement.effective_votes(4, found).value == pytest.approx(4 / (1 + 3 * rho), abs=0.25)


def test_votes_of_judges_who_never_agree_are_at_most_their_number() -> None:
    found = agreement.effective_votes(4, agreement.Estimate(-0.2, -0.4, 0.5))
    assert (found.value, found.low, found.high) == (4.0, 1.6, 4.0)


def test_a_constant_judge_has_no_correlation() -> None:
    table = coverage.panel(np.random.default_rng(8), 30, 0.5)
    table[:, 2] = 0.3
    assert math.isnan(agreement.correlation(table).value)
    assert math.isnan(agreement.correlation(table[:3]).value)


@pytest.mark.parametrize("own", ["a copy", "a constant", "a coin", "the others' mean and noise"])
def test_a_persona_that_adds_nothing_has_no_signal(own: str) -> None:
    rng = np.random.default_rng(9)
    others = rng.normal(size=(20, 1, 3)) + 0.2 * rng.normal(size=(20, 3, 3))
    said = {
        "a copy": others[:, :, 1],
        "a constant": np.full((20, 3), 0.4),
        "a coin": rng.normal(size=(20, 3)),
        "the others' mean and noise": others.mean(axis=2) + 0.2 * rng.normal(size=(20, 3)),
    }[own]
    assert agreement.own_signal(said, others).p > 0.05


def test_a_persona_with_a_mind_of_its_own_has_one() -> None:
    rng = np.random.default_rng(10)
    others = rng.normal(size=(20, 1, 3)) + 0.1 * rng.normal(size=(20, 3, 3))
    found = agreement.own_signal(
        others.mean(axis=2) + rng.normal(size=(20, 1)) + 0.1 * rng.normal(size=(20, 3)), others
    )
    assert found.p < 0.01
    assert found.ratio > 10
    assert math.isnan(agreement.own_signal(np.zeros((2, 3)), np.zeros((2, 3, 3))).p)


# -------------------------------------------------------------------------------------------------------- gold


def test_brier_and_confusion_by_hand() -> None:
    assert gold.brier([[(0.8, True), (0.3, False)], [(0.5, True)]]).value == pytest.approx((0.04 + 0.09 + 0.25) / 3)
    table = gold.confusion([(True, True), (True, False), (True, False), (False, True)])
    assert table == {(True, True): 1, (True, False): 2, (False, True): 1, (False, False): 0}
    assert sum(gold.confusion([]).values()) == 0


def test_the_curve_puts_every_verdict_in_one_step() -> None:
    steps = gold.calibration_curve([[(0.0, False), (0.2, False), (0.39, True)], [(1.0, True), (0.8, False)]])
    assert [(s.low, s.n) for s in steps] == [(0.0, 1), (0.2, 2), (0.4, 0), (0.6, 0), (0.8, 2)]
    assert steps[1].p_ship == pytest.approx(0.295)
    assert steps[4].ships.value == 0.5
    assert math.isnan(steps[2].ships.value)


# ---------------------------------------------------------------------------------------------------- coverage


def test_the_mean_of_clusters_by_hand() -> None:
    assert clustered_mean([0.4, 0.5], [2, 1]).value == pytest.approx(0.3)
    assert math.isnan(clustered_mean([], []).value)


@pytest.mark.parametrize("name", coverage.INTERVALS)
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    """30 simulations of each: if 95% hold the truth, 25 or more of 30 do with a chance of 99.7%."""
    assert 0.83 <= coverage.covered(coverage.INTERVALS[name], 30, seed=1) <= 1.0


@pytest.mark.parametrize("name", coverage.TESTS)
def test_tests_cry_wolf_no_more_often_than_they_say(name: str) -> None:
    """40 simulations: at 5%, more than 6 have a chance of 0.3%; at 80%, 25 to 38 have one of 99%."""
    once, should = coverage.TESTS[name]
    share = coverage.rejected(once, 40, seed=2)
    assert 0.62 <= share <= 0.96 if should == "80%" else share <= 0.16
