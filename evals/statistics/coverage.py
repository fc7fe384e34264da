"""Do the intervals hold the truth as often as they say, and do the tests cry wolf no more often than they say?

    python -m evals.statistics.coverage                  1,000 simulations each
    python -m evals.statistics.coverage --runs 200       fewer

The judges are made up, so the truth is known: tosses of a coin, a panel of a known correlation, a judge that is as
sure as it should be. Every estimate is of 95%.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer

from evals.intervals import Estimate, FloatArray, wilson
from evals.shared import report, run
from evals.statistics import agreement, flips, gold, paired

Random = np.random.Generator
#: draws data, and says what the truth is
Interval = Callable[[Random], tuple[Estimate, float]]

TOOLS = 60
FEW = 15


def panel(rng: Random, tools: int, rho: float, personas: int = 4) -> FloatArray:
    """Opinions [tools, personas], normal, each pair correlated by rho: a share of what they think is common to all."""
    common = rng.normal(size=(tools, 1))
    own = rng.normal(size=(tools, personas))
    return np.asarray(math.sqrt(rho) * common + math.sqrt(1 - rho) * own)


def agreeing(rho: float) -> float:
    """The chance that two such judges, who ship half of all, agree: ½ + asin(ρ)/π (Sheppard 1899)."""
    return 0.5 + math.asin(rho) / math.pi


def clusters(rng: Random, tools: int, rate: float, icc: float, trials: int) -> list[list[bool]]:
    """Trials by tool; each tool has a rate of its own (beta), so that two of its trials correlate by icc."""
    spread = (1 - icc) / icc
    rates = rng.beta(rate * spread, (1 - rate) * spread, tools)
    return [list(rng.random(trials) < own) for own in rates]


def _flips(tools: int, rate: float, icc: float) -> Interval:
    def once(rng: Random) -> tuple[Estimate, float]:
        drawn = clusters(rng, tools, rate, icc, 40)
        cells = [[row[k : k + 10] for k in range(0, 40, 10)] for row in drawn]
        return flips.flip_rate(cells, []).rate, rate

    return once


def _never(rng: Random) -> tuple[Estimate, float]:
    cells = [[[bool(x) for x in cell] for cell in rng.random((4, 5)) < 0.1] for _ in range(TOOLS)]
    return flips.flip_rate(cells, []).never, 0.9**5


def _consistency(rng: Random) -> tuple[Estimate, float]:
    tools = [[(True, not flip) for flip in row] for row in clusters(rng, TOOLS, 0.1, 0.1, 20)]
    return flips.swap(tools).consistency, 0.9


def _shift(tools: int) -> Interval:
    def once(rng: Random) -> tuple[Estimate, float]:
        means = rng.normal(0.02, 0.05, tools)
        return flips.shift([list(rng.normal(mean, 0.05, 12)) for mean in means]), 0.02

    return once


def _slope(rng: Random) -> tuple[Estimate, float]:
    tools = []
    for _ in range(TOOLS):
        own, words = rng.normal(0.03, 0.02), rng.uniform(0, 1, 12)
        tools.append(list(zip(words, own * words + rng.normal(0, 0.02, 12), strict=True)))
    return flips.slope(tools), 0.03


def _right(rng: Random) -> tuple[Estimate, float]:
    return gold.right([[(hit, True) for hit in row] for row in clusters(rng, TOOLS, 0.85, 0.2, 4)]), 0.85


def _sure(rng: Random, tools: int) -> list[list[tuple[float, bool]]]:
    """A judge as right as it is sure: p_ship uniform, ships with that chance."""
    return [[(p, bool(rng.random() < p)) for p in rng.uniform(size=4)] for _ in range(tools)]


def _brier(rng: Random) -> tuple[Estimate, float]:
    return gold.brier(_sure(rng, TOOLS)), 1 / 6  # the mean of p(1 − p) over 0 to 1


def _curve(rng: Random) -> tuple[Estimate, float]:
    return gold.calibration_curve(_sure(rng, TOOLS))[3].ships, 0.7


def _alpha(tools: int, rho: float) -> Interval:
    def once(rng: Random) -> tuple[Estimate, float]:
        units = [list(row) for row in panel(rng, tools, rho) > 0]
        return agreement.alpha(units), 1 - (1 - agreeing(rho)) / 0.5

    return once


def _raw(rng: Random) -> tuple[Estimate, float]:
    return agreement.raw_agreement([list(row) for row in panel(rng, TOOLS, 0.67) > 0]), agreeing(0.67)


def _correlation(tools: int) -> Interval:
    return lambda rng: (agreement.correlation(panel(rng, tools, 0.67)), 0.67)


def _votes(rng: Random) -> tuple[Estimate, float]:
    return agreement.effective_votes(4, agreement.correlation(panel(rng, TOOLS, 0.5))), 4 / 2.5


def _difference(rng: Random) -> tuple[Estimate, float]:
    return paired.difference(list(rng.normal(0.1, 0.3, 30))).mean, 0.1


INTERVALS: dict[str, Interval] = {
    "Wilson: a share of 10% of 60": lambda rng: (wilson(int(rng.binomial(60, 0.1)), 60), 0.1),
    "flips: 10%, independent, 60 tools": _flips(TOOLS, 0.1, 1e-6),
    "flips: 10%, clustered, 60 tools": _flips(TOOLS, 0.1, 0.1),
    "flips: 10%, clustered, 15 tools": _flips(FEW, 0.1, 0.1),
    "flips: a coin, clustered, 60 tools": _flips(TOOLS, 0.5, 0.1),
    "cells that never flip": _never,
    "swap consistency: 90%, clustered": _consistency,
    "shift of p_ship, 60 tools": _shift(TOOLS),
    "shift of p_ship, 15 tools": _shift(FEW),
    "slope on length": _slope,
    "verdicts right: 85%, clustered": _right,
    "Brier score": _brier,
    "calibration curve: one step": _curve,
    "alpha: panel of ρ = 0.67, 60 tools": _alpha(TOOLS, 0.67),
    "alpha: panel of ρ = 0, 60 tools": _alpha(TOOLS, 0.0),
    "alpha: panel of ρ = 0.67, 15 tools": _alpha(FEW, 0.67),
    "raw agreement of that panel": _raw,
    "correlation of p_ship, ρ = 0.67, 60 tools": _correlation(TOOLS),
    "correlation of p_ship, ρ = 0.67, 15 tools": _correlation(FEW),
    "effective votes of a panel of ρ = 0.5": _votes,
    "difference of two runs, 30 tools": _difference,
}


def covered(once: Interval, runs: int, seed: int = 0) -> float:
    """The share of `runs` simulations in which the interval holds the truth."""
    rng = np.random.default_rng(seed)
    drawn = [once(rng) for _ in range(runs)]
    return float(np.mean([found.low <= truth <= found.high for found, truth in drawn]))


# ------------------------------------------------------------------------------------------------------- tests


def _mcnemar(rng: Random) -> float:
    return flips.swap([[(bool(side), not side)] for side in rng.random(40) < 0.5]).p


def _sign_flip(rng: Random) -> float:
    return paired.difference(list(rng.normal(0.0, 0.3, 12))).p


def _noise(rng: Random) -> float:
    """A persona that says what the others say on average, and noise."""
    others = rng.normal(size=(20, 1, 3)) + 0.1 * rng.normal(size=(20, 3, 3))
    return agreement.own_signal(others.mean(axis=2) + 0.1 * rng.normal(size=(20, 3)), others).p


def _spoiled(rng: Random) -> float:
    """As many tools are spoiled as `smallest_share` says that it takes."""
    return paired.difference([-float(x) for x in rng.random(TOOLS) < paired.smallest_share(TOOLS)]).p


#: name → (draws a p-value, how often it should be below 0.05: at most, or about)
TESTS: dict[str, tuple[Callable[[Random], float], str]] = {
    "McNemar, no side": (_mcnemar, "≤ 5%"),
    "sign flips, no difference": (_sign_flip, "≤ 5%"),
    "a persona of noise": (_noise, "≤ 5%"),
    "the smallest effect that is to be found": (_spoiled, "80%"),
}


def rejected(once: Callable[[Random], float], runs: int, seed: int = 0) -> float:
    """The share of `runs` simulations in which the p-value is below 0.05."""
    rng = np.random.default_rng(seed)
    return float(np.mean([once(rng) <= paired.ALPHA for _ in range(runs)]))


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    runs: Annotated[int, typer.Option(min=20, help="Simulations of each.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """The share of simulations in which each interval holds the truth; exit code 1 if one lies outside 93 to 97%."""
    held = {name: covered(once, runs) for name, once in INTERVALS.items()}
    wolf = {name: rejected(once, runs) for name, (once, _) in TESTS.items()}
    rows = [["95% interval", "holds the truth"], *([name, f"{share:.1%}"] for name, share in held.items())]
    rows += [[""], ["test", "p ≤ 0.05", "should be"]]
    rows += [[name, f"{share:.1%}", TESTS[name][1]] for name, share in wolf.items()]
    outside = [f"{name}: {share:.1%} is not 93 to 97%" for name, share in held.items() if not 0.93 <= share <= 0.97]
    report({"runs": runs, "intervals": held, "tests": wolf, "outside": outside}, rows, outside, as_json=as_json)
    if outside:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
