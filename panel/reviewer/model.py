"""The adapter between smolagents and an engine: every tool call is decoded under a grammar made from the tools.

smolagents asks for the next step; the desk says which tools may be called with which arguments; their schemas
become one grammar; what comes back is a parsed tool call. `final_answer` is decoded slot by slot: its free slots are
the beats, each under the grounding grammar, all in one batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smolagents import ChatMessage, MessageRole, Model
from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction
from smolagents.monitoring import TokenUsage

from panel.draft import draft_beats, plan_beats
from panel.errors import EngineError
from panel.prompts import Prompts
from panel.records import Beat
from panel.requests import Engine, GenerateRequest, Grammar, Message, Sampling
from panel.reviewer.desk import Desk
from panel.reviewer.tools import FinalAnswer

#: More than the longest call takes (a plan's name may have 120 characters of four tokens each): the grammar ends a
#: call, and one that is cut is lost.
CALL_TOKENS = 1024

_ROLES = {"system": "system", "assistant": "assistant", "tool-call": "assistant"}


@dataclass
class Call:
    """One tool call as it was decoded, kept for the trace."""

    prompt: list[dict[str, str]]
    options: list[str]
    raw: str
    prompt_tokens: int
    completion_tokens: int
    drafts: list[dict[str, Any]] = field(default_factory=list)


class ReviewerModel(Model):
    """A smolagents `Model` over an engine, for one review.

    Raises (from `generate`): EngineError, which smolagents wraps in AgentGenerationError and lets through.
    """

    def __init__(
        self, engine: Engine, desk: Desk, prompts: Prompts, answer: FinalAnswer, tools: Mapping[str, Any], *, seed: int
    ) -> None:
        super().__init__(model_id=engine.info.model)
        self._engine, self._desk, self._prompts, self._answer = engine, desk, prompts, answer
        self._tools = tools
        self._seed = seed
        self.calls: list[Call] = []

    def generate(
        self,
        messages: list[Any],
        stop_sequences: list[str] | None = None,  # noqa: ARG002 - part of smolagents' interface
        response_format: dict[str, str] | None = None,  # noqa: ARG002
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatMessage:
        if not tools_to_call_from:
            # smolagents asks for a last word when the steps are used up; the review is unscored then, so none is made
            return ChatMessage(role=MessageRole.ASSISTANT, content="", token_usage=TokenUsage(0, 0))
        conversation = _flatten(messages)
        options = self._desk.options()
        completion = self._engine.generate(
            [
                GenerateRequest(
                    key=f"step/{self._desk.persona.slug}/{self._desk.dossier.slug}/{len(self.calls):02d}",
                    messages=conversation,
                    grammar=call_grammar(options, self._tools),
                    sampling=Sampling(temperature=0.7, top_p=0.95, max_tokens=CALL_TOKENS),
                    seed=self._seed,
                    continues=True,
                )
            ]
        )[0]
        call = Call(
            [{"role": m.role, "content": m.content} for m in conversation],
            sorted(options),
            completion.text,
            completion.prompt_tokens,
            completion.completion_tokens,
        )
        self.calls.append(call)
        name, arguments = _parsed(completion.text)
        if name == "final_answer":
            arguments["beats"] = self._draft(call)
        content = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        return ChatMessage(
            role=MessageRole.ASSISTANT,
            content=content,
            tool_calls=[ChatMessageToolCall(id=f"call_{len(self.calls)}", type="function", function=function)],
            token_usage=TokenUsage(call.prompt_tokens, call.completion_tokens),
        )

    def _draft(self, call: Call) -> list[dict[str, Any]]:
        """The beats: all of them the first time, after that only those that something was wrong with."""
        desk = self._desk
        if desk.decision is None:
            raise EngineError("the answer was asked for before the evidence was weighed")
        pulls = {i: pull.log_odds for i, pull in desk.pulls.items()}
        readable = sorted(desk.read, key=lambda i: int(i[1:]))
        plans = plan_beats(desk.persona, desk.dossier, desk.decision, pulls, readable, standing=desk.standing)
        self._answer.plans = {plan.spec.name: plan for plan in plans}
        open_plans = [plan for plan in plans if plan.spec.name not in desk.standing]
        standing = [
            b.text.removeprefix(p.stem) for p in plans if (b := desk.standing.get(p.spec.name)) and not b.silent
        ]
        written = draft_beats(
            self._engine, self._prompts, desk.persona, desk.dossier, open_plans,
            seed=self._seed, attempt=desk.tries, others=standing,
        )  # fmt: skip
        fresh: dict[str, Beat] = {}
        for plan, (beat, problems, tokens) in zip(open_plans, written, strict=True):
            fresh[plan.spec.name] = beat
            desk.doubts[beat.name] = [p.message for p in problems if p.doubt]
            call.completion_tokens += tokens
            call.drafts.append(
                {
                    "beat": beat.name,
                    "text": beat.text,
                    "cites": list(beat.cites),
                    "problems": [p.message for p in problems],
                }
            )
        beats = {**desk.standing, **fresh}
        desk.verbatim = {beat.name for beat in beats.values() if beat.verbatim}
        return [
            {"name": plan.spec.name, "text": beats[plan.spec.name].text, "cites": list(beats[plan.spec.name].cites)}
            for plan in plans
        ]


def call_grammar(options: Mapping[str, Mapping[str, Any]], tools: Mapping[str, Any]) -> Grammar:
    """A grammar that admits exactly one call of one of the tools in `options`.

    The arguments and their types are the tool's own; an option may narrow one, or, with `subset`, ask for some of a
    list of strings, each at most once and in the order of the list. An argument that the option does not mention is
    a slot that is filled elsewhere.
    """
    rules: list[str] = []
    calls: list[dict[str, Any]] = []
    for name, narrowed in options.items():
        fields = []
        types = {}
        for key, schema in tools[name].inputs.items():
            if key in narrowed:
                rules += _argument(f"{name}_{key}", {"type": schema["type"], **narrowed[key]})
                fields.append(f"{_text(json.dumps(key) + ': ')} {name}_{key}")
                types[key] = _loose({"type": schema["type"], **narrowed[key]})
        head = _text(f'{{"name": {json.dumps(name)}, "arguments": {{')
        body = f" {_text(', ')} ".join(fields)
        rules.append(f"{name}: {head} {body} {_text('}}')}")
        calls.append(_object({"name": {"const": name}, "arguments": _object(types)}))
    schema = json.dumps(calls[0] if len(calls) == 1 else {"anyOf": calls}, ensure_ascii=False)
    return Grammar("lark", "\n".join([f"start: {' | '.join(options)}", *rules]) + "\n", schema)


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with exactly these properties."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _loose(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """An argument as a JSON schema; of a `subset` neither the order nor that nothing comes twice can be said there."""
    if "subset" not in schema:
        return schema
    items, least = schema["subset"], schema["minItems"]
    if least == len(items):  # all of them, in their order
        return {"type": "array", "prefixItems": [{"const": i} for i in items], "minItems": least, "maxItems": least}
    return {"type": "array", "items": {"enum": items}, "minItems": max(1, least), "maxItems": len(items)}


def _argument(rule: str, schema: Mapping[str, Any]) -> list[str]:
    """The Lark rules of one argument."""
    if "subset" not in schema:
        return [f"{rule}: %json {json.dumps(schema, ensure_ascii=False)}"]
    items, least = schema["subset"], schema["minItems"]
    rules = [f'{rule}: "[" {rule}_0_0 "]"']
    # {rule}_i_k: with k items taken so far (counted up to `least`), take one of items i, i + 1, …, and perhaps more.
    for i, item in enumerate(items):
        for k in range(min(i, least) + 1):
            if len(items) - i < max(1, least - k):
                continue
            taken = min(k + 1, least)
            more = ""
            if len(items) - i - 1 >= max(1, least - taken):
                more = f'", " {rule}_{i + 1}_{taken}'
                more = f"({more})?" if taken >= least else more
            skip = f" | {rule}_{i + 1}_{k}" if len(items) - i - 1 >= max(1, least - k) else ""
            rules.append(f"{rule}_{i}_{k}: {_text(json.dumps(item))} {more}{skip}")
    return rules


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the call that the engine wrote; EngineError where it did not keep to the grammar."""
    try:
        call = json.loads(text)
        name, arguments = call["name"], call["arguments"]
    except (ValueError, TypeError, LookupError) as error:
        raise EngineError(f"the engine wrote no tool call but {text[:80]!r}") from error
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise EngineError(f"the engine wrote no tool call but {text[:80]!r}")
    return name, arguments


def _text(text: str) -> str:
    """`text` as a Lark string."""
    return json.dumps(text, ensure_ascii=False)


def _flatten(messages: list[Any]) -> tuple[Message, ...]:
    """smolagents' messages as plain turns; consecutive turns of one role are joined.

    Its "Calling tools" turns repeat what the assistant's own turn says, and are left out.
    """
    turns: list[Message] = []
    for message in messages:
        role = str(getattr(message.role, "value", message.role))
        if role == MessageRole.TOOL_CALL.value:
            continue
        content = message.content
        text = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content or [])
        plain: Any = _ROLES.get(role, "user")
        if turns and turns[-1].role == plain:
            turns[-1] = Message(plain, f"{turns[-1].content}\n{text}")
        else:
            turns.append(Message(plain, text))
    return tuple(turns)
