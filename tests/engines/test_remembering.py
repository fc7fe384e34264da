"""What was asked once is known; what differs in anything that an answer depends on is asked."""

from __future__ import annotations

from dataclasses import replace

from panel.engines.remembering import RememberingEngine
from panel.engines.scripted import ScriptedEngine
from panel.requests import GenerateRequest, Grammar, Message, Sampling, ScoreRequest

REQUEST = GenerateRequest("draft/a", (Message("user", "hello"),), Grammar("lark", "start: x"), Sampling(0.6), seed=1)
SCORE = ScoreRequest("weigh/a", "a prompt", (" good", " bad"))


def engine() -> tuple[ScriptedEngine, RememberingEngine]:
    answers = iter(range(1000))
    inner = ScriptedEngine(lambda _: f"answer {next(answers)}", lambda *_: float(next(answers)))
    return inner, RememberingEngine(inner)


def test_the_same_request_is_computed_once() -> None:
    inner, outer = engine()
    first = outer.generate([REQUEST])
    assert outer.generate([REQUEST, REQUEST]) == first * 2
    assert (len(inner.generated), outer.asked, outer.remembered) == (1, 1, 2)
    assert outer.score([SCORE]) == outer.score([replace(SCORE, key="another")])  # a score depends on no key
    assert len(inner.scored) == 1


def test_whatever_an_answer_depends_on_is_asked_anew() -> None:
    inner, outer = engine()
    others = [
        REQUEST,
        replace(REQUEST, key="draft/b"),
        replace(REQUEST, seed=2),
        replace(REQUEST, opening="So"),
        replace(REQUEST, sampling=Sampling(0.9)),
        replace(REQUEST, messages=(Message("user", "bye"),)),
        replace(REQUEST, grammar=Grammar("lark", "start: y")),
    ]
    texts = [completion.text for completion in outer.generate(others)]
    assert len(set(texts)) == len(others)
    assert outer.generate(others[::-1]) == outer.generate(others)[::-1]
    assert len(inner.generated) == len(others)
    scores = outer.score([SCORE, replace(SCORE, prompt="b"), replace(SCORE, candidates=(" yes",))])
    assert len(set(scores)) == 3


def test_only_what_is_missing_goes_to_the_model_and_the_order_is_kept() -> None:
    inner, outer = engine()
    (first,) = outer.generate([REQUEST])
    new = replace(REQUEST, seed=5)
    found = outer.generate([new, REQUEST, new])
    assert found[1] == first
    assert found[0] == found[2] != first
    assert inner.generated == [REQUEST, new]


def test_the_rest_is_the_models_own() -> None:
    inner, outer = engine()
    assert outer.info == inner.info
    assert outer.count_tokens("a b c") == 3
    assert outer.ordinary_words() == inner.ordinary_words()
