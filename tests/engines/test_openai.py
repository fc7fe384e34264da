"""The engine `openai` on a server that is told what to say: how it asks, what it accepts, what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from panel.engines import open_engine
from panel.engines.memory import doctor
from panel.engines.openai import DRAWS, OpenAIEngine, open_openai
from panel.engines.server import Server, ServerOptions
from panel.engines.server_kinds import KINDS
from panel.errors import EngineError, SetupError
from panel.requests import GenerateRequest, Grammar, Message, Sampling, ScoreRequest
from tests.engines.fake_server import FakeServer, Reply, chat_reply, serving

CALL = Grammar(
    "lark",
    'start: look | list\nlook: "{\\"name\\": \\"look\\", \\"arguments\\": {" "\\"at\\": " look_at "}}"\n'
    'look_at: %json {"type": "string", "enum": ["docs", "price"]}\n'
    'list: "{\\"name\\": \\"list\\", \\"arguments\\": {}}"\n',
    '{"anyOf": [{"type": "object"}]}',
)
SENTENCE = Grammar("words", json.dumps({"terms": ["Lanternfish 1.2", "WebAssembly", "C++"], "max_words": 6}))
GOOD = '{"name": "look", "arguments": {"at": "price"}}'

Start = Callable[..., FakeServer]
Open = Callable[..., OpenAIEngine]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda kind="llama.cpp", model="toy": stack.enter_context(serving(FakeServer(kind, model)))


@pytest.fixture
def opened() -> Open:
    """The engine on a server, with nothing of the opening left in the server's notes; it never really waits."""

    def make(fake: FakeServer, model: str = "", **options: Any) -> OpenAIEngine:
        chosen = ServerOptions(fake.url, **options)
        engine = open_openai(model, chosen, server=Server(chosen, sleep=lambda _: None))
        fake.asked.clear()
        return engine

    return make


def ask(grammar: Grammar = CALL, opening: str = "", **fields: Any) -> GenerateRequest:
    turns = (Message("system", "Be brief."), Message("user", "What now?"))
    return GenerateRequest("step/x", fields.pop("messages", turns), grammar, opening=opening, **fields)


# -------------------------------------------------------------------------------------------- what answers there


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("llama-cpp-python", "llama-cpp-python 0.3.36"),
        ("llama.cpp", "llama.cpp b6000-abc"),
        ("vllm", "vllm 0.12.0"),
        ("ollama", "ollama 0.13.1"),
        ("lmstudio", "lmstudio"),
        ("other", "other"),
    ],
)
def test_every_kind_is_recognised_and_can_be_named(start: Start, opened: Open, kind: str, version: str) -> None:
    fake = start(kind)
    info = opened(fake).info
    assert (info.engine, info.engine_version, info.model) == ("openai", version, "toy")
    assert info == opened(fake, kind=kind).info
    assert re.fullmatch("[0-9a-f]{64}", info.model_sha256)
    assert info.adapter_sha256 == ""


def test_a_model_of_ollama_that_somebody_else_owns(start: Start, opened: Open) -> None:
    fake = start("ollama")
    fake.routes["/v1/models"] = lambda _: Reply({"data": [{"id": "toy", "owned_by": "jane"}]})
    assert opened(fake).info.engine_version == "ollama 0.13.1"


def test_the_kind_that_is_named_is_taken(start: Start, opened: Open) -> None:
    fake = start("other")
    fake.routes |= start("llama.cpp").routes | {"/v1/models": fake.routes["/v1/models"]}
    assert opened(fake, kind="llama.cpp").info.engine_version == "llama.cpp b6000-abc"


def test_models_are_told_apart_and_paths_stay_on_the_server(start: Start, opened: Open) -> None:
    one = opened(start(model="/home/jane/models/a.gguf")).info
    assert one.model == "a.gguf"
    assert opened(start(model="org/name")).info.model == "org/name"
    assert opened(start(model="C:\\models\\a.gguf")).info == one
    assert opened(start(model="b.gguf")).info.model_sha256 != one.model_sha256


def test_the_model_is_asked_for_by_the_servers_name_for_it(start: Start, opened: Open) -> None:
    fake = start(model="/models/a.gguf")
    for name in ("", "embedded", "a.gguf", "/models/a.gguf"):
        fake.chat = lambda _: chat_reply(GOOD)
        opened(fake, name).generate([ask()])
        assert fake.bodies()[-1]["model"] == "/models/a.gguf"


@pytest.mark.parametrize(
    ("change", "model", "kind", "says"),
    [
        ({"data": [{"id": "toy"}]}, "other", "auto", "[--model]: http://127.0.0.1:"),
        ({"data": [{"id": "toy"}]}, "other", "auto", "has no model 'other'. Fix: choose one of 'toy'"),
        ({"data": []}, "", "auto", "lists no model"),
        ({"data": [3, {}]}, "", "auto", "lists no model"),
        ({}, "", "auto", "lists no model"),
        ({"data": [{"id": "toy"}]}, "", "steam", "unknown kind 'steam'. Fix: choose auto, llama-cpp-python"),
    ],
)
def test_a_server_without_the_model(
    start: Start, opened: Open, change: dict[str, Any], model: str, kind: str, says: str
) -> None:
    fake = start()
    fake.routes["/v1/models"] = lambda _: Reply(change)
    with pytest.raises(SetupError) as caught:
        opened(fake, model, kind=kind)
    assert says in str(caught.value)


def test_nothing_answers(opened: Open, start: Start) -> None:
    with serving(FakeServer("other")) as gone:
        url = gone.url
    gone.url = url
    with pytest.raises(SetupError) as caught:
        opened(gone)
    assert str(caught.value).startswith(f"[--base-url]: {url} cannot be reached")
    assert str(caught.value).endswith(". Fix: start the server, or correct --base-url")


def test_another_address_of_the_same_server(opened: Open, start: Start) -> None:
    fake = start()
    fake.url = fake.url.removesuffix("/v1")
    with pytest.raises(SetupError, match=r"answers 404.*Fix: check --base-url, which mostly ends in /v1"):
        opened(fake)


def test_the_engine_by_its_name(start: Start) -> None:
    fake = start()
    assert open_engine("openai", "embedded", server=ServerOptions(fake.url)).info.model == "toy"
    with pytest.raises(SetupError, match="--base-url"):
        open_engine("openai", "embedded")
    with pytest.raises(SetupError, match="add --engine openai"):
        open_engine("openvino", "embedded", server=ServerOptions(fake.url))


def test_the_doctor_asks_the_server(start: Start) -> None:
    fake = start("vllm")
    check = doctor("embedded", "openai", ServerOptions(fake.url))[-1]
    assert (check.name, check.ok, check.detail) == ("server", True, "toy on vllm 0.12.0, with log-probabilities")
    check = doctor("embedded", "openai")[-1]
    assert (check.ok, check.fix) == (False, "--base-url http://127.0.0.1:8000/v1")


# ------------------------------------------------------------------------------------------- structured output


def field(kind: str, body: dict[str, Any]) -> Any:
    match kind:
        case "llama.cpp" | "llama-cpp-python":
            return body["grammar"]
        case "vllm":
            return body["structured_outputs"]["grammar"]
    assert body["response_format"]["type"] == "json_schema"
    return body["response_format"]["json_schema"]["schema"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_call_is_asked_for_as_each_one_takes_it(start: Start, opened: Open, kind: str) -> None:
    fake = start(kind)
    fake.chat = lambda _: chat_reply(GOOD)
    done = opened(fake).generate([ask()])[0]
    assert (done.text, done.prompt_tokens, done.finish) == (GOOD, 7, "stop")
    (body,) = fake.bodies()
    if KINDS[kind].takes == "schema":
        assert field(kind, body) == {"anyOf": [{"type": "object"}]}
    else:
        assert field(kind, body) == (
            "root ::= start\nstart ::= look | list\n"
            'look ::= "{\\"name\\": \\"look\\", \\"arguments\\": {" "\\"at\\": " look-at "}}"\n'
            'look-at ::= "\\"docs\\"" | "\\"price\\""\n'
            'list ::= "{\\"name\\": \\"list\\", \\"arguments\\": {}}"\n'
        )
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What now?"},
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_opening_of_a_sentence_is_part_of_the_grammar(start: Start, opened: Open, kind: str) -> None:
    """And of the answer, from which it is taken off."""
    fake = start(kind)
    sentence = "At $5 (a month), it runs on WebAssembly, C++."
    json_kind = KINDS[kind].takes == "schema"
    fake.chat = lambda _: chat_reply(json.dumps({"text": sentence}) if json_kind else sentence)
    opening = "At $5 (a month), it runs"
    assert opened(fake).generate([ask(SENTENCE, opening)])[0].text == " on WebAssembly, C++."
    asked = field(kind, fake.bodies()[0])
    if json_kind:
        pattern = asked["properties"]["text"]["pattern"]
        assert re.fullmatch(pattern, sentence)
        assert not re.fullmatch(pattern, sentence.replace("$5", "$6"))
        assert not re.fullmatch(pattern, sentence.replace("WebAssembly", "Webassembly"))
        assert not re.fullmatch(pattern, opening + " on" * 7 + ".")
        assert re.fullmatch(pattern, opening + " on" * 6 + ".")
    else:
        assert asked.startswith('root ::= "At $5 (a month), it runs" item (","? item){0,5} "."\nitem ::= " " word\n')


def test_the_field_that_older_releases_of_vllm_have(start: Start, opened: Open) -> None:
    fake = start("vllm")
    fake.chat = lambda _: chat_reply(GOOD)
    fake.routes["/version"] = lambda _: Reply({"version": "0.10.2"})
    opened(fake).generate([ask()])
    assert fake.bodies()[0]["guided_grammar"].startswith("root ::=")
    assert "structured_outputs" not in fake.bodies()[0]


def test_tokens_are_drawn_as_asked(start: Start, opened: Open) -> None:
    """A server's own defaults (the 40 likeliest, a penalty for repeating) would change what a seed gives."""
    fake = start("llama-cpp-python")
    fake.chat = lambda _: chat_reply(GOOD)
    engine = opened(fake)
    requests = [ask(sampling=Sampling(0.7, 0.9, 50), seed=seed) for seed in (3, 3, 4)]
    engine.generate(requests)
    first, other = sorted(fake.bodies(), key=lambda body: body["seed"])  # asked twice, computed once
    assert first["seed"] != other["seed"]
    assert {name: first[name] for name in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")} == {
        "temperature": 0.7, "top_p": 0.9, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0,
    }  # fmt: skip
    assert 50 <= first["max_tokens"] < 100
    engine.generate(requests)
    assert len(fake.bodies()) == 2


def test_what_the_grammar_leaves_no_choice_about_is_not_asked(start: Start, opened: Open) -> None:
    fake = start("other")
    only = Grammar("lark", 'start: " die Größe zählt."\n')
    assert opened(fake).generate([ask(only)])[0].text == " die Größe zählt."
    assert fake.asked == []


def test_marks_of_templates_do_not_reach_the_model(start: Start, opened: Open) -> None:
    fake = start()
    fake.chat = lambda _: chat_reply(GOOD)
    engine = opened(fake)
    text = "a<|im_<|im_start|>end|>b</s>c[INST]d<start_of_turn>e"
    engine.generate([ask(messages=(Message("user", text),))])
    engine.score([ScoreRequest("k", text, (" good",))])
    assert fake.bodies()[0]["messages"][0]["content"] == "abcde"
    assert fake.bodies("/v1/completions")[0]["prompt"] == "abcde"


# ----------------------------------------------------------------------------------------------- the check here


@pytest.mark.parametrize("kind", ["llama.cpp", "other"])
def test_an_answer_outside_the_grammar_is_drawn_again(start: Start, opened: Open, kind: str) -> None:
    fake = start(kind)
    said = iter(["I would look at the price.", '{"name": "look", "arguments": {"at": "the moon"}}', GOOD])
    fake.chat = lambda _: chat_reply(next(said))
    assert opened(fake).generate([ask()])[0].text == GOOD
    bodies = fake.bodies()
    assert len({body["seed"] for body in bodies}) == 3
    assert [body["temperature"] for body in bodies] == [0.0, 0.7, 0.7]


def test_a_server_that_never_keeps_to_the_grammar(start: Start, opened: Open) -> None:
    fake = start()
    fake.chat = lambda _: chat_reply("Sure!\x07 " + "x" * 500)
    with pytest.raises(EngineError, match=f"does not keep to the grammar, {DRAWS} times over: 'Sure!") as caught:
        opened(fake).generate([ask()])
    assert len(fake.bodies()) == DRAWS
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        '{"name":"look","arguments":{"at":"price"}}',
        '\n{\n  "name": "look",\n  "arguments": {"at": "price"}\n}\n',
        f"```json\n{GOOD}\n```",
    ],
)
def test_json_may_be_written_in_any_way(start: Start, opened: Open, content: str) -> None:
    fake = start("other")
    fake.chat = lambda _: chat_reply(content)
    assert opened(fake).generate([ask()])[0].text == GOOD
    assert len(fake.bodies()) == 1


@pytest.mark.parametrize(
    "content", ["It runs on WebAssembly.", "on WebAssembly.", '{"text": "It runs on WebAssembly."}']
)
def test_a_sentence_may_come_with_its_opening_or_without(start: Start, opened: Open, content: str) -> None:
    fake = start("other")
    fake.chat = lambda _: chat_reply(content)
    assert opened(fake).generate([ask(SENTENCE, "It runs")])[0].text == " on WebAssembly."


def test_a_sentence_that_is_cut_off_ends_with_a_whole_word(start: Start, opened: Open) -> None:
    fake = start()
    fake.chat = lambda _: chat_reply("It runs on Lanternfish 1.2, and on Web", "length")
    done = opened(fake).generate([ask(SENTENCE, "It runs")])[0]
    assert (done.text, done.finish) == (" on Lanternfish 1.2, and on", "length")


def test_a_call_that_is_cut_off_is_drawn_again(start: Start, opened: Open) -> None:
    fake = start()
    said = iter([chat_reply(GOOD[:20], "length"), chat_reply(GOOD)])
    fake.chat = lambda _: next(said)
    assert opened(fake).generate([ask()])[0].text == GOOD


def test_a_server_that_refuses_schemas_is_asked_without(start: Start, opened: Open) -> None:
    fake = start("other")
    fake.chat = lambda body: (
        Reply({"error": "unknown response_format"}, 400) if "response_format" in body else chat_reply(GOOD)
    )
    engine = opened(fake)
    assert engine.constrained
    assert engine.generate([ask(seed=1)])[0].text == GOOD
    assert not engine.constrained
    assert engine.generate([ask(seed=2)])[0].text == GOOD
    assert ["response_format" in body for body in fake.bodies()] == [True, False, False]
    fake.chat = lambda _: chat_reply("Sure!")
    with pytest.raises(EngineError, match="does not keep to the grammar"):
        engine.generate([ask(seed=3)])


def test_a_server_that_refuses_a_grammar_says_why(start: Start, opened: Open) -> None:
    fake = start()
    fake.chat = lambda _: Reply({"error": {"message": "failed to parse grammar"}}, 400)
    with pytest.raises(EngineError, match="answers 400: failed to parse grammar"):
        opened(fake).generate([ask()])
    assert len(fake.bodies()) == 1


@pytest.mark.parametrize(
    "answer",
    [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": {"content": ["x"]}}]}, {"choices": [3]}],
)
def test_an_answer_of_another_shape(start: Start, opened: Open, answer: dict[str, Any]) -> None:
    fake = start()
    fake.chat = lambda _: Reply(answer)
    with pytest.raises(EngineError, match="lacks what a chat answer has"):
        opened(fake).generate([ask()])


def test_one_failure_in_a_batch_costs_the_others_nothing(start: Start, opened: Open) -> None:
    """The scheduler asks again for each alone; what was answered is not asked of the server again."""
    fake = start()
    fake.chat = lambda body: chat_reply(GOOD if body["messages"][-1]["content"] == "good" else "Sure!")
    good, bad = (ask(messages=(Message("user", text),)) for text in ("good", "bad"))
    engine = opened(fake, in_flight=1)
    with pytest.raises(EngineError):
        engine.generate([good, bad])
    assert engine.generate([good])[0].text == GOOD
    assert len(fake.bodies()) == 1 + DRAWS


def test_the_likelihood_of_what_follows_the_opening(start: Start, opened: Open) -> None:
    fake = start("llama.cpp")
    listed = [("It", -9.0), (" runs", -9.0), (" on", -0.25), (" WebAssembly", -0.5), (".", -0.125)]
    content = [{"token": token, "logprob": value} for token, value in listed]
    fake.chat = lambda _: chat_reply("It runs on WebAssembly.", logprobs={"content": content})
    assert opened(fake).generate([ask(SENTENCE, "It runs")])[0].logprob == -0.875
    assert fake.bodies()[0]["logprobs"] is True


def test_where_likelihoods_cost_more_than_the_draft_none_are_asked_for(start: Start, opened: Open) -> None:
    fake = start("llama-cpp-python")
    fake.chat = lambda _: chat_reply("It runs on WebAssembly.")
    assert opened(fake).generate([ask(SENTENCE, "It runs")])[0].logprob == 0.0
    assert "logprobs" not in fake.bodies()[0]


# ------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_scored_as_each_one_tells_it(start: Start, opened: Open, kind: str) -> None:
    """The fake's log-probability of a token is minus its length: " a" −2, " small" −6, " town" −5, "." −1."""
    fake = start(kind)
    engine = opened(fake)
    scores = engine.score([
        ScoreRequest("a", "For a reader this is", (" good", " bad")),
        ScoreRequest("b", "The capital is", (" a small town.", " Paris")),
    ])  # fmt: skip
    assert [s.logprobs for s in scores] == [(-1.25, -2.5), (-14.0, -6.0)]
    assert [s.prompt_tokens for s in scores] == [5, 3]
    assert [engine.count_tokens(text) for text in (" good", " a small town.")] == [1, 4]
    fields = [body for body in fake.bodies("/v1/completions") if body["max_tokens"] != 1 or body.get("echo")]
    if KINDS[kind].scores == "echo":
        assert [body["echo"] for body in fields] == [True]
        assert fields[0]["prompt"] == "The capital is a small town."
    else:
        assert [body["grammar"] for body in fields] == ['root ::= " a small town."\n']
        # 50 a letter and 50: " a", " small", " town", "."
        bias = fields[0]["logit_bias"]
        assert (list(bias.values()) if kind == "llama-cpp-python" else [value for _, value in bias]) == [
            150.0, 350.0, 300.0, 100.0,
        ]  # fmt: skip


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm"])
def test_a_candidate_that_is_not_in_the_list_is_scored_by_itself(start: Start, opened: Open, kind: str) -> None:
    fake = start(kind)
    assert opened(fake).score([ScoreRequest("k", "This is", (" good", " splendid"))])[0].logprobs == (-1.25, -9.0)


def test_tokens_that_are_not_the_candidates_are_no_score(start: Start, opened: Open) -> None:
    fake = start("llama.cpp")
    engine = opened(fake)
    plain = fake.routes["/v1/completions"]

    def split(body: dict[str, Any]) -> Reply:
        reply = plain(body)
        for entry in reply.body["choices"][0]["logprobs"]["content"]:
            entry["token"] = entry["token"].strip()
        return reply

    fake.routes["/v1/completions"] = split
    with pytest.raises(EngineError, match="does not tell the log-probability of ' a town' by itself"):
        engine.score([ScoreRequest("k", "It is", (" a town",))])


def test_tokens_that_are_parts_of_letters(start: Start, opened: Open) -> None:
    """llama-cpp-python answers 500 where it is asked for the text of one."""
    fake = start("llama-cpp-python")
    plain = fake.routes["/extras/detokenize"]
    fake.routes["/extras/detokenize"] = lambda body: (
        Reply({"error": {"message": "invalid start byte"}}, 500) if plain(body).body["text"] == "–" else plain(body)
    )
    complete = fake.routes["/v1/completions"]

    def ignoring(body: dict[str, Any]) -> Reply:
        reply = complete(body)
        told = reply.body["choices"][0]["logprobs"]
        told["tokens"] = [token.replace("–", "") for token in told["tokens"]]
        return reply

    fake.routes["/v1/completions"] = ignoring
    # " a" −2, "–" −1, "b" −1
    assert opened(fake).score([ScoreRequest("k", "It is", (" a–b",))])[0].logprobs == (-4.0,)


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm"])
def test_a_candidate_that_grows_into_the_prompt_is_no_score(start: Start, opened: Open, kind: str) -> None:
    """`sand` and `box now` become the tokens `sandbox` and ` now`."""
    with pytest.raises(EngineError, match="does not tell the log-probability"):
        opened(start(kind)).score([ScoreRequest("k", "It is a sand", ("box now",))])


@pytest.mark.parametrize("value", [None, float("-inf"), float("nan")])
def test_a_score_that_is_no_number(start: Start, opened: Open, value: float | None) -> None:
    fake = start("vllm")
    engine = opened(fake)
    plain = fake.routes["/v1/completions"]

    def broken(body: dict[str, Any]) -> Reply:
        reply = plain(body)
        reply.body["choices"][0]["logprobs"]["token_logprobs"][-2] = value
        return reply

    fake.routes["/v1/completions"] = broken
    with pytest.raises(EngineError, match="no finite log-probability"):
        engine.score([ScoreRequest("k", "It is", (" a town",))])


REFUSALS = {
    "llama-cpp-python": Reply({"error": {"message": "logprobs is not supported with logits_all=False"}}, 500),
    "llama.cpp": Reply({"choices": [{"text": " Paris"}], "usage": {"prompt_tokens": 5}}),
    "vllm": Reply({"error": {"message": "Requested sample logprobs of 20, max is 0"}}, 400),
    "ollama": Reply({"choices": [{"text": " Paris", "logprobs": None}], "usage": {"prompt_tokens": 5}}),
    "lmstudio": Reply({"choices": [{"text": " Paris", "logprobs": {}}], "usage": {"prompt_tokens": 5}}),
    "other": Reply({"error": {"message": "no such route"}}, 404),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_without_logprobs_is_refused_before_anything_is_done(start: Start, opened: Open, kind: str) -> None:
    fake = start(kind)
    fake.routes["/v1/completions"] = lambda _: REFUSALS[kind]
    with pytest.raises(SetupError) as caught:
        opened(fake)
    assert f"{fake.url} ({kind}) does not tell log-probabilities" in str(caught.value)
    assert caught.value.fix == KINDS[kind].fix
    if kind == "llama-cpp-python":
        assert "--logits_all true" in str(caught.value)


def test_a_server_that_falls_silent_is_not_said_to_lack_something(start: Start, opened: Open) -> None:
    fake = start("llama.cpp")
    fake.routes["/v1/completions"] = lambda _: Reply(delay=1.2)
    with pytest.raises(SetupError, match=r"gave no answer within 0\.4 s\. Fix: give it longer with --timeout"):
        opened(fake, timeout=0.4)


def test_an_echo_that_the_server_ignores_is_refused(start: Start, opened: Open) -> None:
    fake = start("other")
    fake.routes["/v1/completions"] = lambda body: fake.complete({**body, "echo": False})
    with pytest.raises(SetupError, match="does not tell log-probabilities"):
        opened(fake)


def test_tokens_are_counted_by_the_server_or_estimated(start: Start, opened: Open) -> None:
    fake = start("llama-cpp-python")
    assert opened(fake).count_tokens(" keeps logs for a year") == 5
    assert opened(start("other")).count_tokens(" keeps logs for a year") == 6  # 22 bytes, four to a token
    fake.routes["/extras/tokenize"] = lambda _: Reply({"count": 3})
    with pytest.raises(SetupError, match="answers without tokens"):
        opened(fake)
