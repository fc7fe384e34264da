"""What a difference between two personas on the same few tools can show, and what it cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from panel.errors import SetupError

_RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """A mean difference with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def plain(self, digits: int = 3) -> str:
        """With signs: −0.041 (−0.082 to +0.003)."""
        return f"{self.value:+.{digits}f} ({self.low:+.{digits}f} to {self.high:+.{digits}f})".replace("-", "−")


def paired(differences: Sequence[float], seed: int = 0) -> Interval:
    """The mean of `differences`, one per tool, with a bootstrap interval from resampling the tools.

    Percentiles of the resampled means, taken further out than 2.5% and 97.5% as far as the t distribution of so few
    values lies further out than the normal one (Hesterberg 2015, "What Teachers Should Know About the Bootstrap",
    "expanded percentile"): the plain ones cover too little on a dozen tools. 0 of no differences at all.

    Args:
        seed: of the resamples, so that the same differences give the same interval.

    Raises:
        SetupError: scipy is missing.
    """
    import numpy as np

    values = np.asarray(differences, dtype=float)
    count = len(values)
    if count < 2:
        return Interval(*([float(values.mean()) if count else 0.0] * 3))
    means = values[np.random.default_rng(seed).integers(0, count, (_RESAMPLES, count))].mean(axis=1)
    tail = _tail(count)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(values.mean()), float(low), float(high))


@cache
def _tail(count: int) -> float:
    """The share of resamples to leave out on each side."""
    try:
        from scipy.stats import t
    except ImportError as error:
        raise SetupError("an interval needs scipy", fix="pip install 'review-panel[evals]'") from error
    further = math.sqrt(count / (count - 1)) * float(t.ppf(0.025, count - 1))
    return 0.5 * math.erfc(-further / math.sqrt(2))  # the normal distribution up to there


def unseen(count: int) -> float:
    """The share of tools that may differ, at 95% confidence, where none of `count` does: 1 − 0.05^(1/count).

    A bootstrap of differences that are all zero has no width, and would claim that there is no difference anywhere.
    """
    return float(1.0 - 0.05 ** (1 / count))


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p of McNemar's test: of the tools that changed sides, as many should gain as lose (Fay 2010)."""
    changed = gained + lost
    if changed == 0:
        return 1.0
    tail = sum(math.comb(changed, k) for k in range(min(gained, lost) + 1)) * 0.5**changed
    return float(min(1.0, 2 * tail))
