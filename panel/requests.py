"""What an engine is asked, and what it answers: the one seam between the panel and a model.

An engine is anything with the methods of `Engine`. The panel never learns more of a model than this, so an engine
can be replaced in a test by one that reads from a script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Message:
    """One turn of a conversation, in the roles that chat templates know."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Grammar:
    """What a completion may be.

    `text` is a JSON schema, a Lark grammar in llguidance's dialect, or (`words`) a JSON object
    `{"terms": [...], "max_words": n}`: at most n ordinary words and terms with commas between them, then a full stop.
    Which words are ordinary is for the engine to say; see `Engine.ordinary_words`.

    `schema` is a JSON schema for a Lark grammar of JSON: what engines that take no Lark ask for. It admits all that the
    grammar does, and perhaps more.
    """

    kind: Literal["json_schema", "lark", "words"]
    text: str
    schema: str = ""


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn. `temperature` 0 takes the likeliest; `top_p` cuts the tail of the rest."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 128


@dataclass(frozen=True)
class GenerateRequest:
    """One completion under a grammar.

    `key` names the request within its run, as `family/persona/tool/…`: together with `seed` it fixes the random
    numbers, so that what a request draws does not depend on what it was batched with. `opening` is text that the
    completion starts with and that the model does not choose. `continues` says that a later request will start with
    this one's messages and its answer (an agent's next step), so that an engine may keep what it computed.

    Answers are kept and given again (`panel.engines.cached`): one depends on all fields but `continues`, and on `key`
    only where tokens are drawn (a temperature above 0). Another draw of the same request is another `seed`.
    """

    key: str
    messages: tuple[Message, ...]
    grammar: Grammar
    sampling: Sampling = Sampling()
    seed: int = 0
    opening: str = ""
    continues: bool = False


@dataclass(frozen=True)
class Completion:
    """`text` without the opening; `logprob` is the sum over its tokens, in nats, before the grammar's mask; 0 where
    the engine is not told."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    forced_tokens: int
    logprob: float
    finish: Literal["stop", "length"]


@dataclass(frozen=True)
class ScoreRequest:
    """How likely is each of `candidates` right after `prompt` (plain text, no chat template)?

    The answer does not depend on `key`, which names the request and its family as in `GenerateRequest`.
    """

    key: str
    prompt: str
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of the candidates, in nats, in the order asked; summed over a candidate's tokens."""

    logprobs: tuple[float, ...]
    prompt_tokens: int


@dataclass(frozen=True)
class EngineInfo:
    """What goes into the provenance of a review.

    `adapter_sha256` is empty unless an adapter was trained for the panel's own prompts and merged into the model.
    """

    engine: str
    engine_version: str
    model: str
    model_sha256: str
    adapter_sha256: str = ""


class Engine(Protocol):
    """The interface of every engine.

    Both batch methods answer in the order asked and raise `EngineError`. They may be called from any thread.
    """

    @property
    def info(self) -> EngineInfo: ...

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]: ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]: ...

    def count_tokens(self, text: str) -> int: ...

    def ordinary_words(self) -> frozenset[str]:
        """The lower-case words that anyone may use, out of `ordinary_words.txt`, and that this model can write."""
        ...
