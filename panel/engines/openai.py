"""Any server that speaks the OpenAI protocol: vLLM, llama.cpp, llama-cpp-python, Ollama, LM Studio and others.

Answers are asked for under the grammar, in whatever way the server takes one, and checked here against the grammar
itself; one that does not match is drawn again, a few times. The opening of an answer goes into its grammar, so that
no tokenizer or chat template of the model is needed on this side. What the grammar leaves no choice about is not asked.

A server does not tell which weights it runs: `model_sha256` is the hash of `server:<kind>:<model id>`, and another
model behind the same name is not noticed (`--no-cache` reviews anew). All words of ordinary_words.txt are ordinary:
which of them are one token of the model is not known here.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from panel.engines.server import Server, ServerOptions, ServerRefusal
from panel.engines.server_grammars import Check, defuse, gbnf, readings, schema
from panel.engines.server_kinds import Found, find_out, plain_name, sampler, structured, unreachable
from panel.engines.server_scores import Scorer
from panel.errors import EngineError, SetupError
from panel.requests import Completion, EngineInfo, GenerateRequest, ScoreRequest, Scores

#: Draws of one answer: the first as asked, the others warmer, since a greedy draw would repeat itself.
DRAWS = 4
WARMER = 0.7
KEPT = 4096  # answers remembered: a batch that failed in one part is asked again part by part

Request = TypeVar("Request", GenerateRequest, ScoreRequest)
Answer = TypeVar("Answer")


def open_openai(model: str, options: ServerOptions | None, *, server: Server | None = None) -> OpenAIEngine:
    """Find out what answers at the base URL, and whether it can do what a panel asks.

    Args:
        model: an id that the server lists; "" or `embedded`, the default of the command line, for the first.
        server: the connection, where a test has made one.

    Raises:
        SetupError: nothing answers, there is no such model, or the server tells no log-probabilities.
    """
    if options is None or not options.base_url:
        raise SetupError(
            "the engine openai needs the address of a server",
            field="--base-url",
            fix="--base-url http://127.0.0.1:8000/v1",
        )
    server = server or Server(options)
    found = find_out(server, options.kind, "" if model == "embedded" else model)
    engine = OpenAIEngine(server, found)
    try:
        engine.score([ScoreRequest("probe", "The capital of France is", (" Paris", " a town in the north."))])
    except EngineError as error:
        if error.hint and not isinstance(error, ServerRefusal):  # it did not come to the question
            raise unreachable(error, "") from error
        raise SetupError(
            f"{server.base_url} ({found.kind.name}) does not tell log-probabilities of text, with which evidence is "
            f"weighed ({error})",
            field="--base-url", fix=found.kind.fix,
        ) from error  # fmt: skip
    return engine


class OpenAIEngine:
    """`panel.requests.Engine` over one server; at most as many requests in flight as the server's options say."""

    def __init__(self, server: Server, found: Found) -> None:
        self._server, self._found = server, found
        self._scorer = Scorer(server, found)
        self._ordinary = _ordinary_words()
        self._known: OrderedDict[Any, Any] = OrderedDict()
        self._constrained = True
        name, kind = plain_name(found.model), found.kind.name
        digest = hashlib.sha256(f"server:{kind}:{name}".encode()).hexdigest()
        self._info = EngineInfo("openai", f"{kind} {found.version}".strip(), name, digest)

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def base_url(self) -> str:
        return self._server.base_url

    @property
    def constrained(self) -> bool:
        """False once the server has refused to write under a schema: its answers are only checked then."""
        return self._constrained

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        return self._answered(requests, self._write)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        # asked twice, computed once: two tools share their personas' content-free facts
        plain = [replace(r, key="", prompt=defuse(r.prompt)) for r in requests]
        return self._answered(plain, self._scorer.score)

    def count_tokens(self, text: str) -> int:
        """Exact for what was scored and where the server counts, else an estimate: four bytes to a token."""
        counted = self._scorer.count(text)
        return counted if counted is not None else -(-len(text.encode("utf-8")) // 4)

    def ordinary_words(self) -> frozenset[str]:
        return self._ordinary

    def _answered(self, requests: Sequence[Request], ask: Callable[[Request], Answer]) -> list[Answer]:
        """Each request's answer; what was answered before is not asked again, since seed and key fix the draw."""

        def asked(request: Request) -> None:
            self._known[request] = ask(request)  # at once: another request of the batch may fail

        self._server.all(asked, list(dict.fromkeys(r for r in requests if r not in self._known)))
        answers = [self._known[request] for request in requests]
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return answers

    # ---------------------------------------------------------------------------------------------------- writing

    def _write(self, request: GenerateRequest) -> Completion:
        check = Check(request.grammar, self._ordinary)
        only = check.only()
        if only is not None:
            return Completion(only, 0, self._scorer.count(only) or 0, 0, 0.0, "stop")
        last = ""
        for draw in range(DRAWS):
            answer = self._chat(request, draw)
            last, finish, usage, logprob = _read(answer, request.opening)
            counts = (int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
            for text in readings(last, request.opening):
                if check.admits(text):
                    return Completion(text, *counts, 0, logprob, "stop")
            cut = check.beginning(next(readings(last, request.opening))) if finish == "length" else None
            if cut is not None:
                return Completion(cut, *counts, 0, logprob, "length")
        said = " ".join(last.split())[:100]
        raise EngineError(
            f"{self._server.base_url} does not keep to the grammar, {DRAWS} times over: {said!r}",
            hint="Fix: --server-kind tells how the server takes grammars; a larger model keeps to them unasked",
        )

    def _chat(self, request: GenerateRequest, draw: int) -> Any:
        opening, sampling = request.opening, request.sampling
        seed = int(hashlib.sha256(f"{request.seed}\x00{request.key}\x00{draw}".encode()).hexdigest()[:7], 16)
        temperature = sampling.temperature if draw == 0 else max(sampling.temperature, WARMER)
        body: dict[str, Any] = {
            "model": self._found.model,
            "messages": [{"role": m.role, "content": defuse(m.content)} for m in request.messages],
            # the opening is written too, at two letters to a token or more, and so is the wrapping of JSON
            "max_tokens": sampling.max_tokens + len(opening) // 2 + 16,
            "stream": False,
            **sampler(self._found, temperature, sampling.top_p, seed),
        }
        if self._found.kind.tells:
            body["logprobs"] = True
        url = f"{self._server.base_url}/chat/completions"
        if self._constrained:
            takes = self._found.kind.takes
            grammar = gbnf(request.grammar, opening, self._ordinary) if takes == "gbnf" else ""
            wanted = schema(request.grammar, opening, self._ordinary) if takes == "schema" else ""
            try:
                return self._server.post(url, body | structured(self._found, grammar, wanted))
            except ServerRefusal:
                if takes == "gbnf":
                    raise
            # not every server knows schemas: what it writes without one is checked all the same
            answer = self._server.post(url, body)
            self._constrained = False
            return answer
        return self._server.post(url, body)


def _read(answer: Any, opening: str) -> tuple[str, str, dict[str, Any], float]:
    """Content, finish reason, usage and log-probability (0 where it is not told) of a chat answer."""
    try:
        choice = answer["choices"][0]
        content = choice["message"]["content"] or ""
        usage = answer.get("usage") or {}
        tokens = (choice.get("logprobs") or {}).get("content") or []
        written, total = 0, 0.0
        for token in tokens:
            if written >= len(opening):
                total += float(token["logprob"])
            written += len(token["token"])
        if not isinstance(content, str) or not isinstance(usage, dict):
            raise TypeError("content is no text")
        return content, str(choice.get("finish_reason")), usage, total
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise EngineError(f"the server's answer lacks what a chat answer has ({error})") from error


@cache
def _ordinary_words() -> frozenset[str]:
    return frozenset(Path(__file__).parents[1].joinpath("ordinary_words.txt").read_text(encoding="utf-8").split())
