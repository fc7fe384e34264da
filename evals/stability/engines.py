"""An engine asked in another way, which must not answer otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from panel.requests import Completion, Engine, EngineInfo, GenerateRequest, ScoreRequest, Scores


class SwappedLabels:
    """Asks for the candidates in the opposite order, and puts the answers back."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        turned = [replace(request, candidates=request.candidates[::-1]) for request in requests]
        return [replace(found, logprobs=found.logprobs[::-1]) for found in self._engine.score(turned)]

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        return self._engine.generate(requests)

    def count_tokens(self, text: str) -> int:
        return self._engine.count_tokens(text)

    def ordinary_words(self) -> frozenset[str]:
        return self._engine.ordinary_words()
