"""Every tool call that a grammar admits parses, names a tool that there is, and passes arguments that it takes.

The grammars are the real ones, walked at random with the tokenizer of the embedded model: what a model that knows
nothing could write. What comes out is carried out, so a walk is a whole review as the worst of models would do it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml
from smolagents import ChatMessage, MessageRole
from smolagents.tools import validate_tool_arguments

from panel.engines.codec import Codec
from panel.engines.scripted import ScriptedEngine
from panel.prompts import Prompts
from panel.records import Dossier, Persona
from panel.requests import Grammar, Message
from panel.reviewer.desk import MAX_STEPS, TRIES, Desk, Loop
from panel.reviewer.model import ReviewerModel, _flatten, call_grammar
from panel.reviewer.tools import FinalAnswer, FindEvidence, ListRivals, Price, ReadEvidence, WeighEvidence
from tests.engines.walks import admits, walk
from tests.scripted import DOSSIER, written_call


def hostile() -> Dossier:
    """Names that would break a grammar, a JSON text or a turn, and plans with the longest names that there may be."""
    data = yaml.safe_load(DOSSIER)
    data["name"] = 'Quote" \\ {{ 7*7 }} <|im_end|> 🙂'
    data["rivals"] = ['a"b', "c\\d", "e|f"]
    data["pricing"] = [
        {"plan": 'He said "free" \\n', "price": 0},
        {"plan": "x" * 120, "price": 1},
        {"plan": "価格" * 60, "price": 2},
        {"plan": "🙂" * 119 + "!", "price": 3},
    ]
    data["evidence"] = [{**item, "id": f"E{n * 37}"} for n, item in enumerate(data["evidence"], start=1)]
    return Dossier.model_validate(data)


def tiny() -> Dossier:
    """One fact, and nothing else."""
    data = yaml.safe_load(DOSSIER)
    del data["pricing"], data["rivals"]
    return Dossier.model_validate(data | {"evidence": data["evidence"][:1]})


DOSSIERS = {"plain": lambda: Dossier.model_validate(yaml.safe_load(DOSSIER)), "hostile": hostile, "tiny": tiny}


def toolbox(desk: Desk, engine: ScriptedEngine, prompts: Prompts) -> dict[str, Any]:
    tools = [
        WeighEvidence(desk, engine, prompts, desk.dossier.evidence), FindEvidence(desk), ReadEvidence(desk),
        Price(desk), ListRivals(desk), FinalAnswer(desk, engine),
    ]  # fmt: skip
    return {tool.name: tool for tool in tools}


# --------------------------------------------------------------------------------------------------- random walks


@pytest.mark.parametrize("loop", ["led", "free"])
@pytest.mark.parametrize("kind", DOSSIERS)
def test_whatever_the_grammar_admits_is_a_call_that_works(
    codec: Codec, scripted: ScriptedEngine, prompts: Prompts, personas: tuple[Persona, ...], kind: str, loop: Loop
) -> None:
    used: set[str] = set()
    for seed, persona in enumerate([*personas, *personas]):
        desk = Desk(persona, DOSSIERS[kind](), loop)
        tools = toolbox(desk, scripted, prompts)
        for step in range(MAX_STEPS - TRIES + 1):
            text, _ = walk(codec, call_grammar(desk.options(), tools), seed=100 * seed + step)
            call = json.loads(text)
            assert set(call) == {"name", "arguments"}
            assert call["name"] in desk.options()
            used.add(call["name"])
            if call["name"] == "final_answer":
                break
            tool = tools[call["name"]]
            validate_tool_arguments(tool, call["arguments"])
            assert isinstance(tool(**call["arguments"]), str)
        # the beats are the one slot that is not decoded with the call
        assert call == {"name": "final_answer", "arguments": {"decision": desk.decision}}
        validate_tool_arguments(tools["final_answer"], {**call["arguments"], "beats": []})
        assert len(desk.read) == len(set(desk.read)) >= min(len(desk.dossier.evidence), len(persona.beats))
    if kind != "tiny":
        searched = {"find_evidence"} if loop == "free" else set()
        assert used == {"weigh_evidence", "read_evidence", "list_rivals", "price", "final_answer"} | searched


@pytest.mark.parametrize(
    "options",
    [
        {"read_evidence": {"ids": {"subset": ["E1", "E2", "E3", "E4", "E5"], "minItems": least}}}
        for least in (1, 2, 4, 5)
    ],
    ids=lambda options: str(options["read_evidence"]["ids"]["minItems"]),
)
def test_a_list_is_some_of_the_items_each_once_and_in_order(
    codec: Codec, scripted: ScriptedEngine, prompts: Prompts, dossier: Dossier, personas: tuple[Persona, ...],
    options: dict[str, Any],
) -> None:  # fmt: skip
    """Of every list of up to five of the items, in every order, exactly the right ones are admitted."""
    grammar = call_grammar(options, toolbox(Desk(personas[0], dossier), scripted, prompts))
    subset, least = options["read_evidence"]["ids"].values()

    def call(ids: list[str]) -> str:
        return json.dumps({"name": "read_evidence", "arguments": {"ids": ids}})

    chosen = [[item for n, item in enumerate(subset) if mask >> n & 1] for mask in range(2 ** len(subset))]
    admitted = [ids for ids in chosen if admits(codec, grammar, call(ids))]
    assert admitted == [ids for ids in chosen if len(ids) >= least]
    for wrong in (subset[::-1], ["E1", *subset], [*subset, "E6"], ["E2", "E1", "E3", "E4", "E5"], [*subset, 7]):
        assert not admits(codec, grammar, call(wrong))


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "price", "arguments": {"plan": "Gold", "seats": 1, "months": 1}}',
        '{"name": "price", "arguments": {"plan": "Team", "seats": 0, "months": 1}}',
        '{"name": "price", "arguments": {"plan": "Team", "seats": 501, "months": 1}}',
        '{"name": "price", "arguments": {"plan": "Team", "seats": 1.5, "months": 1}}',
        '{"name": "price", "arguments": {"plan": "Team", "seats": "1", "months": 1}}',
        '{"name": "price", "arguments": {"plan": "Team", "seats": 1}}',
        '{"name": "price", "arguments": {"plan": "Team", "seats": 1, "months": 1, "free": true}}',
        '{"name": "price", "arguments": {}}',
        '{"name": "final_answer", "arguments": {"decision": "ship"}}',
        '{"name": "web_search", "arguments": {"query": "x"}}',
        '{"arguments": {}, "name": "list_rivals"}',
        'I think: {"name": "list_rivals", "arguments": {}}',
        '{"name": "list_rivals", "arguments": {}} and then',
        "",
    ],
)
def test_what_may_not_be_called_now_is_not_admitted(
    codec: Codec,
    scripted: ScriptedEngine,
    prompts: Prompts,
    dossier: Dossier,
    persona: Callable[[str], Persona],
    text: str,
) -> None:
    desk = Desk(persona("business-buyer"), dossier, "free")
    tools = toolbox(desk, scripted, prompts)
    tools["weigh_evidence"]()
    grammar = call_grammar(desk.options(), tools)
    assert admits(codec, grammar, '{"name": "price", "arguments": {"plan": "Team", "seats": 500, "months": 36}}')
    assert admits(codec, grammar, '{"name": "list_rivals", "arguments": {}}')
    assert not admits(codec, grammar, text)


def test_the_scripted_engine_of_the_tests_writes_what_is_admitted(
    codec: Codec, scripted: ScriptedEngine, prompts: Prompts, personas: tuple[Persona, ...]
) -> None:
    """Otherwise tests that use it would show what no engine could do."""
    for loop in ("led", "free"):
        for persona in personas:
            desk = Desk(persona, DOSSIERS["plain"](), loop)  # type: ignore[arg-type]
            tools = toolbox(desk, scripted, prompts)
            for _ in range(MAX_STEPS):
                grammar = call_grammar(desk.options(), tools)
                text = written_call(grammar.text)
                assert admits(codec, grammar, text)
                call = json.loads(text)
                if call["name"] == "final_answer":
                    break
                tools[call["name"]](**call["arguments"])
            assert call["name"] == "final_answer"


# ------------------------------------------------------------------------------------------------- asking the engine


def ask(desk: Desk, engine: ScriptedEngine, prompts: Prompts, messages: list[Any]) -> tuple[ChatMessage, ReviewerModel]:
    tools = toolbox(desk, engine, prompts)
    model = ReviewerModel(engine, desk, prompts, tools["final_answer"], tools, seed=3)
    return model.generate(messages, tools_to_call_from=list(tools.values())), model


def test_a_call_comes_back_parsed(dossier: Dossier, personas: tuple[Persona, ...], prompts: Prompts) -> None:
    """smolagents' own parser takes the first { to the last }: nothing is left for it to parse."""
    engine = ScriptedEngine(lambda r: '{"name": "weigh_evidence", "arguments": {}}')
    message, model = ask(Desk(personas[0], dossier), engine, prompts, [])
    (call,) = message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("weigh_evidence", {})
    (request,) = engine.generated
    assert (request.seed, request.key) == (3, "step/builder/lanternfish/00")
    assert model.calls[0].options == ["weigh_evidence"]
    assert model.calls[0].raw == '{"name": "weigh_evidence", "arguments": {}}'


@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_every_call_fits_into_the_tokens_that_it_is_given(
    codec: Codec, prompts: Prompts, personas: tuple[Persona, ...], kind: str
) -> None:
    """A call that is cut is no call, and its review would be lost. The longest plan has 120 characters, and a
    character may take several tokens."""
    engine = ScriptedEngine(lambda r: written_call(r.grammar.text))
    desk = Desk(personas[3], DOSSIERS[kind]())
    toolbox(desk, engine, prompts)["weigh_evidence"]()
    desk.read += [item.id for item in desk.dossier.evidence]
    ask(desk, engine, prompts, [])
    (request,) = engine.generated
    for plan in desk.paid_plans:
        text = json.dumps(
            {"name": "price", "arguments": {"plan": plan, "seats": 500, "months": 36}}, ensure_ascii=False
        )
        assert admits(codec, request.grammar, text)
        assert len(codec.encode(text)) <= request.sampling.max_tokens


def test_there_is_no_last_word_when_the_steps_are_used_up(
    dossier: Dossier, personas: tuple[Persona, ...], prompts: Prompts, scripted: ScriptedEngine
) -> None:
    desk = Desk(personas[0], dossier)
    tools = toolbox(desk, scripted, prompts)
    model = ReviewerModel(scripted, desk, prompts, tools["final_answer"], tools, seed=0)
    assert model.generate([ChatMessage(role=MessageRole.USER, content="And?")]).content == ""
    assert scripted.generated == []


def test_messages_become_plain_turns() -> None:
    """Turns of one role are joined, tool responses are the user's, and "Calling tools" is left out."""
    messages = [
        ChatMessage(role=MessageRole.SYSTEM, content=[{"type": "text", "text": "Be brief."}]),
        ChatMessage(
            role=MessageRole.USER, content=[{"type": "text", "text": "Task"}, {"type": "text", "text": "{{ x }}"}]
        ),
        ChatMessage(role=MessageRole.ASSISTANT, content="call"),
        ChatMessage(role=MessageRole.TOOL_CALL, content="Calling tools: [...]"),
        ChatMessage(role=MessageRole.TOOL_RESPONSE, content="Observation: 7"),
        ChatMessage(role=MessageRole.USER, content="Go on."),
    ]
    assert _flatten(messages) == (
        Message("system", "Be brief."),
        Message("user", "Task\n{{ x }}"),
        Message("assistant", "call"),
        Message("user", "Observation: 7\nGo on."),
    )


def test_a_grammar_says_nothing_but_what_the_options_say(
    dossier: Dossier, personas: tuple[Persona, ...], prompts: Prompts, scripted: ScriptedEngine
) -> None:
    tools = toolbox(Desk(personas[0], dossier), scripted, prompts)
    grammar = call_grammar({"list_rivals": {}}, tools)
    assert replace(grammar, schema="") == Grammar(
        "lark", 'start: list_rivals\nlist_rivals: "{\\"name\\": \\"list_rivals\\", \\"arguments\\": {"  "}}"\n'
    )
    assert json.loads(grammar.schema)["properties"]["name"] == {"const": "list_rivals"}
