"""Two versions of a persona, whole: the text, the verdicts, and what they write about the tools that moved most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from panel.gold import Case
from panel.records import Dossier, Persona, Review
from panel.run import calibrate_for, review
from panel.tuning.changes import Change
from panel.tuning.effect import Effect, Judge, effect


@dataclass(frozen=True)
class Quotes:
    """The reviews of one tool by both versions."""

    tool: str
    before: Review
    after: Review

    def beats(self) -> list[tuple[str, str, str]]:
        """Beat, text before, text after; "" where a side lacks it or is unscored."""
        left, right = ({beat.name: beat.text for beat in one.beats} for one in (self.before, self.after))
        return [(name, left.get(name, ""), right.get(name, "")) for name in left | right]


@dataclass(frozen=True)
class Difference:
    """One persona on both sides.

    `effect` is None where the change reaches no verdict, and so moves none. `fitted_on` counts the cases that both
    versions were calibrated on, for this comparison alone. `unlearned` says that the model's adapter has learned to
    read for another audience than one of the versions has.
    """

    slug: str
    changes: tuple[Change, ...]
    effect: Effect | None = None
    fitted_on: int = 0
    unlearned: bool = False
    quotes: tuple[Quotes, ...] = ()
    uncalibrated: bool = False

    def as_data(self) -> dict[str, Any]:
        return {
            "persona": self.slug,
            "changes": [asdict(change) | {"reach": change.reach} for change in self.changes],
            "effect": self.effect.as_data() if self.effect else None,
            "fitted_on": self.fitted_on,
            "unlearned": self.unlearned,
            "quotes": [
                {"tool": q.tool, "beats": [dict(zip(("beat", "before", "after"), b, strict=True)) for b in q.beats()],
                 "unscored": {side: one.reason for side, one in (("before", q.before), ("after", q.after))
                              if one.reason is not None}}
                for q in self.quotes
            ],
        }  # fmt: skip


def difference(
    judge: Judge,
    before: Persona,
    after: Persona,
    changed: Sequence[Change],
    cases: Sequence[Case],
    *,
    fit_on: Sequence[Case],
    reworded: Sequence[Sequence[Dossier]],
    quotes: int,
    folder: Path,
    **how: Any,
) -> Difference:
    """What a change does to verdicts and quotes.

    Where it reaches the verdicts, neither version may keep a calibration that was made for it at another time: both are
    fitted on `fit_on`, so that what differs is the change and nothing else.

    Args:
        reworded: for each case its dossier in other words.
        quotes: of how many tools, those first whose verdict flips, then those that move most.
        folder: of the calibrations that count where the change reaches no verdict.
        how: `out`, `seed`, `loop` and `fresh` of `panel.run.review`.

    Raises:
        SetupError: scikit-learn or scipy is missing, `fit_on` has one verdict only, or a file is wrong.
    """
    found: Effect | None = None
    fitted_on = 0
    if judge.key(before) != judge.key(after):
        before, after = (judge.fitted(persona, fit_on) for persona in (before, after))
        found, fitted_on = effect(judge, before, after, cases, reworded), len(fit_on)
    else:
        before, after = calibrate_for([before, after], judge.prompts, judge.engine, folder)
    chosen = _most_moved(found, cases)[:quotes]
    written = [
        {tool: one for (tool, _), one in review(chosen, [persona], judge.prompts, judge.engine, **how).items()}
        for persona in (before, after)
    ]
    return Difference(
        before.slug,
        tuple(changed),
        found,
        fitted_on,
        unlearned=bool(judge.engine.info.adapter_sha256) and before.audience != after.audience,
        quotes=tuple(Quotes(one.slug, written[0][one.slug], written[1][one.slug]) for one in chosen),
        uncalibrated=not (before.calibration.fitted and after.calibration.fitted),
    )


def _most_moved(found: Effect | None, cases: Sequence[Case]) -> list[Dossier]:
    if found is None:
        return [case.dossier for case in cases]
    moved = {cell.tool: (cell.flipped, abs(cell.after - cell.before)) for cell in found.cells}
    return sorted((case.dossier for case in cases), key=lambda dossier: moved[dossier.slug], reverse=True)
