"""The servers that the engine `openai` knows, and what each one takes and tells.

    kind               structured output                          scores of text             tokens
    llama-cpp-python   grammar (GBNF)                             logit_bias, logprobs       /extras/tokenize
    llama.cpp          grammar (GBNF)                             logit_bias, logprobs       /tokenize
    vllm               structured_outputs.grammar (before 0.11:   echo, logprobs             by the score
                       guided_grammar), also GBNF
    ollama, lmstudio,  response_format: json_schema; text is a    echo, logprobs, where      by the score
    other              string with a pattern                      offered

What a server claims is never relied on: every answer is checked here (`server_grammars`), and a server without
log-probabilities is refused, because evidence is weighed with them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

from panel.engines.server import Server
from panel.errors import EngineError, SetupError

Takes = Literal["gbnf", "schema"]
Scores = Literal["forced", "echo"]


@dataclass(frozen=True)
class Kind:
    """`takes`: how an answer is constrained. `scores`: how text is scored. `top`: alternatives asked for per token.

    `tells`: whether the log-probabilities of a draft cost next to nothing. llama-cpp-python sorts the vocabulary in
    Python for each of them, which takes longer than the draft. `fix`: what offers log-probabilities there.
    """

    name: str
    takes: Takes
    scores: Scores
    top: int
    tells: bool
    fix: str


_ELSEWHERE = "serve the model with vLLM or llama.cpp, or use --engine openvino or transformers"
KINDS = {
    kind.name: kind
    for kind in (
        Kind("llama-cpp-python", "gbnf", "forced", 100, False, "start it with: --logits_all true"),
        Kind("llama.cpp", "gbnf", "forced", 100, True, "update it to a version with logprobs in /v1/completions"),
        Kind("vllm", "gbnf", "echo", 20, True, "start it without: --max-logprobs 0"),
        Kind("ollama", "schema", "echo", 5, False, _ELSEWHERE),
        Kind("lmstudio", "schema", "echo", 5, False, _ELSEWHERE),
        Kind("other", "schema", "echo", 5, False, _ELSEWHERE),
    )
}
#: `owned_by` in /v1/models
_OWNERS = {
    "me": "llama-cpp-python",
    "llamacpp": "llama.cpp",
    "vllm": "vllm",
    "library": "ollama",
    "organization_owner": "lmstudio",
}


@dataclass(frozen=True)
class Found:
    """A server that answers: its kind, its version ("" where it does not tell), the model's id as it wants it."""

    kind: Kind
    version: str
    model: str


def find_out(server: Server, kind: str, model: str) -> Found:
    """Ask the server what it is and whether it has `model` (an id or its `plain_name`; "" for the first one).

    Raises:
        SetupError: it does not answer, has no such model, or there is no such kind.
    """
    if kind != "auto" and kind not in KINDS:
        raise SetupError(f"unknown kind {kind!r}", field="--server-kind", fix=f"choose auto, {', '.join(KINDS)}")
    try:
        listed = server.get(f"{server.base_url}/models").get("data")
    except EngineError as error:
        raise unreachable(error, "give the address whose /models answers, mostly …/v1") from error
    models = [m for m in listed if isinstance(m, dict) and m.get("id")] if isinstance(listed, list) else []
    ids = [str(m["id"]) for m in models]
    fitting = [m for m in models if model in ("", m["id"], plain_name(str(m["id"])))]
    if not fitting:
        known = ", ".join(repr(name) for name in ids[:8])[:300]
        problem = f"has no model {model!r}" if ids else "lists no model"
        fix = f"choose one of {known}" if ids else "load a model into the server"
        raise SetupError(f"{server.base_url} {problem}", field="--model", fix=fix)
    chosen = fitting[0]
    name = kind if kind != "auto" else _OWNERS.get(str(chosen.get("owned_by")), "") or _guess(server)
    return Found(KINDS[name], _version(server, name), str(chosen["id"]))


def unreachable(error: EngineError, otherwise: str) -> SetupError:
    """What went wrong while a server was being found out, with the error's own fix, or with the one given here."""
    told = str(error).removesuffix(f". {error.hint}") if error.hint else str(error)
    return SetupError(told, field="--base-url", fix=error.hint.removeprefix("Fix: ") or otherwise)


def plain_name(model: str) -> str:
    """A model's id for the record; of a path on the server's machine only the file's name."""
    if model.count("/") > 1 or model.startswith("/") or "\\" in model:
        return PureWindowsPath(model).name if "\\" in model else PurePosixPath(model).name
    return model


def _guess(server: Server) -> str:
    """By the routes of its own that a server has: a model of Ollama may be owned by anybody."""
    return "ollama" if _text(server.find(f"{server.root}/api/version"), "version") else "other"


def _version(server: Server, kind: str) -> str:
    root = server.root
    match kind:
        case "llama-cpp-python":
            return _text((server.find(f"{root}/openapi.json") or {}).get("info"), "version")
        case "llama.cpp":
            return _text(server.find(f"{root}/props"), "build_info")
        case "vllm":
            return _text(server.find(f"{root}/version"), "version")
        case "ollama":
            return _text(server.find(f"{root}/api/version"), "version")
    return ""


def _text(value: Any, field: str) -> str:
    found = value.get(field) if isinstance(value, dict) else None
    return re.sub(r"[^\w.+-]", "", found)[:40] if isinstance(found, str) else ""


def structured(found: Found, gbnf: str, schema: str) -> dict[str, Any]:
    """The fields of a chat request that ask for an answer under a grammar, in the words of this server."""
    if found.kind.takes == "schema":
        wrapped = {"name": "answer", "schema": json.loads(schema), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": wrapped}}
    if found.kind.name == "vllm":
        release = [int(part) for part in re.findall(r"\d+", found.version)[:2]]
        # vLLM 0.11 renamed the field, 0.12 dropped the old name
        return {"guided_grammar": gbnf} if release and release < [0, 11] else {"structured_outputs": {"grammar": gbnf}}
    return {"grammar": gbnf}


def sampler(found: Found, temperature: float, top_p: float, seed: int) -> dict[str, Any]:
    """The fields that say how a token is drawn: as asked, and with nothing else that a server does by default."""
    fields: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "seed": seed}
    if found.kind.name.startswith("llama"):
        fields |= {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}
    elif found.kind.name == "vllm":
        fields |= {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    return fields
