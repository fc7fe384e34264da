"""Changes of a persona that are worth making: searched on some cases, confirmed on others that no search has seen.

One change at a time, the one that brings p_ship closest to gold (Brier's score, with the decision fitted anew for each
change), until none brings enough. Dozens of changes tried on a few dozen tools always find something; what they found
counts only if the interval of the paired difference on the development cases lies below zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from panel.calibrate import DEADBAND, fit_sums, moved, neutral_of
from panel.decide import distinct_facts, levelled
from panel.errors import SetupError
from panel.gold import Case
from panel.records import KINDS, Calibration, Candidates, Kind, Persona
from panel.tuning.effect import Effect, Judge, effect

#: What a lens weight is multiplied by where the file names no candidates for it.
FACTORS = (0.0, 0.5, 0.75, 1.25, 1.5, 2.0)
#: What one change must take off the Brier score of the search cases.
MIN_GAIN = 0.002
ROUNDS = 4


@dataclass(frozen=True)
class Move:
    """One change of one field, in words, and the persona with it."""

    field: str
    old: str
    new: str
    persona: Persona


@dataclass(frozen=True)
class Step:
    """A change that was kept, in words, and the Brier score of the search cases with it."""

    field: str
    old: str
    new: str
    brier: float


@dataclass(frozen=True)
class Found:
    """What a search came to.

    `before` and `after` are calibrated on the same cases; they are one and the same where no step was taken.
    `tried` counts the changes that were looked at.
    """

    before: Persona
    after: Persona
    start: float
    steps: tuple[Step, ...]
    tried: int
    dev: Effect | None

    @property
    def confirmed(self) -> bool:
        """Whether the development cases bear it out."""
        return self.dev is not None and better(self.dev)


def better(found: Effect) -> bool:
    """Whether the whole interval of the change of the Brier score lies below zero."""
    return found.brier_moved().high < 0


def tune(
    judge: Judge,
    persona: Persona,
    *,
    search: Sequence[Case],
    dev: Sequence[Case],
    rounds: int = ROUNDS,
    on_round: Callable[[int, int], None] = lambda *_: None,
) -> Found:
    """Search for a better persona, and see whether `dev` bears it out.

    Args:
        search: cases that changes are chosen by, and on which the decisions that `dev` is judged with are fitted.
        rounds: how many changes may be kept.
        on_round: told of each round, and how many changes it looks at.

    Raises:
        SetupError: scikit-learn or scipy is missing, or cases have one verdict only.
    """
    tuned = bool(judge.engine.info.adapter_sha256)
    weighed: dict[str, _Weighed] = {}

    def score(candidate: Persona) -> float:
        key = judge.weighing(candidate)
        if key not in weighed:
            weighed[key] = _Weighed(judge, candidate, search)
        return weighed[key].brier(candidate)

    current, start = persona, score(persona)
    now, steps, tried = start, [], 0
    for number in range(1, rounds + 1):
        options = list(moves(current, tuned=tuned))
        on_round(number, len(options))
        tried += len(options)
        scored = [(score(move.persona), place) for place, move in enumerate(options)]
        if not scored or min(scored)[0] > now - MIN_GAIN:
            break
        now, place = min(scored)
        kept = options[place]
        current = kept.persona
        steps.append(Step(kept.field, kept.old, kept.new, now))
    before = judge.fitted(persona, search)
    if not steps:
        return Found(before, before, start, (), tried, None)
    after = judge.fitted(current, search)
    return Found(before, after, start, tuple(steps), tried, effect(judge, before, after, dev))


def moves(persona: Persona, *, tuned: bool) -> Iterator[Move]:
    """Every persona that is one change away: a weight of the lens, the audience, an example for one of its label.

    Args:
        tuned: whether the model has an adapter, and so is shown no examples.
    """
    known = persona.candidates
    for kind, weights in _weights(persona, known):
        for weight in weights:
            if weight != persona.lens[kind]:
                changed = persona.model_copy(update={"lens": {**persona.lens, kind: weight}})
                yield Move(f"lens.{kind}", f"{persona.lens[kind]:g}", f"{weight:g}", changed)
    for audience in known.audience:
        if audience != persona.audience:
            yield Move("audience", persona.audience, audience, persona.model_copy(update={"audience": audience}))
    shown = {example.fact for example in persona.examples}
    for place, old in enumerate(() if tuned else persona.examples):
        for new in known.examples:
            if new.label == old.label and new.fact not in shown:
                examples = (*persona.examples[:place], new, *persona.examples[place + 1 :])
                changed = persona.model_copy(update={"examples": examples})
                yield Move(f"examples.{place + 1}", old.fact, new.fact, changed)


def _weights(persona: Persona, known: Candidates) -> Iterator[tuple[Kind, tuple[float, ...]]]:
    """What each weight may become: what the file names, or, where it names no weights at all, multiples."""
    if known.lens:
        yield from known.lens.items()
        return
    usual = sum(persona.lens.values()) / len(persona.lens)
    for kind, weight in persona.lens.items():
        yield kind, tuple(round((weight or usual) * factor, 2) for factor in FACTORS)  # no multiple of 0 is another


class _Weighed:
    """The search cases as one weighing sees them; every lens is then a product of two matrices."""

    def __init__(self, judge: Judge, persona: Persona, cases: Sequence[Case]) -> None:
        import numpy as np

        plain = persona.model_copy(update={"calibration": Calibration()})
        rows = judge.pulls(plain, [case.dossier.evidence for case in cases])
        self._neutral = neutral_of(persona.slug, cases, rows)
        self._ships = [case.gold.verdicts[persona.slug] == "ship" for case in cases]
        if len(set(self._ships)) < 2:
            raise SetupError(
                f"{persona.slug} has the same verdict in all {len(cases)} cases",
                fix="give cases with both verdicts to --cases",
            )
        #: by side (ship, skip), tool and kind: the sum of the facts' sizes, in nats
        kinds = sorted(KINDS)
        self._sizes = np.zeros((2, len(cases), len(kinds)))
        for tool, (case, row) in enumerate(zip(cases, rows, strict=True)):
            for kind, size, ships in distinct_facts(case.dossier.evidence, moved(row, self._neutral), DEADBAND):
                self._sizes[0 if ships else 1, tool, kinds.index(kind)] += size

    def brier(self, persona: Persona) -> float:
        """The Brier score of the search cases, with the decision fitted on them."""
        import numpy as np

        sides = self._sizes @ np.array([weight for _, weight in sorted(persona.lens.items())])
        rows = [(levelled(float(toward)), levelled(float(against))) for toward, against in sides.T]
        fitted = fit_sums(rows, self._ships, self._neutral)
        total = 0.0
        for (toward, against), ships in zip(rows, self._ships, strict=True):
            z = fitted.intercept + fitted.strengths * toward - fitted.weaknesses * against
            total += (1 / (1 + math.exp(-max(-500.0, min(500.0, z)))) - ships) ** 2
        return total / len(rows)
