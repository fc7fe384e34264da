"""From what a contender printed to figures, and from figures to ratios. Pure arithmetic.

A rate is reviews over the minutes of all rounds; loading and warming up are outside. Where none of n tries was valid,
the chance of a valid one is, with 95% confidence, at most 1 − 0.05^(1/n), the exact form of the rule of three (3 / n,
Hanley and Lippman-Hand 1983); times the tries per minute that bounds the rate.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evals.bench.children import Ended
from evals.validity import Verdict


@dataclass(frozen=True)
class Rate:
    """`valid` of `tries` in `minutes`. `upper` is the 95% bound of `per_minute` where none was valid."""

    valid: int
    tries: int
    minutes: float

    @property
    def per_minute(self) -> float:
        return self.valid / self.minutes if self.minutes else 0.0

    @property
    def upper(self) -> float | None:
        if self.valid or not self.tries or not self.minutes:
            return None
        return (1 - math.pow(0.05, 1 / self.tries)) * self.tries / self.minutes

    def shown(self) -> str:
        if self.upper is not None:
            return f"0 (under {self.upper:.2g})"
        return f"{self.per_minute:.3g}" if self.tries else "—"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "per_minute": self.per_minute, "upper_95": self.upper}


@dataclass(frozen=True)
class Spread:
    """The median, and the least and the most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        return cls(statistics.median(values), min(values), max(values)) if values else None

    def shown(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}–{self.high:.3g})"


@dataclass(frozen=True)
class Figures:
    """What one contender did; None where there is nothing to say.

    `first_review_s` counts from the start of the process to its first well-formed review, without the warm-up;
    `written_per_s` and `read_per_s` are tokens; `share` is of the ceiling's speed on the same tokens.
    """

    well_formed: Rate
    grounded: Rate
    seconds_per_review: Spread | None
    first_review_s: float | None
    load_s: float | None
    written_per_s: float | None
    read_per_s: float | None
    peak_bytes: int | None
    faults: dict[str, int]
    share: Spread | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "well_formed": self.well_formed.to_json(), "grounded": self.grounded.to_json()}


def figures(ended: Ended, judge: Callable[[dict[str, Any]], Verdict]) -> Figures:
    """The figures of the rounds that were finished; `judge` is given a line of event `review`."""
    rounds, ready = ended.of("round"), ended.of("ready")
    reviews = ended.of("review")[: sum(line["reviews"] for line in rounds)]
    verdicts = [judge(line) for line in reviews]
    seconds = sum(line["seconds"] for line in rounds)
    minutes, tries = seconds / 60, len(reviews)
    warm_up = ready[0]["warm_up_s"] if ready else 0.0
    arrivals = [line["at"] for line, verdict in zip(reviews, verdicts, strict=True) if verdict.well_formed]
    done = ended.of("done")
    return Figures(
        well_formed=Rate(sum(v.well_formed for v in verdicts), tries, minutes),
        grounded=Rate(sum(v.grounded for v in verdicts), tries, minutes),
        seconds_per_review=Spread.of([line["seconds"] / line["reviews"] for line in rounds if line["reviews"]]),
        first_review_s=min(arrivals) - warm_up if arrivals else None,
        load_s=ready[0]["load_s"] if ready else None,
        written_per_s=sum(line["completion_tokens"] for line in rounds) / seconds if seconds else None,
        read_per_s=sum(line["prompt_tokens"] for line in rounds) / seconds if seconds else None,
        peak_bytes=done[0]["peak_bytes"] if done else None,
        faults=dict(Counter(fault for verdict in verdicts for fault in verdict.faults).most_common()),
    )


@dataclass(frozen=True)
class Ratio:
    """How many times as many reviews per minute as a peer; `more_than` where only a bound of the peer's is known.

    `value` is None where it cannot be said: the peer did not run, or made no try.
    """

    peer: str
    wanted: float
    value: float | None
    more_than: bool = False

    @property
    def met(self) -> bool | None:
        return None if self.value is None else self.value >= self.wanted

    def shown(self) -> str:
        if self.value is None:
            return "not measured"
        return f"{'more than ' if self.more_than else ''}{self.value:.3g} times"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def ratio(ours: Rate, theirs: Rate | None, peer: str, wanted: float) -> Ratio:
    """`ours` over `theirs`, by `per_minute`, or over the upper bound where the peer had no valid review."""
    if theirs is None or not theirs.tries or not theirs.minutes:
        return Ratio(peer, wanted, None)
    bound = theirs.upper
    return Ratio(peer, wanted, ours.per_minute / (theirs.per_minute if bound is None else bound), bound is not None)


def shares(ours: Sequence[float], ceiling: Sequence[float]) -> Spread | None:
    """Share of the ceiling's speed, round by round: its seconds over ours."""
    return Spread.of([limit / seconds for limit, seconds in zip(ceiling, ours, strict=False) if seconds])
