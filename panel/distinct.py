"""No two reviewers of a tool say a thing in the same words.

Each reviewer writes without knowing of the others, so that a review stands for itself and can be kept. Two who cite the
same fact, however, often go on from it in the same likeliest words. When all of a tool's reviews are there, the panel's
order decides who keeps them; whoever comes later writes that beat again, in less likely words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from panel.draft import BeatPlan, Renders, draft_beats, planned, said
from panel.records import Beat, Dossier, Persona, Review
from panel.requests import Engine
from panel.screen import readable

#: Passes: two who both write a beat again can come upon the same words once more, or find none that pass the checks.
PASSES = 4
#: Runs what it is given side by side on one engine, and returns when all of it is done.
Together = Callable[[Sequence[Callable[[Engine], None]]], None]


def distinct(
    tools: Sequence[tuple[Dossier, Sequence[Review]]],
    personas: Mapping[str, Persona],
    prompts: Renders,
    together: Together,
) -> list[list[Review]]:
    """The reviews of each tool, in their order, with beats that repeat another reviewer's words written again.

    A beat that comes out no better stays as it was. Raises what the engine raises.
    """
    found = [list(reviews) for _, reviews in tools]
    dossiers = [readable(dossier) for dossier, _ in tools]
    for attempt in range(PASSES):
        tasks: list[Callable[[Engine], None]] = []
        for dossier, reviews in zip(dossiers, found, strict=True):
            for index, (again, taken) in enumerate(_repeated(dossier, reviews, personas)):
                if again:
                    tasks.append(_task(prompts, personas, dossier, reviews, index, again, taken, attempt))
        if not tasks:
            break
        together(tasks)
    return found


def _repeated(
    dossier: Dossier, reviews: Sequence[Review], personas: Mapping[str, Persona]
) -> list[tuple[list[BeatPlan], frozenset[str]]]:
    """For each review the beats that say what an earlier review says, and all that the other reviews say."""
    spoken: list[list[tuple[BeatPlan, Beat, str]]] = []
    for review in reviews:
        own = []
        for beat in review.beats:
            if review.decision is not None and not beat.silent:  # one without words of its own repeats nothing
                plan = planned(personas[review.persona], dossier, review.decision, beat)
                own.append((plan, beat, said(beat, plan)))
        spoken.append(own)
    found = []
    for index, own in enumerate(spoken):
        before = {words for other in spoken[:index] for _, _, words in other}
        others = {words for k, other in enumerate(spoken) if k != index for _, _, words in other}
        found.append(([plan for plan, _, words in own if words in before], frozenset(others)))
    return found


def _task(
    prompts: Renders,
    personas: Mapping[str, Persona],
    dossier: Dossier,
    reviews: list[Review],
    index: int,
    again: Sequence[BeatPlan],
    taken: frozenset[str],
    attempt: int,
) -> Callable[[Engine], None]:
    review = reviews[index]

    def work(engine: Engine) -> None:
        names, persona = {plan.spec.name for plan in again}, personas[review.persona]
        standing = [
            beat.text.removeprefix(planned(persona, dossier, review.decision, beat).stem)
            for beat in review.beats
            if review.decision is not None and not beat.silent and beat.name not in names
        ]
        written = draft_beats(
            engine, prompts, persona, dossier, again, seed=review.provenance.seed, attempt=attempt,
            others=standing, taken=taken,
        )  # fmt: skip
        better = {beat.name: beat for beat, problems, _ in written if not problems}
        beats = tuple(better.get(beat.name, beat) for beat in review.beats)
        tokens = review.provenance.completion_tokens + sum(tokens for _, _, tokens in written)
        made = review.provenance.model_copy(update={"completion_tokens": tokens})
        quote = " ".join(beat.text for beat in beats)
        reviews[index] = review.model_copy(update={"beats": beats, "quote": quote, "provenance": made})

    return work
