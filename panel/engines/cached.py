"""An engine that asks a model only for what nobody has asked it before.

It stands between the scheduler and the model, so that what has to be computed is still computed in one batch. The
model is loaded at the first answer that is missing, and never where none is; in a replay there is no model at all.

What an answer depends on, and so its key: the engine's identity (identity.py) and every field of the request, but for
those that the contract of `panel.requests` says it does not depend on. To draw the same request several times, give
each its own seed. An answer may differ in its last bits by what it was batched with; the first one computed is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any, Literal, TypeVar

from panel.engines.answers import MAX_BYTES, AnswerStore
from panel.engines.identity import Identity
from panel.errors import EngineError, MissingAnswers, SetupError
from panel.requests import Completion, Engine, EngineInfo, GenerateRequest, ScoreRequest, Scores

#: `use` what is kept; `fresh`: ask for everything, and keep it; `replay`: ask for nothing.
Mode = Literal["use", "fresh", "replay"]
Request = TypeVar("Request", GenerateRequest, ScoreRequest)
Answer = TypeVar("Answer", Completion, Scores)
Fact = TypeVar("Fact")


@dataclass
class Count:
    """Answers that were kept, answers that were computed, and the tokens that those were read from and written in."""

    kept: int = 0
    computed: int = 0
    tokens: int = 0


class CachedEngine:
    """`panel.requests.Engine` over a store of answers and, in need, another engine.

    Args:
        open_engine: loads the engine; called once, at the first answer that is missing, and never in a replay.

    Raises (from the methods that answer): what `open_engine` and its engine raise; `SetupError` where the store cannot
        be used; in a replay, `MissingAnswers`.
    """

    def __init__(
        self, identity: Identity, open_engine: Callable[[], Engine], store: AnswerStore, *, mode: Mode = "use"
    ) -> None:
        self._identity, self._open, self._store, self._mode = identity, open_engine, store, mode
        self._engine: Engine | None = None
        self._failure: BaseException | None = None
        self._lock = threading.Lock()  # around the counts and the opening
        self._opening = threading.Lock()
        self._words: frozenset[str] | None = None
        #: by family and persona of the requests (`draft/builder`)
        self.counts: dict[str, Count] = {}

    @property
    def info(self) -> EngineInfo:
        return self._identity.info

    @property
    def opened(self) -> bool:
        """Whether the model was loaded."""
        return self._engine is not None

    @property
    def failed(self) -> bool:
        """Whether the model could not be loaded, which is not tried again."""
        return self._failure is not None

    def total(self) -> Count:
        """All of the counts together."""
        with self._lock:
            counts = list(self.counts.values())
        return Count(sum(c.kept for c in counts), sum(c.computed for c in counts), sum(c.tokens for c in counts))

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        return self._answers(requests, lambda engine, missing: engine.generate(missing), completion_from_json)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        return self._answers(requests, lambda engine, missing: engine.score(missing), scores_from_json)

    def count_tokens(self, text: str) -> int:
        return self._fact("token count", text, lambda engine: engine.count_tokens(text), str, _number_from_text)

    def ordinary_words(self) -> frozenset[str]:
        if self._words is None:
            self._words = self._fact(
                "word list", "", lambda engine: engine.ordinary_words(), _words_to_text, _words_from_text
            )
        return self._words

    def load(self) -> None:
        """Load the model before an answer is missing; in a replay there is none. Raises what opening it raises."""
        if self._mode != "replay":
            self._model([])

    def close(self) -> None:
        """Let go of the store; one that has grown beyond `MAX_BYTES` loses what was not used for longest."""
        try:
            if self._mode != "replay" and self._store.bytes_used() > MAX_BYTES:
                # where another process is writing all the time, or the disk is full, a later run does it
                with contextlib.suppress(SetupError):
                    self._store.prune(max_bytes=MAX_BYTES * 4 // 5)
        finally:
            self._store.close()

    # ------------------------------------------------------------------------------------------------ inside

    def _answers(
        self,
        requests: Sequence[Request],
        ask: Callable[[Engine, list[Request]], Sequence[Answer]],
        read: Callable[[str | None, Any], Answer | None],
    ) -> list[Answer]:
        keys = [self._key(type(request).__name__, request_fields(request)) for request in requests]
        by_key = dict(zip(keys, requests, strict=True))  # asked twice, computed once
        texts = self._kept(by_key)
        found = {key: read(texts.get(key), request) for key, request in by_key.items()}
        known = {key: answer for key, answer in found.items() if answer is not None}
        missing = {key: request for key, request in by_key.items() if key not in known}
        if missing:
            engine = self._model([request.key for request in missing.values()])
            computed = dict(zip(missing, ask(engine, list(missing.values())), strict=True))
            rows = {key: (missing[key].key, to_json(answer)) for key, answer in computed.items()}
            kept = self._keep(rows, unreadable=texts.keys() & missing.keys())
            for key, answer in computed.items():
                known[key] = read(kept[key], missing[key]) or answer
        self._count(keys, requests, known, set(missing))
        return [known[key] for key in keys]

    def _key(self, kind: str, about: Any) -> bytes:
        text = json.dumps([kind, about], sort_keys=True)
        return hashlib.sha256(self._identity.id + text.encode()).digest()

    def _fact(
        self,
        kind: str,
        about: str,
        ask: Callable[[Engine], Fact],
        write: Callable[[Fact], str],
        read: Callable[[str | None], Fact | None],
    ) -> Fact:
        """What the model's tokenizer knows `about` a text."""
        key = self._key(kind, about)
        texts = self._kept([key])
        known = read(texts.get(key))
        if known is None:
            known = ask(self._model([kind]))
            self._keep({key: (kind, write(known))}, unreadable=texts.keys())
        return known

    def _kept(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        return {} if self._mode == "fresh" else self._store.get(keys)

    def _keep(self, rows: dict[bytes, tuple[str, str]], *, unreadable: Collection[bytes]) -> dict[bytes, str]:
        """Keep what was computed; returns what is kept, which another process may have been first to write."""
        replace = rows.keys() if self._mode == "fresh" else unreadable
        return self._store.put(self._identity.id, rows, replace=replace)

    def _model(self, wanted: Sequence[str]) -> Engine:
        """The engine itself, which is `wanted` for these requests."""
        if self._mode == "replay":
            raise MissingAnswers(wanted, path=self._store.path)
        with self._opening:
            if self._failure is not None:  # it would fail for each reviewer in turn, and loading takes its time
                raise self._failure
            if self._engine is None:
                try:
                    engine = self._open()
                    if engine.info != self.info:
                        raise EngineError(f"the engine calls itself {engine.info}, and was to be {self.info}")
                except BaseException as error:
                    self._failure = error
                    raise
                self._engine = engine
            return self._engine

    def _count(
        self, keys: Sequence[bytes], requests: Sequence[Any], answers: dict[bytes, Any], computed: set[bytes]
    ) -> None:
        with self._lock:
            for key, request in zip(keys, requests, strict=True):
                count = self.counts.setdefault("/".join(request.key.split("/")[:2]), Count())
                if key not in computed:
                    count.kept += 1
                    continue
                computed.discard(key)  # a second request for it is answered by the first
                answer = answers[key]
                count.computed += 1
                count.tokens += answer.prompt_tokens + getattr(answer, "completion_tokens", 0)


def request_fields(request: GenerateRequest | ScoreRequest) -> dict[str, Any]:
    """All of a request that its answer depends on, for JSON; a field added to a request is part of it by itself.

    The name of a request (`key`) is for people and for grouping, but where tokens are drawn it fixes the draw.
    `continues` is a hint about what comes next.
    """
    fields = asdict(request)
    fields.pop("continues", None)
    if not (isinstance(request, GenerateRequest) and request.sampling.temperature > 0):
        del fields["key"]
    if isinstance(request, GenerateRequest):
        fields["sampling"] |= {name: float(fields["sampling"][name]) for name in ("temperature", "top_p")}
    return fields


# --------------------------------------------------------------------------------------------- answers as text


def to_json(answer: Completion | Scores) -> str:
    """Compact; numbers come back to the last bit."""
    return json.dumps(astuple(answer), separators=(",", ":"))


def completion_from_json(text: str | None, _: GenerateRequest) -> Completion | None:
    """The inverse of `to_json`; None for anything else."""
    match _parsed(text):
        case [str(words), int(prompt), int(completed), int(forced), int() | float() as logprob, finish] if finish in (
            "stop",
            "length",
        ):
            return Completion(words, prompt, completed, forced, float(logprob), finish)
    return None


def scores_from_json(text: str | None, request: ScoreRequest) -> Scores | None:
    """The inverse of `to_json`; None for anything else, and where it is not one number for each candidate."""
    match _parsed(text):
        case [[*logprobs], int(prompt)] if len(logprobs) == len(request.candidates):
            if all(isinstance(value, int | float) for value in logprobs):
                return Scores(tuple(map(float, logprobs)), prompt)
    return None


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text is not None else None
    except ValueError:
        return None


def _number_from_text(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _words_to_text(words: frozenset[str]) -> str:
    return b64encode(zlib.compress(" ".join(sorted(words)).encode(), 9)).decode("ascii")


def _words_from_text(text: str | None) -> frozenset[str] | None:
    try:
        return frozenset(zlib.decompress(b64decode(text, validate=True)).decode().split()) if text is not None else None
    except (ValueError, zlib.error):
        return None


# ------------------------------------------------------------------------------------------------------ replay


def replay_identity(store: AnswerStore, engine: str, asked: str, expected: tuple[str, str] | None) -> Identity:
    """Which model a replay speaks for: the one used last under this name, as the store remembers it.

    Args:
        expected: SHA-256 of the model and of its adapter, where they are known without the model (the embedded one).

    Raises:
        SetupError: the store has no answers of that model.
    """
    found = store.models(engine, asked)
    for one in found:
        published = one.settings.get("published", one.info.model_sha256)
        if expected in (None, (published, one.info.adapter_sha256)):
            return one
    why = f"has answers of another version of {asked} only" if found else f"has no answers of {asked} on {engine}"
    raise SetupError(why, path=store.path, fix=f"run the same command without --replay and with --answers {store.path}")
