"""An engine that runs in this process: a tokenizer, a model, and the decoding loop between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from panel.engines.codec import Codec
from panel.engines.decoding import generate, score
from panel.engines.rows import Forward, Lanes
from panel.requests import Completion, EngineInfo, GenerateRequest, ScoreRequest, Scores


class LocalEngine:
    """`panel.requests.Engine` over a model of ours; one batch at a time, from any thread.

    Args:
        new_forward: makes a `Forward` with a cache of its own, over the one set of weights.
    """

    def __init__(self, info: EngineInfo, codec: Codec, new_forward: Callable[[], Forward]) -> None:
        self.codec = codec
        self._info = info
        self._lanes = Lanes(new_forward)
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        return self._info

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        with self._lock:
            return generate(self._lanes, self.codec, requests)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        with self._lock:
            return score(self._lanes, self.codec, requests)

    def count_tokens(self, text: str) -> int:
        return len(self.codec.encode(text))

    def ordinary_words(self) -> frozenset[str]:
        return frozenset(self.codec.words)
