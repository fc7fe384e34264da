"""Many agents, one engine: what they ask at the same time is asked together.

Every agent holds a `seat`. A batch goes to the engine when each seat has asked for something (or has been given up),
so that what is batched with what depends on the agents' steps and not on how the threads happened to run: the same
run gives the same batches, and the same answers to the last bit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from panel.errors import EngineError
from panel.requests import Completion, Engine, EngineInfo, GenerateRequest, ScoreRequest, Scores


@dataclass
class _Call:
    kind: str
    requests: list[Any]
    answers: list[Any] = field(default_factory=list)
    error: BaseException | None = None
    done: bool = False

    @property
    def writes(self) -> bool:
        """Text that stands for itself, as against a step of a conversation, or scores."""
        return self.kind == "generate" and not any(request.continues for request in self.requests)


class Scheduler:
    """An `Engine` in front of another one, which batches across threads.

    Args:
        engine: answers the batches.
        seats: how many agents will take a seat; no batch goes out before each of them has asked or left.
    """

    def __init__(self, engine: Engine, *, seats: int) -> None:
        self._engine = engine
        self._expected = seats
        self._waiting: list[_Call] = []
        self._condition = threading.Condition()
        self._closed = False
        #: what the engine last raised for an agent, if it did
        self.failure: BaseException | None = None

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Held by an agent for as long as it may still ask."""
        try:
            yield
        finally:
            with self._condition:
                self._expected -= 1
                self._dispatch_if_complete()

    def close(self) -> None:
        """Let everyone who waits go, with an error; nothing goes to the engine any more."""
        self._closed = True  # before the lock is had: a batch may hold it, and the next one must not start
        with self._condition:
            self._condition.notify_all()

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        return self._ask("generate", requests)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        return self._ask("score", requests)

    def count_tokens(self, text: str) -> int:
        return self._engine.count_tokens(text)

    def ordinary_words(self) -> frozenset[str]:
        return self._engine.ordinary_words()

    def _ask(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        if not requests:
            return []
        call = _Call(kind, list(requests))
        with self._condition:
            self._waiting.append(call)
            self._dispatch_if_complete()
            while not call.done:
                if self._closed:
                    raise EngineError("the run was stopped")
                self._condition.wait()
        if call.error is not None:
            raise call.error
        return call.answers

    def _dispatch_if_complete(self) -> None:
        """Run the batch in the thread that completed it; the lock is held, since everyone else waits anyway."""
        if self._closed or not self._waiting or len(self._waiting) < self._expected:
            return
        # Whoever is ahead waits with writing until all are there: a step costs little, and what is written together
        # costs less than what is written in two batches.
        first = [call for call in self._waiting if not call.writes]
        calls = first or self._waiting
        self._waiting = [call for call in self._waiting if call.writes] if first else []
        for kind in ("score", "generate"):
            batch = sorted((c for c in calls if c.kind == kind), key=lambda c: str(c.requests[0].key))
            if batch:
                self._run(kind, batch)
        self._condition.notify_all()

    def _run(self, kind: str, batch: list[_Call]) -> None:
        method: Any = getattr(self._engine, kind)
        try:
            answers = method([request for call in batch for request in call.requests])
            position = 0
            for call in batch:
                call.answers = answers[position : position + len(call.requests)]
                position += len(call.requests)
        except BaseException as error:  # handed to the agent that asked, which raises it in its own thread
            if len(batch) > 1:
                # One of them may have asked for what the engine cannot do: the others shall not fail for it.
                for call in batch:
                    self._run(kind, [call])
                return
            self.failure = batch[0].error = error
        for call in batch:
            call.done = True
