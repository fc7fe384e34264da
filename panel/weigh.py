"""How far each piece of evidence pulls one persona toward ship: a pull per piece, and nothing that depends on order.

The model reads the fact and finishes the sentence "For …, this is ⟨good|bad⟩": after a few labelled facts, or, where
an adapter was trained for it, at once. The pull is the log-odds of the two words, less the same for facts without
content (contextual calibration: Zhao et al. 2021, "Calibrate Before Use"), less what real facts without bearing get on
the cases to fit on. Every fact is scored on its own, so permuting a dossier permutes the pulls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from panel.boasts import without_boasts
from panel.records import Evidence, Persona, Pull
from panel.requests import Engine, EngineInfo, ScoreRequest
from panel.screen import screen

#: Facts that say nothing; their mean log-odds is the prior that a persona's wording and examples bring along.
CONTENT_FREE = ("N/A", "The tool has a name.", "This is a sentence about the tool.")
LABELS = (" good", " bad")
#: Raise when this module, `panel.screen` or `panel.boasts` would now give other pulls: calibrations and kept pulls are
#: for one version.
WEIGHING = 3


class Renders(Protocol):
    def render(self, template: str, **values: object) -> str: ...


def weigh(
    engine: Engine, prompts: Renders, persona: Persona, evidence: Sequence[Evidence], *, tool: str = ""
) -> list[Pull]:
    """One `Pull` per piece of evidence, in the order given; log-odds in nats, rounded to 3 decimals.

    Sentences that speak to the reader or only praise are not read (see `panel.screen`), nor are boasts within a
    sentence (`panel.boasts`); a piece of which nothing is left pulls nowhere. `tool` is the slug that requests are
    named by.

    Raises:
        EngineError: the engine cannot score.
    """
    screened = [screen(item.text) for item in evidence]
    facts = [(f"prior-{n}", "capability", text) for n, text in enumerate(CONTENT_FREE, 1)]
    facts += [
        (item.id, item.kind, without_boasts(seen.fact))
        for item, seen in zip(evidence, screened, strict=True)
        if seen.fact
    ]
    requests = [
        ScoreRequest(
            key=f"weigh/{persona.slug}/{tool or '-'}/{name}",
            prompt=weigh_prompt(prompts, persona, kind, text, tuned=bool(engine.info.adapter_sha256)),
            candidates=LABELS,
        )
        for name, kind, text in facts
    ]
    odds = [scores.logprobs[0] - scores.logprobs[1] for scores in engine.score(requests)]
    prior = sum(odds[: len(CONTENT_FREE)]) / len(CONTENT_FREE)
    values = iter(odds[len(CONTENT_FREE) :])
    pulls = []
    for item, seen in zip(evidence, screened, strict=True):
        value = next(values) - prior - persona.calibration.neutral if seen.fact else 0.0
        aside = tuple(f"{sentence} ({reason})" for sentence, reason in seen.set_aside)
        pulls.append(Pull(evidence=item.id, log_odds=round(value, 3) + 0.0, weighed=bool(seen.fact), set_aside=aside))
    return pulls


def weigh_prompt(prompts: Renders, persona: Persona, kind: str, fact: str, *, tuned: bool) -> str:
    """What the model reads before " good" or " bad"; a `tuned` one needs no examples."""
    if tuned:
        return prompts.render("weigh_tuned", audience=persona.audience, kind=kind, fact=fact)
    return prompts.render("weigh", examples=persona.examples, audience=persona.audience, fact=fact)


def weighing_of(prompts: Renders, persona: Persona, info: EngineInfo) -> str:
    """All that `weigh` asks a model for this persona, but for the facts; what is fitted on pulls is keyed by it."""
    return f"{WEIGHING}\n{weigh_prompt(prompts, persona, 'capability', '?', tuned=bool(info.adapter_sha256))}"
