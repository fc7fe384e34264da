"""The benchmark on stand-ins: what is valid, what a ratio is worth, and what becomes of a peer that fails."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.bench import command as bench_command
from evals.bench.children import Ended, interpreter_with, interpreters, read_lines, run_child
from evals.bench.command import Options, bench, table
from evals.bench.contenders import Contender, Material, peers
from evals.bench.figures import Rate, Spread, figures, ratio, shares
from evals.grounded import dossier_words
from evals.peers.protocol import peak_bytes
from evals.peers.tasks import schema_of, task_of
from evals.peers.work import Known, work_of
from evals.validity import Verdict, is_loop, judge, parsed
from panel.records import Dossier, Persona
from panel.requests import Completion, GenerateRequest, Grammar, Message, ScoreRequest, Scores

GOOD = Verdict(True, True)


@pytest.fixture
def builder(persona: Callable[[str], Persona]) -> Persona:
    return persona("builder")


TEXTS = (
    "Queries run on every core of the machine.",
    "Each command of the manual has an example.",
    "Backups stop while the index is rebuilt.",
    "The source code is published under Apache-2.0.",
    "A plan for small teams costs $12 per seat.",
)


def review(persona: Persona, **changes: Any) -> dict[str, Any]:
    """A good review of Lanternfish; `changes` replace values of its second beat."""
    beats = {
        spec.name: {"text": text, "cites": [f"E{n}"]}
        for n, (spec, text) in enumerate(zip(persona.beats, TEXTS, strict=True), start=1)
    }
    beats[persona.beats[1].name].update(changes)
    return {"decision": "ship", "beats": beats}


def verdict(text: str, dossier: Dossier, persona: Persona) -> Verdict:
    return judge(text, dossier, dossier_words(dossier.model_dump(by_alias=True)), persona)


# ------------------------------------------------------------------------------------------------------- validity


def test_a_good_review_is_valid_whatever_stands_around_its_json(dossier: Dossier, builder: Persona) -> None:
    said = review(builder)
    as_list = {**said, "beats": [{"name": name, **beat} for name, beat in said["beats"].items()]}
    for text in (json.dumps(said), f"Sure! ```json\n{json.dumps(said, indent=1)}\n``` Done.", json.dumps(as_list)):
        assert verdict(text, dossier, builder) == GOOD


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda said: said.pop("decision"), "no decision"),
        (lambda said: said.update(decision="maybe"), "no decision"),
        (lambda said: said.update(beats="none"), "a beat is missing or empty"),
        (lambda said: said["beats"].pop("dx-bet"), "a beat is missing or empty"),
        (lambda said: said["beats"]["dx-bet"].update(text=" \n"), "a beat is missing or empty"),
        (lambda said: said["beats"]["dx-bet"].update(text=["a"]), "a beat is missing or empty"),
        (lambda said: said["beats"]["dx-bet"].update(cites=["E1", "E99"]), "a beat cites what there is not"),
        (lambda said: said["beats"]["dx-bet"].update(cites="E1"), "a beat cites what there is not"),
    ],
)
def test_a_review_that_lacks_something_is_not_well_formed(
    dossier: Dossier, builder: Persona, change: Callable[[dict[str, Any]], None], fault: str
) -> None:
    said = review(builder)
    change(said)
    assert verdict(json.dumps(said), dossier, builder) == Verdict(False, False, (fault,))


@pytest.mark.parametrize("text", ["", "I would ship it.", "[1]", '{"decision": "ship"', "[" * 3000, "null"])
def test_what_holds_no_object_is_not_well_formed(dossier: Dossier, builder: Persona, text: str) -> None:
    assert verdict(text, dossier, builder) == Verdict(False, False, ("no JSON object",))
    assert parsed(text) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"cites": []}, "a beat cites nothing"),
        ({"text": "The manual was written by people at Fjordworks."}, "a name or number from outside the dossier"),
        ({"text": "The manual has 73 examples."}, "a name or number from outside the dossier"),
        ({"text": "The manual shows the manual shows the manual shows it."}, "a text in a loop"),
        ({"text": TEXTS[0].upper().lower()}, "the same beat twice"),
    ],
)
def test_a_well_formed_review_may_not_be_grounded(
    dossier: Dossier, builder: Persona, changes: dict[str, Any], fault: str
) -> None:
    assert verdict(json.dumps(review(builder, **changes)), dossier, builder) == Verdict(True, False, (fault,))


@pytest.mark.parametrize(
    ("text", "looped"),
    [
        ("the the the", True),
        ("a tool for a team, a tool for a team, a tool for a team", True),
        ("token token tool token tool token token tool tool token token tool", True),
        ("x" * 61, True),
        ("It runs very, very fast on a laptop.", False),
        (" ".join(TEXTS), False),
        ("", False),
    ],
)
def test_a_loop_is_told_from_a_sentence(text: str, looped: bool) -> None:
    assert is_loop(text) is looped


# ----------------------------------------------------------------------------------------------------- arithmetic


def test_a_rate_counts_valid_reviews_per_minute() -> None:
    assert Rate(6, 8, 1.5).per_minute == 4.0
    assert Rate(6, 8, 1.5).upper is None
    assert Rate(0, 0, 0.0).per_minute == 0.0
    assert Rate(0, 0, 0.0).upper is None


def test_none_of_n_tries_bounds_the_rate() -> None:
    # one try: at most 0.95 valid; two: 1 − √0.05 = 0.7764; in four minutes 0.7764 · 2 / 4 = 0.3882 a minute
    assert Rate(0, 1, 1.0).upper == pytest.approx(0.95)
    assert Rate(0, 2, 4.0).upper == pytest.approx((1 - math.sqrt(0.05)) * 2 / 4)
    assert Rate(0, 2, 4.0).shown() == "0 (under 0.39)"
    # the rule of three: 3 / n for many tries
    assert Rate(0, 1000, 1000.0).upper == pytest.approx(3 / 1000, rel=0.01)


def test_a_ratio_is_more_than_where_only_a_bound_is_known() -> None:
    ours = Rate(24, 24, 0.75)  # 32 a minute
    assert ratio(ours, Rate(8, 9, 2.0), "b", 10).value == 8.0
    assert not ratio(ours, Rate(8, 9, 2.0), "b", 10).met
    known = ratio(ours, Rate(0, 1, 1.9), "a", 50)  # under 0.5 a minute
    assert known.value == pytest.approx(64)
    assert known.more_than
    assert known.met
    assert known.shown() == "more than 64 times"
    assert ratio(Rate(0, 8, 1.0), Rate(1, 1, 1.0), "b", 10).value == 0.0
    for nothing in (None, Rate(0, 0, 0.0)):
        assert ratio(ours, nothing, "c", 5).value is None
        assert ratio(ours, nothing, "c", 5).met is None


def test_the_share_of_the_ceiling_is_its_seconds_over_ours() -> None:
    assert shares([10.0, 8.0, 5.0], [6.0, 6.0, 4.0]) == Spread(0.75, 0.6, 0.8)
    assert shares([10.0, 8.0], [5.0]) == Spread(0.5, 0.5, 0.5)  # the ceiling was measured on the first round alone
    assert shares([10.0], []) is None


def event(name: str, **values: Any) -> dict[str, Any]:
    return {"event": name, **values}


def a_review(at: float, text: str = "good") -> dict[str, Any]:
    return event("review", tool="aider", persona="builder", seconds=1.0, at=at, text=text, error=None)


def a_round(seconds: float, reviews: int, written: int = 0) -> dict[str, Any]:
    return event("round", seconds=seconds, reviews=reviews, prompt_tokens=100, completion_tokens=written)


def test_figures_by_hand() -> None:
    events = [
        event("ready", software="stand-in 1", load_s=2.0, warm_up_s=3.0),
        a_review(9.0, "bad"), a_review(10.0), a_round(5.0, 2, 40),
        a_review(15.0), a_review(20.0, "formed"), a_round(10.0, 2, 20),
        a_review(24.0),  # of a round that was not finished
        event("done", peak_bytes=7),
    ]  # fmt: skip
    known = {"good": GOOD, "formed": Verdict(True, False, ("a text in a loop",)), "bad": Verdict(False, False, ("x",))}
    found = figures(Ended("ok", "", events), lambda line: known[line["text"]])
    assert found.well_formed == Rate(3, 4, 0.25)
    assert found.grounded == Rate(2, 4, 0.25)
    assert found.seconds_per_review == Spread(3.75, 2.5, 5.0)
    assert found.first_review_s == 7.0  # 10 after the start, 3 of them warm-up
    assert (found.load_s, found.written_per_s, found.read_per_s, found.peak_bytes) == (2.0, 4.0, 200 / 15, 7)
    assert found.faults == {"x": 1, "a text in a loop": 1}


def test_figures_of_nothing() -> None:
    found = figures(Ended("failed", "…", []), lambda _: GOOD)
    assert found.well_formed.tries == 0
    assert (found.first_review_s, found.seconds_per_review, found.written_per_s) == (None, None, None)


# ---------------------------------------------------------------------------------------------------- processes

READY = '{"event": "ready", "software": "stand-in 1", "load_s": 0.5, "warm_up_s": 0.25}'
ROUND = '{"event": "round", "seconds": 2.0, "reviews": 1, "prompt_tokens": 5, "completion_tokens": 3}'
REVIEW = '{"event": "review", "tool": "aider", "persona": "builder", "seconds": 2, "at": 3, "text": "", "error": null}'
DONE = '{"event": "done", "peak_bytes": 1000}'


def script(folder: Path, source: str) -> list[str]:
    path = folder / "stand_in.py"
    path.write_text(source)
    return [sys.executable, str(path)]


def test_what_a_peer_prints_is_kept(tmp_path: Path) -> None:
    ended = run_child(script(tmp_path, f"for line in {[READY, REVIEW, ROUND, DONE]}: print(line)"), limit_s=60)
    assert (ended.state, ended.reason) == ("ok", "")
    assert [line["event"] for line in ended.events] == ["ready", "review", "round", "done"]


@pytest.mark.parametrize(
    ("source", "says", "kept"),
    [
        (f"print({READY!r}); raise SystemExit('out of memory')", "exit code 1: out of memory", 1),
        (f"print({READY!r}, flush=True); import os; os.kill(os.getpid(), 9)", "exit code -9", 1),
        (f"print({READY!r}); print('Loading 100%'); print({DONE!r})", "no line of the protocol: 'Loading 100%'", 2),
        (f"print({READY!r}); print({ROUND!r})", "without saying that it was done", 2),
        ("pass", "without saying that it was done", 0),
        (f"print({READY!r}, flush=True); import time; time.sleep(600)", "stopped after 3 s", 1),
    ],
)
def test_a_peer_that_fails_is_named_and_what_it_did_is_kept(tmp_path: Path, source: str, says: str, kept: int) -> None:
    ended = run_child(script(tmp_path, source), limit_s=3 if "sleep" in source else 60)
    assert ended.state == "failed"
    assert says in ended.reason
    assert len(ended.events) == kept


def test_a_peer_that_cannot_be_started_fails(tmp_path: Path) -> None:
    assert "cannot be started" in run_child([str(tmp_path / "nothing")], limit_s=5).reason


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"event": "verdict"}', DONE.replace("1000", '"much"'), ROUND.replace("2.0", "true"), REVIEW[:-20]],
)
def test_a_line_that_is_none_is_noise(line: str) -> None:
    assert read_lines(f"{READY}\n\n{line}\n") == ([json.loads(READY)], [line])


def test_interpreters_are_looked_through_in_order(tmp_path: Path) -> None:
    ours = Path(sys.executable)
    assert interpreter_with(["json", "typer"], [tmp_path / "gone", ours]) == ours
    assert interpreter_with(["json", "no_such_package"], [ours]) is None
    other = tmp_path / ".venv-server" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    other.parent.mkdir(parents=True)
    other.touch()
    named = tmp_path / "named"
    assert interpreters(ours, [named, ours], tmp_path) == [ours, named, other]


PEER = """
import time
from evals.peers.protocol import Answer, serve

clock = [0.0]
time.perf_counter = lambda: clock[0]

class StandIn:
    software = "stand-in 1"
    def __init__(self, job):
        print("a library that talks")
    def warm_up(self, job):
        assert job.warm_up.tool == "warm"
    def prepare(self, task):
        clock[0] += 1000
    def review(self, task):
        clock[0] += 2
        if task.tool == "two":
            raise ValueError("too hard")
        return Answer("said", 10, 4)

serve("A stand-in.", StandIn)
"""


def job(folder: Path) -> Path:
    def task(tool: str) -> dict[str, Any]:
        return {"tool": tool, "persona": "builder", "messages": [], "schema": {}, "max_tokens": 9}

    path = folder / "tasks.json"
    path.write_text(json.dumps({"warm_up": task("warm"), "tasks": [task(name) for name in ("one", "two", "three")]}))
    return path


@pytest.mark.parametrize(("options", "tools"), [([], ["one", "two", "three"]), (["--minutes", "0"], ["one", "two"]),
                                                (["--reviews", "1"], ["one"])])  # fmt: skip
def test_a_peer_says_what_it_wrote_and_what_it_could_not(tmp_path: Path, options: list[str], tools: list[str]) -> None:
    command = [*script(tmp_path, PEER), "--model", "none", "--tasks", str(job(tmp_path)), *options]
    ended = run_child(command, limit_s=60)
    assert ended.state == "ok", ended.reason
    reviews = ended.of("review")
    assert [line["tool"] for line in reviews] == tools  # two tries, however little time there is
    assert [(line["text"], line["error"]) for line in reviews][:2] == [("said", None), ("", "ValueError: too hard")][
        : len(tools)
    ]
    assert all(line["reviews"] == 1 for line in ended.of("round"))
    assert ended.of("round")[0]["completion_tokens"] == 4
    assert ended.of("ready")[0]["load_s"] > 0
    assert {line["seconds"] for line in ended.of("round")} == {2.0}  # what was prepared does not count


def test_memory_is_that_of_this_process() -> None:
    peak = peak_bytes()
    assert peak is None or 10**7 < peak < 10**11


PANEL = """
import panel.engines
from evals.peers import review_panel
from panel.personas import load_personas
from tests.scripted import scripted_engine

panel.engines.open_engine = lambda *_, **__: scripted_engine(load_personas())
review_panel.main()
"""


def test_the_panel_is_a_contender_like_the_others(tmp_path: Path) -> None:
    from evals.shared import case_folders

    *folders, warm_up = map(str, case_folders(4))
    command = [*script(tmp_path, PANEL), "--model", "none", "--dossiers", *folders, "--warm-up", warm_up]
    ended = run_child(command, limit_s=300)
    assert ended.state == "ok", ended.reason
    assert [line["reviews"] for line in ended.of("round")] == [8, 4]
    assert [line["event"] for line in ended.events][:9] == ["ready", *["review"] * 8]
    first = json.loads(ended.of("review")[0]["text"])
    assert set(first) == {"decision", "beats"}
    assert all(line["completion_tokens"] > 0 for line in ended.of("round"))


# -------------------------------------------------------------------------------------------------- tasks and work


def test_a_task_holds_the_evidence_and_the_questions(dossier: Dossier, builder: Persona) -> None:
    from jsonschema import Draft202012Validator

    task = task_of(dossier, builder)
    text = task.messages[1]["content"]
    assert all(f"{item.id} ({item.kind}): {item.text}" in text for item in dossier.evidence)
    assert all(f"{beat.name}: {beat.question}" in text for beat in builder.beats)
    assert builder.voice in text
    validator = Draft202012Validator(schema_of(dossier, builder))
    assert validator.is_valid(review(builder))
    assert not validator.is_valid(review(builder, cites=["E11"]))
    assert not validator.is_valid(review(builder, text=""))


class Letters:
    """A codec whose tokens are letters."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def encode_chat(self, messages: tuple[Message, ...], opening: str = "") -> list[int]:
        return self.encode("".join(message.content for message in messages) + opening)


def test_work_counts_what_no_engine_can_do_without() -> None:
    known = Known()
    assert [known.add([1, 2, 3]), known.add([1, 2, 4]), known.add([1, 2]), known.add([])] == [3, 1, 0, 0]

    def ask(prompt: str, opening: str = "") -> GenerateRequest:
        return GenerateRequest("a/b", (Message("user", prompt),), Grammar("words", ""), opening=opening)

    def answer(text: str, forced: int) -> Completion:
        return Completion(text, 0, len(text), forced, 0.0, "stop")

    calls = [
        (ScoreRequest("w/1", "abcd", ("x", "y")), Scores((0.0, 0.0), 4)),  # four new letters
        (ScoreRequest("w/2", "abce", ("x", "yz")), Scores((0.0, 0.0), 4)),  # e, and y of the longer candidate
        (ask("abfg", "h"), answer("ijk", 1)),  # f, g, h and one forced are read; two are chosen
        (ask("abfghijkl"), answer("m", 0)),  # goes on from the answer: only l is new
        (ask("abfghijkl"), answer("m", 0)),  # nothing is new, but something must be read
        (ask("abfghijkl"), answer("", 0)),  # nothing at all to do
    ]
    assert work_of(calls, Letters(), 3.0).requests == ((4, 1), (2, 1), (4, 2), (1, 1), (1, 1))
    assert (work_of(calls, Letters(), 3.0).read, work_of(calls, Letters(), 3.0).written) == (12, 6)


# ------------------------------------------------------------------------------------------------------ the whole


def options(out: Path, **changes: Any) -> Options:
    known = Options(
        tools=2, engines=("openvino",), model="m", seed=0, minutes=1.0, reviews=4, pythons=(), gguf=None, only=(),
        out=out, as_json=False, plot=False,
    )  # fmt: skip
    return replace(known, **changes)


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four contenders: ours and its ceiling, a peer that fails all the time, and one that is not installed."""
    folder = tmp_path / "modules"
    folder.mkdir()
    text = json.dumps({"decision": "ship", "beats": {}})
    good = json.dumps({**json.loads(REVIEW), "tool": "smolagents-2", "text": text})
    (folder / "ours.py").write_text(
        f"for line in {[READY, *[good] * 8, ROUND.replace('1,', '8,', 1), DONE]}: print(line)"
    )
    (folder / "limit.py").write_text(f"for line in {[READY, ROUND.replace('2.0', '1.5'), DONE]}: print(line)")
    (folder / "never.py").write_text(f"for line in {[READY, *[REVIEW, ROUND] * 2, DONE]}: print(line)")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr("panel.engines.hub.resolve_model", lambda *_, **__: SimpleNamespace(folder=tmp_path))
    monkeypatch.setattr(bench_command, "judge", lambda text, *_: GOOD if text else Verdict(False, False, ("empty",)))

    def mine(given: Material, engines: tuple[str, ...]) -> list[Contender]:
        given.work.write_text("[]")
        return [Contender("panel-openvino", "(e) ours", "ours", (), (), "")]

    monkeypatch.setattr(bench_command, "ours", mine)
    monkeypatch.setattr(bench_command, "ceiling", lambda _: Contender("ceiling", "(d) limit", "limit", (), (), ""))
    monkeypatch.setattr(
        bench_command,
        "peers",
        lambda _: [
            Contender("smolagents", "(a) never", "never", (), (), ""),
            Contender("outlines", "(b) away", "away", (), ("no_such_package",), "pip install it"),
        ],
    )
    return tmp_path / "out"


def test_the_record_and_the_table(stand_ins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench(options(stand_ins))
    said = capsys.readouterr().out
    record = json.loads((stand_ins / "bench.json").read_text())
    assert record["schema"] == "bench/1"
    assert {"created", "machine", "model", "tools", "seed", "contenders", "ratios"} <= set(record)
    by_name = {one["name"]: one for one in record["contenders"]}
    assert {name: one["state"] for name, one in by_name.items()} == {
        "panel-openvino": "ok", "ceiling": "ok", "outlines": "not installed", "smolagents": "ok",
    }  # fmt: skip
    ours = by_name["panel-openvino"]["figures"]
    assert ours["well_formed"] == {"valid": 8, "tries": 8, "minutes": 2 / 60, "per_minute": 240, "upper_95": None}
    assert ours["share"] == {"median": 0.75, "low": 0.75, "high": 0.75}
    never = by_name["smolagents"]["figures"]["well_formed"]
    assert never["upper_95"] == pytest.approx((1 - math.sqrt(0.05)) * 2 / (4 / 60))
    assert by_name["outlines"]["reason"].endswith("pip install it")
    assert by_name["outlines"]["figures"] is None
    ratios = {one["peer"]: one for one in record["ratios"]["well_formed"]}
    assert ratios["(b) away"]["met"] is None
    assert ratios["(a) never"]["value"] == pytest.approx(240 / never["upper_95"])
    assert ratios["(a) never"]["more_than"] is True
    assert record["ceiling_reviews_per_minute"] == 60 * 8 / 1.5
    assert "(b) away: not installed: needs no_such_package" in said
    assert "0 (under 23)" in said
    assert "50 times (a) never: more than 10.3 times by well-formed answers, not met; more than 10.3" in said
    assert [len(found) for found in record["ratios"].values()] == [2, 2]
    assert (stand_ins / "lines" / "panel-openvino.jsonl").read_text().count("\n") == 11
    assert [path.name for path in stand_ins.iterdir() if path.name.startswith(".")] == []


def test_json_is_the_record_alone(stand_ins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench(options(stand_ins, as_json=True, only=("panel", "outl")))
    record = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in record["contenders"]] == ["panel-openvino", "outlines"]


def test_the_plot_shows_everyone(stand_ins: Path) -> None:
    pytest.importorskip("matplotlib")
    bench(options(stand_ins, plot=True))
    assert (stand_ins / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_contender_that_is_none_is_refused(stand_ins: Path) -> None:
    from panel.errors import SetupError

    with pytest.raises(SetupError, match="no contender 'vllm'"):
        bench(options(stand_ins, only=("vllm",)))


def test_llama_cpp_without_a_gguf_is_listed(tmp_path: Path) -> None:
    given = Material("m", tmp_path, {}, (), tmp_path, tmp_path, tmp_path, 1.0, 4, 2, 0)
    assert [one.missing for one in peers(given)] == [
        "",
        "",
        "there is no GGUF file of this model; name one with --gguf",
    ]
    named = peers(Material("m", tmp_path, {"F16": tmp_path / "a", "Q4_1": tmp_path / "b"}, (), tmp_path, tmp_path,
                           tmp_path, 1.0, 4, 2, 0))  # fmt: skip
    assert [one.name for one in named] == ["smolagents", "outlines", "llama-cpp-f16", "llama-cpp-q4_1"]
    assert table([])[0][1] == "well-formed/min"


def test_an_installed_copy_says_that_it_needs_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from panel.cli import measurements
    from panel.errors import SetupError

    fake = SimpleNamespace(__file__=str(tmp_path / "__init__.py"), app=None)
    monkeypatch.setattr(measurements, "import_module", lambda _: fake)
    with pytest.raises(SetupError, match="run it in a checkout"):
        measurements._measurement("evals.bench.cli", "bench")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from panel.cli import measurements
    from panel.errors import SetupError

    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr(measurements, "import_module", missing)
    with pytest.raises(SetupError, match="need scipy"):
        measurements._measurement("evals.cli", "eval")


def test_help_tells_of_the_command() -> None:
    from panel.cli.app import app

    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "bench" in done.output
