"""openvino and transformers, held to each other on the embedded model: a verdict must not depend on the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from panel.decide import decide
from panel.dossier import load_dossier
from panel.engines import open_engine
from panel.engines.embedded import EMBEDDED
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.requests import Engine, GenerateRequest, Grammar, Message, Sampling, ScoreRequest
from panel.weigh import weigh

pytestmark = [pytest.mark.torch, pytest.mark.model]

CASES = Path(__file__).parents[2] / "evals" / "cases"

#: Nats. Both engines compute in 32-bit floats; what is left is the order of their sums.
BOUND = 5e-4


@pytest.fixture(scope="module")
def engines() -> tuple[Engine, Engine]:
    return open_engine("openvino", "embedded"), open_engine("transformers", "embedded")


def test_both_run_the_same_weights_with_the_same_adapter(engines: tuple[Engine, Engine]) -> None:
    ours, theirs = (engine.info for engine in engines)
    assert (ours.model, ours.model_sha256, ours.adapter_sha256) == (
        theirs.model,
        theirs.model_sha256,
        theirs.adapter_sha256,
    )
    assert ours.adapter_sha256 == EMBEDDED.adapter_sha256 != ""


def test_log_probabilities_of_the_same_candidates(engines: tuple[Engine, Engine]) -> None:
    # prompts of unlike lengths, with and without a shared prefix; candidates of one token and of several
    prompts = ["The capital of France is", "A sandbox", *(f"Fact: it has {n} parts.\nThis is" for n in range(5, 12))]
    requests = [ScoreRequest(f"score/{i}", p, (" good", " bad", " a city of light")) for i, p in enumerate(prompts)]
    ours, theirs = (engine.score(requests) for engine in engines)
    for one, other in zip(ours, theirs, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=BOUND)


def test_the_same_words_under_a_grammar(engines: tuple[Engine, Engine]) -> None:
    grammar = Grammar("words", '{"terms": ["WebAssembly", "sandbox"], "max_words": 12}')
    requests = [
        GenerateRequest(
            f"draft/{n}",
            (Message("user", f"Say one thing about sandbox number {'I' * n}."),),
            grammar,
            Sampling(temperature, 0.9, 24),
            seed=n,
            opening="It helps that",
        )
        for n, temperature in enumerate((0.0, 0.0, 0.7, 0.7))
    ]
    ours, theirs = (engine.generate(requests) for engine in engines)
    assert [c.text for c in ours] == [c.text for c in theirs]


@pytest.mark.parametrize("tool", ["smolagents-2", "mistral-3b"])
def test_the_same_decisions(engines: tuple[Engine, Engine], tool: str) -> None:
    dossier, prompts = load_dossier(CASES / tool), Prompts()
    for persona in load_personas():
        ours, theirs = (weigh(engine, prompts, persona, dossier.evidence) for engine in engines)
        for one, other in zip(ours, theirs, strict=True):
            assert one.log_odds == pytest.approx(other.log_odds, abs=2 * BOUND + 1e-3)  # rounded to 3 decimals
        decision, p_ship = decide(persona, dossier.evidence, ours)
        other_decision, other_p = decide(persona, dossier.evidence, theirs)
        assert decision == other_decision
        assert p_ship == pytest.approx(other_p, abs=0.002)
