"""The whole panel through a server that takes JSON schemas, and through one that says it does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from panel.engines import ServerOptions, open_engine
from panel.errors import EngineError
from panel.prompts import Prompts
from panel.records import Comparison, Dossier, Persona
from panel.run import compare
from panel.weigh import CONTENT_FREE
from tests.cli.commands import Command, assert_refused
from tests.engines.fake_server import Body, FakeServer, Reply, chat_reply, serving
from tests.scripted import last_fact, restated


def instance(schema: dict[str, Any]) -> Any:
    """The first thing that a JSON schema of ours admits."""
    if "anyOf" in schema:
        return instance(schema["anyOf"][0])
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    match schema["type"]:
        case "object":
            return {name: instance(value) for name, value in schema["properties"].items()}
        case "array" if "prefixItems" in schema:
            return [instance(item) for item in schema["prefixItems"]]
        case "array":
            return schema["items"]["enum"][: schema["minItems"]]
        case "integer":
            return schema["minimum"]
    return "the machine"


def write(body: Body) -> Reply:
    """A call, or the fact restated after the opening that the pattern asks for; in JSON without spaces."""
    schema = body["response_format"]["json_schema"]["schema"]
    if "text" not in schema.get("properties", {}):
        return chat_reply(json.dumps(instance(schema), separators=(",", ":")))
    opening = re.sub(r"\\(.)", r"\1", schema["properties"]["text"]["pattern"][1:].partition(" (")[0])
    return chat_reply(json.dumps({"text": opening + restated(last_fact(body["messages"][-1]["content"]))}))


def judge(fake: FakeServer) -> None:
    """Likes every fact that says something."""
    plain = fake.complete

    def rate(body: Body) -> Reply:
        reply = plain(body)
        facts = re.findall(r"Fact", body["prompt"])
        if body.get("max_tokens") == 1 and not body.get("echo") and facts:
            liked = last_fact(body["prompt"]) not in CONTENT_FREE
            top = {" good": -1.0, " bad": -9.0 if liked else -1.0}
            reply.body["choices"][0]["logprobs"]["top_logprobs"] = [top]
        return reply

    fake.routes["/v1/completions"] = rate


@pytest.mark.parametrize(("kind", "loop"), [("ollama", "led"), ("other", "free")])
def test_eight_scored_reviews(
    dossier: Dossier, other_dossier: Dossier, personas: tuple[Persona, ...], prompts: Prompts, tmp_path: Path,
    kind: str, loop: Any,
) -> None:  # fmt: skip
    fake = FakeServer(kind)
    fake.chat = write
    judge(fake)
    with serving(fake):
        engine = open_engine("openai", "embedded", server=ServerOptions(fake.url, in_flight=3))
        outcome = compare([dossier, other_dossier], personas, prompts, engine, out=tmp_path, loop=loop)
    reviews = [review for tool in outcome.record.tools for review in tool.reviews]
    assert [review.reason for review in reviews] == [None] * 8
    assert {review.decision for review in reviews} == {"ship"}
    assert {review.provenance.engine for review in reviews} == {"openai"}
    assert any(beat.cites and not beat.verbatim for review in reviews for beat in review.beats)
    Comparison.model_validate_json(outcome.record.model_dump_json(by_alias=True))
    assert fake.most_at_once <= 3


def test_a_server_that_ignores_what_it_is_asked_scores_nothing(
    dossier: Dossier, personas: tuple[Persona, ...], prompts: Prompts, tmp_path: Path
) -> None:
    """It says 200 to every schema and writes what it likes: nothing of that reaches a page."""
    fake = FakeServer("other")
    fake.chat = lambda _: chat_reply("Lanternfish was bought by Acme for $9 billion.")
    judge(fake)
    with serving(fake):
        engine = open_engine("openai", "embedded", server=ServerOptions(fake.url))
        with pytest.raises(EngineError, match=r"every review failed: .* does not keep to the grammar"):
            compare([dossier], personas, prompts, engine, out=tmp_path, loop="free")
    traces = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "final_answer" in traces
    assert not list(tmp_path.rglob("comparison.*"))


# ----------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return Command(monkeypatch, capsys)


def test_a_review_by_the_command(command: Command, dossier_file: Any, tmp_path: Path) -> None:
    fake = FakeServer("lmstudio")
    fake.chat = write
    judge(fake)
    with serving(fake):
        asked = ("--engine", "openai", "--base-url", fake.url, "--in-flight", "2", "--timeout", "30")
        ran = command("review", dossier_file(), *asked, "--out", tmp_path / "out", "--json")
        assert ran.code == 0, ran.err
        assert "not calibrated for toy on openai" in ran.err
        assert json.loads(ran.out)["tools"][0]["reviews"][0]["provenance"]["engine_version"] == "lmstudio"
        doctor = command("models", "doctor", "--engine", "openai", "--base-url", fake.url)
        assert (doctor.code, "✓ server: toy on lmstudio" in doctor.out) == (0, True)
    ran = command("review", dossier_file(), *asked, "--out", tmp_path / "out")
    assert_refused(ran, fake.url, "start the server")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--engine", "openai"), "[--base-url]: the engine openai needs the address of a server"),
        (("--base-url", "http://127.0.0.1:9/v1"), "only the engine openai asks a server. Fix: add --engine openai"),
        (("--engine", "openai", "--base-url", "localhost:8000"), "is no http or https address"),
    ],
)
def test_what_is_missing(command: Command, dossier_file: Any, tmp_path: Path, options: Any, says: str) -> None:
    ran = command("review", dossier_file(), *options, "--out", tmp_path / "out")
    assert_refused(ran, says)
