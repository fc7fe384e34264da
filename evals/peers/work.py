"""How much work a round of reviews is for a model: the tokens that no engine can do without.

A prompt that starts like an earlier one of the round need not be read again, so only the tokens after the longest
known beginning count; whether the engine really saved them is what the share of the ceiling shows. Tokens that a
grammar forces need no choice of the model: they are read, not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from panel.requests import Completion, GenerateRequest, ScoreRequest, Scores


@dataclass(frozen=True)
class Work:
    """One round: what each request adds to be read, and what is written for it; and the seconds that it took us."""

    requests: tuple[tuple[int, int], ...]
    seconds: float

    @property
    def read(self) -> int:
        return sum(read for read, _ in self.requests)

    @property
    def written(self) -> int:
        return sum(written for _, written in self.requests)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Known:
    """All beginnings seen so far, as a tree of tokens."""

    def __init__(self) -> None:
        self._root: dict[int, Any] = {}

    def add(self, tokens: Sequence[int]) -> int:
        """How many of `tokens`, from the first that differs on, were not known."""
        node, new = self._root, 0
        for token in tokens:
            if token not in node:
                node[token] = {}
                new += 1
            node = node[token]
        return new


def work_of(
    calls: Iterable[tuple[GenerateRequest, Completion] | tuple[ScoreRequest, Scores]], codec: Any, seconds: float
) -> Work:
    """The work of `calls`, in the order in which they were answered.

    A request whose prompt is wholly known still reads one token, to have something to go on from; a score is read off
    what is read, which a pipeline that only writes gives as one written token.
    """
    known, found = Known(), []
    for request, answer in calls:
        if isinstance(request, ScoreRequest):
            prompt = codec.encode(request.prompt)
            longest = max((codec.encode(candidate) for candidate in request.candidates), key=len)
            found.append((max(1, known.add([*prompt, *longest[:-1]])), 1))
            continue
        assert isinstance(answer, Completion)
        new = known.add(codec.encode_chat(request.messages, request.opening)) + answer.forced_tokens
        known.add(codec.encode_chat(request.messages, request.opening + answer.text))
        chosen = answer.completion_tokens - answer.forced_tokens
        if new or chosen:
            found.append((max(1, new), max(1, chosen)))
    return Work(tuple(found), seconds)
