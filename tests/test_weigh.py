"""Pulls: the difference of two log-probabilities, less that of facts without content; one fact at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from panel.engines.scripted import ScriptedEngine
from panel.errors import EngineError
from panel.prompts import Prompts
from panel.records import Calibration, Dossier, Evidence, Persona, Pull
from panel.requests import ScoreRequest, Scores
from panel.weigh import CONTENT_FREE, LABELS, weigh
from tests.scripted import last_fact


@pytest.fixture
def builder(persona: Callable[[str], Persona]) -> Persona:
    """The builder without a calibration, so that sums can be worked by hand."""
    return persona("builder").model_copy(update={"calibration": Calibration()})


def engine(rates: dict[tuple[str, str], float]) -> ScriptedEngine:
    """Answers from a table by fact and word, −1 where it has none."""
    return ScriptedEngine(lambda request: "", lambda prompt, word: rates.get((last_fact(prompt), word.strip()), -1.0))


def test_a_pull_worked_by_hand(prompts: Prompts, builder: Persona, fact: Callable[..., Evidence]) -> None:
    """The prior is the mean of −0.2 − −1.0 = 0.8 for each of three empty facts. E1: (−0.1 − −2.3) − 0.8 = 1.4.
    E2: (−3.0 − −0.5) − 0.8 = −3.3. E3, of which the engine thinks as of the empty ones: 0."""
    rates = {(empty, "good"): -0.2 for empty in CONTENT_FREE}
    rates |= {("It runs.", "good"): -0.1, ("It runs.", "bad"): -2.3, ("It is blue.", "good"): -0.2}
    rates |= {("It leaks.", "good"): -3.0, ("It leaks.", "bad"): -0.5}
    evidence = [fact("E1", "It runs."), fact("E2", "It leaks."), fact("E3", "It is blue.")]
    assert weigh(engine(rates), prompts, builder, evidence) == [
        Pull(evidence="E1", log_odds=1.4), Pull(evidence="E2", log_odds=-3.3), Pull(evidence="E3", log_odds=0.0),
    ]  # fmt: skip
    # Where facts without bearing stand at 0.4 for a persona, that is its zero.
    calibrated = builder.model_copy(update={"calibration": Calibration(neutral=0.4)})
    assert [p.log_odds for p in weigh(engine(rates), prompts, calibrated, evidence)] == [1.0, -3.7, -0.4]


def test_nothing_is_written_as_minus_nothing(prompts: Prompts, builder: Persona, fact: Callable[..., Evidence]) -> None:
    rates = {("It runs.", "good"): -1.0001}
    (pull,) = weigh(engine(rates), prompts, builder, [fact("E1", "It runs.")])
    assert str(pull.log_odds) == "0.0"


def test_each_fact_is_scored_on_its_own(prompts: Prompts, builder: Persona, dossier: Dossier) -> None:
    """No prompt holds a second piece of evidence, so what stands beside a fact cannot pull it."""
    asked = engine({})
    weigh(asked, prompts, builder, dossier.evidence)
    assert len(asked.scored) == len(CONTENT_FREE) + len(dossier.evidence)
    assert len({request.key for request in asked.scored}) == len(asked.scored)
    texts = [*CONTENT_FREE, *(item.text for item in dossier.evidence)]
    for request, text in zip(asked.scored, texts, strict=True):
        assert request.candidates == LABELS == (" good", " bad")
        assert [t for t in texts if f"Fact: {t}\n" in request.prompt] == [text]
        assert request.prompt.endswith(f"For {builder.audience}, this is")
        assert all(example.fact in request.prompt for example in builder.examples)


def test_permuting_the_evidence_permutes_the_pulls(
    prompts: Prompts, persona: Callable[[str], Persona], dossier: Dossier
) -> None:
    rates = {(item.text, "good"): -0.1 * n for n, item in enumerate(dossier.evidence)}
    forward = weigh(engine(rates), prompts, persona("futurist"), dossier.evidence)
    backward = weigh(engine(rates), prompts, persona("futurist"), dossier.evidence[::-1])
    assert backward == forward[::-1]
    assert len({pull.log_odds for pull in forward}) == len(forward)


def test_what_an_engine_raises_is_passed_on(
    prompts: Prompts, persona: Callable[[str], Persona], dossier: Dossier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(requests: list[ScoreRequest]) -> list[Scores]:
        raise EngineError("out of memory", retryable=True)

    broken = engine({})
    monkeypatch.setattr(broken, "score", refuse)
    with pytest.raises(EngineError, match="out of memory"):
        weigh(broken, prompts, persona("builder"), dossier.evidence)
