"""The probes of whole reviews, agents and drafts included: other seeds, the same seed twice, lists in another order.

Reviews are stored as those of `review-panel compare` are, so that a stopped run goes on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evals.grounded import Count, check, dossier_words
from evals.stability.ground import Ground, Subjects
from evals.stability.probes import Found, compared
from evals.stability.record import Probe
from panel.gold import Case
from panel.records import Dossier, Persona, Review
from panel.run import compare

Dossiers = Callable[[Dossier], Dossier]
Personas = Callable[[Persona], Persona]


@dataclass(frozen=True)
class LivePlan:
    """A probe and the runs that it takes: label, folder, seed; `dossier` and `persona` say what is changed."""

    probe: Probe
    runs: tuple[tuple[str, str, int], ...]
    dossier: Dossiers = lambda dossier: dossier
    persona: Personas = lambda persona: persona
    applies: Callable[[Dossier], bool] = lambda _: True

    def trials(self, ground: Ground, subjects: Subjects, cases: Sequence[Case]) -> Iterator[Found]:
        """Also a review whose text has a name or number from outside the dossier does not hold."""
        chosen = [case for case in cases if self.applies(case.dossier)]
        personas = [self.persona(persona) for persona in ground.personas]
        first: dict[tuple[str, str], str] = {}
        for label, folder, seed in self.runs if chosen else ():
            reviews = _reviews(ground, [self.dossier(case.dossier) for case in chosen], personas, folder, seed)
            for case in chosen:
                for persona in personas:
                    review = reviews[case.dossier.slug, persona.slug]
                    subject = subjects[case.dossier.slug, persona.slug]
                    answer = review.decision or "unscored", review.p_ship
                    written = hashlib.sha256(review.quote.encode()).hexdigest()[:16] if review.quote else ""
                    trial = compared(self.probe, label, (subject.decision, subject.p_ship), answer, written=written)
                    reason = review.reason or _not_grounded(review, case.dossier, persona)
                    if self.probe.name == "same-seed" and not reason:
                        other = first.setdefault((case.dossier.slug, persona.slug), written) != written
                        reason = "the same seed wrote another text" if other else ""
                    if reason:
                        trial = trial.model_copy(update={"held": False, "reason": reason})
                    yield case.dossier.slug, persona.slug, trial

    def reviews(self, cases: Sequence[Case], personas: int) -> int:
        """How many reviews it takes."""
        return len(self.runs) * personas * sum(self.applies(case.dossier) for case in cases)


def live_plans(seeds: int) -> list[LivePlan]:
    """`plain` runs are shared: what one probe has run with a seed, another finds done."""
    every = tuple((f"seed {seed}", "plain", seed) for seed in range(seeds))
    return [
        LivePlan(_probe("live", "rerun", "the whole review with other seeds"), every),
        LivePlan(
            _probe("same-seed", "rerun", "the whole review twice with one seed"),
            (("first", "plain", 0), ("again", "again", 0)),
        ),
        LivePlan(
            _probe("rivals", "order", "rivals in the opposite order"),
            (("reversed", "rivals", 0),),
            dossier=lambda d: d.model_copy(update={"rivals": d.rivals[::-1]}),
            applies=lambda d: len(d.rivals) > 1,
        ),
        LivePlan(
            _probe("plans", "order", "price plans in the opposite order"),
            (("reversed", "plans", 0),),
            dossier=lambda d: d.model_copy(update={"pricing": d.pricing[::-1]}),
            applies=lambda d: len(d.pricing) > 1,
        ),
        LivePlan(
            _probe("beats", "order", "the persona's beats in the opposite order"),
            (("reversed", "beats", 0),),
            persona=lambda p: p.model_copy(update={"beats": p.beats[::-1]}),
        ),
    ]


def _probe(name: str, family: str, title: str) -> Probe:
    told = {"name": name, "family": family, "expects": "same", "title": title, "exact": True, "live": True}
    return Probe.model_validate(told)


def _reviews(
    ground: Ground, dossiers: Sequence[Dossier], personas: Sequence[Persona], folder: str, seed: int
) -> dict[tuple[str, str], Review]:
    def told(what: str) -> None:
        if what in ("reused", "scored", "unscored"):
            ground.progress.advance()

    outcome = compare(
        dossiers,
        personas,
        ground.prompts,
        ground.rerun(folder) if folder == "again" else ground.engine,
        out=ground.out / "live" / folder,
        seed=seed,
        on_event=lambda event: told(event.what),
    )
    return {(tool.slug, review.persona): review for tool in outcome.record.tools for review in tool.reviews}


def _not_grounded(review: Review, dossier: Dossier, persona: Persona) -> str:
    """The first name or number of the review that its dossier does not have, by a check of its own (evals.grounded)."""
    count = Count()
    check(review.quote, dossier_words(dossier.model_dump(mode="json")), persona, count, "")
    return count.missing[0].removeprefix(": ")[:200] + ", which the dossier does not have" if count.missing else ""
