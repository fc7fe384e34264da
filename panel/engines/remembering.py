"""An engine that answers from memory what it was asked before, so that after an edit only what changed is computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from panel.requests import Completion, Engine, EngineInfo, GenerateRequest, ScoreRequest, Scores

Request = TypeVar("Request", GenerateRequest, ScoreRequest)
Answer = TypeVar("Answer", Completion, Scores)


class RememberingEngine:
    """`panel.requests.Engine` in front of another one; remembers for as long as it lives.

    `asked` counts the answers that were computed, `remembered` those that were not.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._scores: dict[Hashable, Scores] = {}
        self._completions: dict[Hashable, Completion] = {}
        self._lock = threading.Lock()
        self.asked = self.remembered = 0

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        # the whole request: what is drawn depends on its key and its seed
        return self._answers(requests, list(requests), self._completions, self._engine.generate)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        return self._answers(requests, [(r.prompt, r.candidates) for r in requests], self._scores, self._engine.score)

    def count_tokens(self, text: str) -> int:
        return self._engine.count_tokens(text)

    def ordinary_words(self) -> frozenset[str]:
        return self._engine.ordinary_words()

    def _answers(
        self,
        requests: Sequence[Request],
        keys: Sequence[Hashable],
        known: dict[Hashable, Answer],
        ask: Callable[[Sequence[Request]], list[Answer]],
    ) -> list[Answer]:
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        if missing:
            known.update(zip(missing, ask(list(missing.values())), strict=True))
        with self._lock:
            self.asked += len(missing)
            self.remembered += len(requests) - len(missing)
        return [known[key] for key in keys]
