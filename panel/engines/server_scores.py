"""Log-probabilities of text, as servers tell them.

    in the list    one token is asked for with its likeliest alternatives; a candidate among them is read off
    forced         the server is made to write the candidate: a grammar of just its letters, and a bias for just its
                   tokens, since a grammar alone lets it be spelled in others (" a" as " " and "a"). What llama.cpp
                   reports is the log-probability before grammar and bias. Its echo is not used: llama-cpp-python 0.3.36
                   shifts the list by one token where a model has no start token
    echo           prompt and candidate are sent as a prompt, and the log-probabilities of the prompt's tokens come back

Where the tokens that come back are not the candidate's, an EngineError says so; a guess would pass for a measurement.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

from panel.engines.server import Server, ServerRefusal
from panel.engines.server_grammars import quoted
from panel.engines.server_kinds import Found, sampler
from panel.errors import EngineError
from panel.requests import ScoreRequest, Scores

#: Bias per letter, in nats: more than any two logits differ, and the longer of two tokens wins (" agent" over " a").
BIAS = 50.0


@dataclass(frozen=True)
class _Told:
    """What one completion tells: its tokens, their log-probabilities, the first one's alternatives, counts."""

    tokens: list[str]
    logprobs: list[float | None]
    alternatives: dict[str, float]
    prompt_tokens: int


class Scorer:
    """Scores on one server; remembers how many tokens each candidate had."""

    def __init__(self, server: Server, found: Found) -> None:
        self._server, self._found = server, found
        self._counts: dict[str, int] = {}
        self._pieces: dict[int, str] = {}
        self._ids: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def score(self, request: ScoreRequest) -> Scores:
        """Raises `EngineError`."""
        logprobs: dict[str, float] = {}
        prompt_tokens = 0
        if any(len(candidate.split()) == 1 for candidate in request.candidates):
            told = self._complete(request.prompt, max_tokens=1, logprobs=self._found.kind.top)
            prompt_tokens = told.prompt_tokens
            logprobs = {c: told.alternatives[c] for c in request.candidates if c in told.alternatives}
            self._counts |= dict.fromkeys(logprobs, 1)
        for candidate in request.candidates:
            if candidate not in logprobs:
                way = self._forced if self._found.kind.scores == "forced" else self._echoed
                logprobs[candidate], prompt_tokens = way(request.prompt, candidate)
        return Scores(tuple(logprobs[candidate] for candidate in request.candidates), prompt_tokens)

    def count(self, text: str) -> int | None:
        """Tokens of `text`: as counted when it was scored, or by the server; None where it cannot tell."""
        if text not in self._counts and self._found.kind.scores == "forced":
            self._counts[text] = len(self._tokenize(text))
        return self._counts.get(text)

    # ------------------------------------------------------------------------------------------------------ ways

    def _forced(self, prompt: str, candidate: str) -> tuple[float, int]:
        before, whole = self._tokenize(prompt), self._tokenize(prompt + candidate)
        ids = whole[len(before) :]
        if whole[: len(before)] != before or not ids:
            raise self._split(candidate)
        pieces = [self._piece(index) for index in ids]
        bias = [(index, BIAS * (1 + len(piece))) for index, piece in zip(ids, pieces, strict=True)]
        python = self._found.kind.name == "llama-cpp-python"
        told = self._complete(
            prompt,
            max_tokens=len(ids),
            logprobs=0 if python else 1,  # llama.cpp takes 0 for none at all
            grammar=f"root ::= {quoted(candidate)}\n",
            logit_bias={str(index): value for index, value in bias} if python else [list(pair) for pair in bias],
        )
        if [_letters(token) for token in told.tokens[: len(ids)]] != pieces:
            raise self._split(candidate)
        self._counts[candidate] = len(ids)
        return _sum(told.logprobs[: len(ids)]), len(before)

    def _echoed(self, prompt: str, candidate: str) -> tuple[float, int]:
        told = self._complete(prompt + candidate, max_tokens=1, logprobs=1, echo=True)
        end = told.prompt_tokens  # the token that was written after the candidate comes last
        start, text = end, ""
        while start > 0 and len(text) < len(candidate):
            start -= 1
            text = told.tokens[start] + text if start < len(told.tokens) else ""
        if text != candidate:
            raise self._split(candidate)
        self._counts[candidate] = end - start
        return _sum(told.logprobs[start:end]), start

    def _split(self, candidate: str) -> EngineError:
        return EngineError(f"{self._server.base_url} does not tell the log-probability of {candidate[:60]!r} by itself")

    # -------------------------------------------------------------------------------------------------- requests

    def _complete(self, prompt: str, **fields: Any) -> _Told:
        """One plain completion. Raises `EngineError` where it comes without log-probabilities."""
        body = {"model": self._found.model, "prompt": prompt, "stream": False, **sampler(self._found, 0.0, 1.0, 0)}
        answer = self._server.post(f"{self._server.base_url}/completions", body | fields)
        try:
            choice = answer["choices"][0]
            tokens, logprobs, alternatives = _listed(choice["logprobs"])
            count = int((answer.get("usage") or {})["prompt_tokens"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise EngineError(f"{self._server.base_url} answers without log-probabilities") from error
        return _Told(tokens, logprobs, alternatives, count)

    def _tokenize(self, text: str) -> list[int]:
        """Token ids of `text` as the server reads it."""
        if text not in self._ids:
            python = self._found.kind.name == "llama-cpp-python"
            route = "/extras/tokenize" if python else "/tokenize"
            body = {"input": text} if python else {"content": text, "add_special": True, "parse_special": True}
            answer = self._server.post(f"{self._server.root}{route}", body)
            ids = answer.get("tokens")
            if not isinstance(ids, list) or not all(isinstance(i, int) for i in ids):
                raise EngineError(f"{self._server.root}{route} answers without tokens")
            with self._lock:
                if len(self._ids) > 1024:
                    self._ids.clear()
                self._ids[text] = ids
            return ids
        return self._ids[text]

    def _piece(self, index: int) -> str:
        """The text of one token; "" of one that is a part of a letter."""
        if index not in self._pieces:
            python = self._found.kind.name == "llama-cpp-python"
            route, field = ("/extras/detokenize", "text") if python else ("/detokenize", "content")
            try:
                answer = self._server.post(f"{self._server.root}{route}", {"tokens": [index]})
            except ServerRefusal:  # llama-cpp-python cannot decode such a part, and says 500
                answer = {}
            self._pieces[index] = _letters(str(answer.get(field, "")))
        return self._pieces[index]


def _letters(token: str) -> str:
    """A token without what stands for parts of letters, for which every server has another sign."""
    return token.replace("\ufffd", "")


def _listed(told: Any) -> tuple[list[str], list[float | None], dict[str, float]]:
    """Tokens, log-probabilities and the first one's alternatives, from either of the two shapes that are in use."""
    if "content" in told:  # as chat answers have it, which llama.cpp sends for plain completions too
        entries = told["content"]
        others = {str(t["token"]): float(t["logprob"]) for t in entries[0].get("top_logprobs") or [] if t}
        return [str(e["token"]) for e in entries], [float(e["logprob"]) for e in entries], others
    first = (told.get("top_logprobs") or [None])[0] or {}
    tokens = [str(token) for token in told["tokens"]]
    values = [None if value is None else float(value) for value in told["token_logprobs"]]
    if not tokens or len(tokens) != len(values):
        raise ValueError("tokens and log-probabilities do not match")
    return tokens, values, {str(token): float(value) for token, value in first.items()}


def _sum(values: list[float | None]) -> float:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) != len(values) or not known:
        raise EngineError("the server tells no finite log-probability for a token")
    return math.fsum(known)
