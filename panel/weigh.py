"""How far each piece of evidence pulls one persona toward ship: a pull per piece, and nothing that depends on order.

The model reads a few labelled facts, then the fact, and finishes the sentence "For …, this is ⟨good|bad⟩". The
pull is the log-odds of the two words, less the same for facts without content (contextual calibration: Zhao et al.
2021, "Calibrate Before Use"), less what real facts without bearing get on the train cases. Every fact is scored on
its own, so permuting a dossier permutes the pulls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from panel.records import Evidence, Persona, Pull
from panel.requests import Engine, ScoreRequest

#: Facts that say nothing; their mean log-odds is the prior that a persona's wording and examples bring along.
CONTENT_FREE = ("N/A", "The tool has a name.", "This is a sentence about the tool.")
LABELS = (" good", " bad")


class Renders(Protocol):
    def render(self, template: str, **values: object) -> str: ...


def weigh(engine: Engine, prompts: Renders, persona: Persona, evidence: Sequence[Evidence]) -> list[Pull]:
    """One `Pull` per piece of evidence, in the order given; log-odds in nats, rounded to 3 decimals.

    Raises:
        EngineError: the engine cannot score.
    """
    texts = [*CONTENT_FREE, *(item.text for item in evidence)]
    requests = [
        ScoreRequest(
            key=f"weigh/{persona.slug}/{index:03d}",
            prompt=prompts.render("weigh", examples=persona.examples, audience=persona.audience, fact=text),
            candidates=LABELS,
        )
        for index, text in enumerate(texts)
    ]
    odds = [scores.logprobs[0] - scores.logprobs[1] for scores in engine.score(requests)]
    prior = sum(odds[: len(CONTENT_FREE)]) / len(CONTENT_FREE)
    return [
        Pull(evidence=item.id, log_odds=round(value - prior - persona.calibration.neutral, 3) + 0.0)
        for item, value in zip(evidence, odds[len(CONTENT_FREE) :], strict=True)
    ]
