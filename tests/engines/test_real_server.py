"""The engine `openai` on a real server: llama-cpp-python's, with the embedded model as it was published.

`make test-server` makes the server's environment; the server listens on loopback while these tests run.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from panel.engines import ServerOptions, openai
from panel.engines.embedded import BASE, cache_root
from panel.engines.openai import OpenAIEngine, open_openai
from panel.records import Comparison
from panel.requests import GenerateRequest, Grammar, Message, Sampling, ScoreRequest
from tests.cli.commands import CASES, ROOT, Command

pytestmark = pytest.mark.server

#: With half of the processors, which is the server's own choice: with all of them, threads that wait for one another
#: come to a standstill on a machine that has anything else to do.
THREADS = str(max(1, (os.cpu_count() or 2) // 2))
SECONDS_TO_START = 300
SERVER = ROOT / ".venv-server"
FACT = "Agent code runs in a WebAssembly sandbox, so that it cannot touch the host."


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the server, which is ended by its own handle."""
    python = next((path for place in ("bin/python", "Scripts/python.exe") if (path := SERVER / place).exists()), None)
    model = cache_root() / "embedded" / BASE.file_name
    assert python is not None, "there is no server: make test-server"
    assert model.is_file(), f"{model} is not there: review-panel models pull embedded-base --verify"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    options = {"model": model, "host": "127.0.0.1", "port": port, "n_ctx": 2048, "verbose": "false"}
    options |= {"n_threads": THREADS, "n_threads_batch": THREADS}
    command = [str(python), "-m", "llama_cpp.server"]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    base = f"http://127.0.0.1:{port}/v1"
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            _wait_for(base, server, log)
            yield base
        finally:
            server.terminate()


def _wait_for(base: str, server: subprocess.Popen[bytes], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(SECONDS_TO_START):
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            opener.open(f"{base}/models", timeout=10).close()
            return
        except OSError:
            time.sleep(1)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def engine(url: str) -> OpenAIEngine:
    return open_openai("embedded", ServerOptions(url, timeout=600))


def test_what_it_is(engine: OpenAIEngine) -> None:
    assert engine.info.engine_version.startswith("llama-cpp-python 0.")
    assert engine.info.model == BASE.file_name, "no path of the server's machine goes into a record"


def test_it_keeps_to_grammars_at_the_first_draw(engine: OpenAIEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a temperature where a free model would write anything; five thousand words, a name and an opening."""
    monkeypatch.setattr(openai, "DRAWS", 1)
    sentence = Grammar("words", json.dumps({"terms": ["WebAssembly", "C++"], "max_words": 12}))
    call = Grammar(
        "lark",
        "start: price | look\n"
        'price: "{\\"name\\": \\"price\\", \\"arguments\\": {" "\\"plan\\": " plan ", \\"seats\\": " seats "}}"\n'
        'plan: %json {"type": "string", "enum": ["Größe \\"S\\"", "Team"]}\n'
        'seats: %json {"type": "integer", "minimum": 1, "maximum": 500}\n'
        'look: "{\\"name\\": \\"look\\", \\"arguments\\": {}}"\n',
    )
    turns = (Message("user", f"Facts:\n- {FACT}\n\nWhat does it do?"),)
    hot = Sampling(1.2, 1.0, 60)
    requests = [GenerateRequest(f"s/{n}", turns, sentence, hot, n, 'Its "sandbox" is that') for n in range(3)]
    requests += [GenerateRequest(f"c/{n}", turns, call, hot, n) for n in range(3)]
    texts = [done.text for done in engine.generate(requests)]
    assert all(text.startswith(" ") for text in texts[:3])
    assert all(json.loads(text)["name"] in ("price", "look") for text in texts[3:])
    assert len(set(texts)) > 2


def test_its_log_probabilities_are_those_of_our_own_engines(engine: OpenAIEngine) -> None:
    """The server reckons with the file's 4 bits and 8-bit activations, ours with what they stand for: the difference
    is measured, and small beside the pulls of facts."""
    from panel.engines import open_engine

    own = open_engine("openvino", "embedded-base")
    asked = [
        ScoreRequest("a", "For a software developer, this is", (" good", " bad")),
        ScoreRequest("b", "The capital of France is", (" Paris", " a small town in the north.")),
        ScoreRequest(
            "c", f"Fact: {FACT}\n\nIn other words:\n", (f" what stands out is that {FACT[0].lower()}{FACT[1:]}",)
        ),
        ScoreRequest("d", "In other words:\n", (" six guests can sleep in the cabin, which a wood stove keeps warm.",)),
    ]
    for request, theirs, ours in zip(asked, engine.score(asked), own.score(asked), strict=True):
        for candidate, one, other in zip(request.candidates, theirs.logprobs, ours.logprobs, strict=True):
            tokens = own.count_tokens(candidate)
            assert engine.count_tokens(candidate) == tokens
            assert abs(one - other) / tokens < 0.1, (candidate, one, other)


def test_the_whole_panel(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight reviews, all of them scored, in a record that keeps to its schema."""
    monkeypatch.setenv("COLUMNS", "200")
    tools = (CASES / "smolagents-2", CASES / "mistral-3b")
    ran = Command(monkeypatch, capsys)(
        "compare", *tools, "--engine", "openai", "--base-url", url, "--timeout", "600", "--json", "--out", tmp_path
    )
    data = json.loads(ran.out)
    unscored = [review["reason"] for tool in data["tools"] for review in tool["reviews"] if review["reason"]]
    assert (ran.code, unscored) == (0, [])
    schema = Comparison.model_json_schema(by_alias=True, mode="serialization")
    jsonschema.validate(data, schema, jsonschema.Draft202012Validator)
    reviews = [review for tool in data["tools"] for review in tool["reviews"]]
    assert [review["status"] for review in reviews] == ["scored"] * 8
    for review in reviews:
        assert review["provenance"]["engine"] == "openai"
        assert not review["provenance"]["calibrated"]
        assert all(beat["cites"] or beat["silent"] for beat in review["beats"])
    assert "not calibrated for" in ran.err
