"""An engine that reads its answers from functions: for tests, and for nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from panel.requests import Completion, EngineInfo, GenerateRequest, ScoreRequest, Scores


class ScriptedEngine:
    """Answers `generate` with `write(request)` and `score` with `rate(prompt, candidate)`.

    It keeps what it was asked in `generated` and `scored`, in order. With an `adapter_sha256` it is a tuned one.
    """

    def __init__(
        self,
        write: Callable[[GenerateRequest], str],
        rate: Callable[[str, str], float] = lambda _prompt, _candidate: 0.0,
        *,
        name: str = "scripted",
        adapter_sha256: str = "",
    ) -> None:
        self._write, self._rate = write, rate
        self._lock = threading.Lock()
        self._info = EngineInfo("scripted", "1", name, "0" * 64, adapter_sha256)
        self.generated: list[GenerateRequest] = []
        self.scored: list[ScoreRequest] = []

    @property
    def info(self) -> EngineInfo:
        return self._info

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        with self._lock:
            self.generated += requests
        texts = [self._write(request) for request in requests]
        return [Completion(t, 0, len(t.split()), 0, 0.0, "stop") for t in texts]

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        with self._lock:
            self.scored += requests
        return [Scores(tuple(self._rate(r.prompt, c) for c in r.candidates), 0) for r in requests]

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def ordinary_words(self) -> frozenset[str]:
        return _ordinary_words()


@cache
def _ordinary_words() -> frozenset[str]:
    """All of them: a function can write any word."""
    return frozenset(Path(__file__).parents[1].joinpath("ordinary_words.txt").read_text(encoding="utf-8").split())
