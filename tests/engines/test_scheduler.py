"""Agents that ask at the same time are answered together, each with its own answers, whoever came first."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from panel.engines.scheduler import Scheduler
from panel.errors import EngineError
from panel.requests import Completion, EngineInfo, GenerateRequest, Grammar, Message, ScoreRequest, Scores


class Engine:
    """Answers each request with its own key, and keeps the batches; refuses the keys in `refused`."""

    def __init__(self, refused: Sequence[str] = ()) -> None:
        self.batches: list[list[str]] = []
        self.refused = set(refused)
        self.info = EngineInfo("fake", "1", "m", "0")

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        self._note(requests)
        return [Completion(r.key, 0, 0, 0, 0.0, "stop") for r in requests]

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        self._note(requests)
        return [Scores((float(len(r.prompt)),), 0) for r in requests]

    def count_tokens(self, text: str) -> int:
        return 7

    def ordinary_words(self) -> frozenset[str]:
        return frozenset({"a"})

    def _note(self, requests: Sequence[GenerateRequest | ScoreRequest]) -> None:
        self.batches.append([r.key for r in requests])
        if not self.refused.isdisjoint(r.key for r in requests):
            raise EngineError("cannot do this")


def ask(*keys: str) -> list[GenerateRequest]:
    return [GenerateRequest(k, (Message("user", "x"),), Grammar("lark", "start: /x/")) for k in keys]


def run(agents: Sequence[Callable[[], None]]) -> None:
    """Each in a thread, started in a random order; fails where one of them hangs."""
    threads = [threading.Thread(target=agent, daemon=True) for agent in agents]
    for thread in random.sample(threads, len(threads)):
        thread.start()
        time.sleep(random.random() / 500)  # noqa: S311
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads), "an agent waits for ever"


def test_whoever_is_ahead_writes_when_all_write() -> None:
    """One agent takes two steps and the other three; what they write goes out together all the same."""
    engine = Engine()
    scheduler = Scheduler(engine, seats=2)

    def agent(name: str, steps: int) -> None:
        with scheduler.seat():
            for step in range(steps):
                scheduler.generate([replace(r, continues=True) for r in ask(f"{name}/{step}")])
            scheduler.score([ScoreRequest(f"{name}/weigh", "x", ("y",))])
            scheduler.generate(ask(f"{name}/draft"))

    run([lambda: agent("a", 2), lambda: agent("b", 3)])
    assert engine.batches == [["a/0", "b/0"], ["a/1", "b/1"], ["a/weigh"], ["b/2"], ["b/weigh"], ["a/draft", "b/draft"]]


@pytest.mark.parametrize("attempt", range(5))
def test_batches_follow_the_steps_and_not_the_threads(attempt: int) -> None:
    """Three agents with 1, 2 and 3 steps: three of them ask first, then two, then one; always in the same order."""
    engine = Engine()
    scheduler = Scheduler(engine, seats=3)
    got: dict[str, list[str]] = {}

    def agent(name: str, steps: int) -> None:
        with scheduler.seat():
            for step in range(steps):
                keys = [f"{name}/{step}/{k}" for k in range(2)]
                got.setdefault(name, []).extend(c.text for c in scheduler.generate(ask(*keys)))
                time.sleep(random.random() / 200)  # noqa: S311

    run([lambda n=n, s=s: agent(n, s) for n, s in (("a", 1), ("b", 2), ("c", 3))])  # type: ignore[misc]
    assert engine.batches == [
        ["a/0/0", "a/0/1", "b/0/0", "b/0/1", "c/0/0", "c/0/1"],
        ["b/1/0", "b/1/1", "c/1/0", "c/1/1"],
        ["c/2/0", "c/2/1"],
    ]
    assert got == {
        n: [f"{n}/{s}/{k}" for s in range(steps) for k in range(2)] for n, steps in (("a", 1), ("b", 2), ("c", 3))
    }


def test_scores_and_texts_are_asked_for_apart_and_in_that_order() -> None:
    engine = Engine()
    scheduler = Scheduler(engine, seats=2)
    got: list[object] = []

    def scores() -> None:
        with scheduler.seat():
            got.append(scheduler.score([ScoreRequest("s", "four", (" a",))]))

    def writes() -> None:
        with scheduler.seat():
            got.append(scheduler.generate(ask("g"))[0].text)

    run([writes, scores])
    assert engine.batches == [["s"], ["g"]]
    assert [Scores((4.0,), 0)] in got
    assert "g" in got


def test_who_leaves_lets_the_others_go_on() -> None:
    """Also where it leaves by an error, and without ever having asked."""
    engine = Engine()
    scheduler = Scheduler(engine, seats=2)

    def leaves() -> None:
        with pytest.raises(ZeroDivisionError), scheduler.seat():  # noqa: PT012
            time.sleep(0.02)
            raise ZeroDivisionError

    def stays() -> None:
        with scheduler.seat():
            scheduler.generate(ask("x"))

    run([leaves, stays])
    assert engine.batches == [["x"]]


def test_one_agents_failure_is_its_own() -> None:
    engine = Engine(refused=["b"])
    scheduler = Scheduler(engine, seats=3)
    got: dict[str, str] = {}

    def agent(name: str) -> None:
        with scheduler.seat():
            try:
                got[name] = scheduler.generate(ask(name))[0].text
            except EngineError as error:
                got[name] = f"error: {error}"

    run([lambda n=n: agent(n) for n in "abc"])  # type: ignore[misc]
    assert got == {"a": "a", "b": "error: cannot do this", "c": "c"}
    assert engine.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert str(scheduler.failure) == "cannot do this"


def test_what_went_well_in_the_end_is_no_failure() -> None:
    engine = Engine(refused=["a"])
    scheduler = Scheduler(engine, seats=2)
    real = engine._note

    def once(requests: Sequence[GenerateRequest | ScoreRequest]) -> None:
        try:
            real(requests)
        finally:
            engine.refused = set()

    engine._note = once  # type: ignore[method-assign]

    def agent(name: str) -> None:
        with scheduler.seat():
            assert scheduler.generate(ask(name))[0].text == name

    run([lambda n=n: agent(n) for n in "ab"])  # type: ignore[misc]
    assert scheduler.failure is None


def test_closing_lets_everybody_go_and_asks_nothing_more() -> None:
    engine = Engine()
    scheduler = Scheduler(engine, seats=3)
    stopped: list[str] = []
    waiting = threading.Barrier(3)

    def agent() -> None:
        with scheduler.seat():
            waiting.wait(5)
            try:
                scheduler.generate(ask("x"))
            except EngineError as error:
                stopped.append(str(error))

    def closes() -> None:
        waiting.wait(5)
        time.sleep(0.05)
        scheduler.close()

    run([agent, agent, closes])
    assert stopped == ["the run was stopped"] * 2
    with pytest.raises(EngineError, match="the run was stopped"):
        scheduler.generate(ask("y"))
    assert engine.batches == []


def test_nothing_asked_is_answered_at_once() -> None:
    scheduler = Scheduler(Engine(), seats=5)
    assert scheduler.generate([]) == []
    assert scheduler.score([]) == []


def test_the_rest_is_the_engines() -> None:
    scheduler = Scheduler(Engine(), seats=1)
    assert scheduler.info.engine == "fake"
    assert scheduler.count_tokens("x") == 7
    assert scheduler.ordinary_words() == {"a"}
