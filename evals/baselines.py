"""What a verdict would be without weighing: the yardsticks that the panel must beat.

Each baseline gives one number per tool and persona; like the panel's, it becomes a probability by a logistic
regression fitted on the train cases, so that no baseline loses for want of a threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from panel.gold import Case
from panel.records import Persona
from panel.requests import Engine, ScoreRequest

#: persona, cases → one number per case, higher for ship
Judge = Callable[[Persona, Sequence[Case]], list[float]]


def always_ship(_persona: Persona, cases: Sequence[Case]) -> list[float]:
    """The same for every tool: `fitted` makes it the share of ships in train, or one half if that is less."""
    return [0.0] * len(cases)


def sentiment(_persona: Persona, cases: Sequence[Case]) -> list[float]:
    """Mean sentiment of the facts by VADER's lexicon (Hutto and Gilbert 2014); the same for every persona."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return [
        sum(analyzer.polarity_scores(item.text)["compound"] for item in case.dossier.evidence)
        / len(case.dossier.evidence)
        for case in cases
    ]


def direct_prompt(persona: Persona, case: Case) -> str:
    """The whole dossier and the question, as one would ask it without a panel."""
    dossier = case.dossier
    facts = "\n".join(f"- {item.text}" for item in dossier.evidence)
    question = f"Question: Should {persona.audience} ship this tool or skip it?\nAnswer:"
    return f"Tool: {dossier.name}. {dossier.tagline}\nFacts:\n{facts}\n\n{question}"


def asked_directly(engine: Engine) -> Judge:
    """The log-odds of " ship" against " skip" after `direct_prompt`."""

    def judge(persona: Persona, cases: Sequence[Case]) -> list[float]:
        requests = [
            ScoreRequest(
                key=f"direct/{persona.slug}/{case.dossier.slug}",
                prompt=direct_prompt(persona, case),
                candidates=(" ship", " skip"),
            )
            for case in cases
        ]
        return [scores.logprobs[0] - scores.logprobs[1] for scores in engine.score(requests)]

    return judge


def fitted(train: Sequence[float], ships: Sequence[bool], values: Sequence[float]) -> list[float]:
    """P(ship) of each of `values`, by a logistic regression on the train cases."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    known = np.array(train)[:, None]
    spread = max(float(known.std()), 1e-9)
    if spread == 1e-9:  # no two are told apart: the base rate
        return [max(sum(ships) / len(ships), 0.5)] * len(values)
    model = LogisticRegression().fit(known / spread, list(ships))
    return [float(p) for p in model.predict_proba(np.array(values)[:, None] / spread)[:, 1]]
