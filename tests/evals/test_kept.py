"""Kept answers: the same run without a model, to the last byte; what is not among them is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import panel.engines
from evals import cli
from evals.gate import bless, judge, lacking
from evals.stability import changes, kept
from evals.stability.kept import recording, replaying
from evals.stability.missing import MissingRun
from evals.stability.record import Stability
from evals.stability.run import run_stability, to_json
from panel.cli.app import app
from panel.engines.identity import Identity
from panel.engines.scripted import ScriptedEngine
from panel.errors import SetupError
from panel.gold import Case
from panel.prompts import Prompts
from panel.records import Persona
from tests.evals.judges import alike, write_cases
from tests.evals.world import engine, world, write_probes

ONLY = ["rerun", "order", "rewording", "severe"]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return world(2)


@pytest.fixture(autouse=True)
def probes(tmp_path: Path, cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "PROBES", write_probes(tmp_path / "probes", cases))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    """The only engine there is: `scripted`, and loaded when it is asked."""
    by = engine()
    monkeypatch.setattr(
        panel.engines, "find_engine", lambda name, model: (Identity(by.info, {"words": "1"}), lambda: by)
    )
    return by


def made(source: kept.Kept, cases: Sequence[Case], out: Path, personas: Sequence[Persona] = ()) -> Stability:
    return run_stability(
        source.engine(), Prompts(), personas or alike(), cases, out, seeds=2, draws=2, only=ONLY, again=source.engine
    )


def test_a_replay_gives_the_same_bytes_and_asks_nobody(
    tmp_path: Path, cases: list[Case], model: ScriptedEngine
) -> None:
    path = tmp_path / "answers.jsonl"
    with recording(path, "scripted", "small", tmp_path / "work") as source:
        live = made(source, cases, tmp_path / "live")
    asked = len(model.scored)
    for n in range(2):
        with replaying(path, "scripted", "small") as source:
            assert to_json(made(source, cases[::-1], tmp_path / f"replay {n}")) == to_json(live)
    assert len(model.scored) == asked


def test_the_same_answers_are_the_same_file(tmp_path: Path, cases: list[Case], model: ScriptedEngine) -> None:
    texts = []
    for n, few in enumerate((cases, cases[::-1])):
        path = tmp_path / f"{n}.jsonl"
        with recording(path, "scripted", "small", tmp_path / f"work {n}") as source:
            made(source, few, tmp_path / f"live {n}")
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]


def test_a_rerun_is_asked_again_and_kept_apart(tmp_path: Path, cases: list[Case], model: ScriptedEngine) -> None:
    """Else a rerun would find the first run's answers, and never flip."""
    with recording(tmp_path / "answers.jsonl", "scripted", "small", tmp_path / "work") as source:
        made(source, cases, tmp_path / "live")
        fact = cases[0].dossier.evidence[0].text
        plain = [r for r in model.scored if f"Fact: {fact}\n" in r.prompt]
    assert len(plain) == 3 * 4  # once and by two seeds, for each persona


def test_what_was_not_asked_is_not_kept(tmp_path: Path, cases: list[Case], model: ScriptedEngine) -> None:
    path, work = tmp_path / "answers.jsonl", tmp_path / "work"
    with recording(path, "scripted", "small", work) as source:
        made(source, cases, tmp_path / "1")
    many = len(path.read_text(encoding="utf-8").splitlines())
    with recording(path, "scripted", "small", work) as source:
        made(source, cases[:1], tmp_path / "2")
    assert len(path.read_text(encoding="utf-8").splitlines()) < many - 50


def test_another_prompt_is_missing_by_name_and_no_crash(
    tmp_path: Path, cases: list[Case], model: ScriptedEngine
) -> None:
    path = tmp_path / "answers.jsonl"
    with recording(path, "scripted", "small", tmp_path / "work") as source:
        live = made(source, cases, tmp_path / "live")
    blessed = bless(live, who="A. Editor", why="the first")
    new = [p.model_copy(update={"examples": p.examples[::-1]}) if p.slug == "builder" else p for p in alike()]
    with replaying(path, "scripted", "small") as source, pytest.raises(MissingRun) as raised:
        made(source, cases, tmp_path / "replay", new)
    said = lacking(raised.value, blessed)
    assert (said.outcome, said.exit_code) == ("missing answers", 6)
    assert (
        "answers of builder are not among the kept ones (under gold, order, rewording, severe and 2 more)"
        in said.sentence
    )
    assert "The prompt that the builder weighs with has changed since the baseline" in said.sentence
    assert "\n" not in said.sentence
    facts = sum(len(case.dossier.evidence) for case in cases)
    assert f"{facts} answers of builder under gold" in said.notes


def test_answers_of_another_model_are_refused(
    tmp_path: Path, cases: list[Case], model: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.jsonl"
    with recording(path, "scripted", "small", tmp_path / "work") as source:
        made(source, cases[:1], tmp_path / "live")
    with (
        pytest.raises(MissingRun, match="of small on scripted, not of large on scripted"),
        replaying(path, "scripted", "large"),
    ):
        pass
    source = panel.engines.embedded.SOURCES["embedded"]
    monkeypatch.setitem(kept.SOURCES, "small", source)
    with pytest.raises(MissingRun, match="of another small: its weights are"), replaying(path, "scripted", "small"):
        pass
    assert kept._stale(Identity(model.info, {"decoding": "-1"}), "a", "scripted", "a").startswith("of another decoding")
    words = Identity(model.info, {"ordinary_words": "0" * 64})
    assert kept._stale(words, "a", "scripted", "a").startswith("of another ordinary words")


def test_a_file_that_is_none_of_ours_is_a_set_up_error(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with pytest.raises(SetupError, match="answers"), replaying(path, "scripted", "small"):
        pass
    for text in ("", "hello\n", "{}\n", '{"schema": "answers/1", "asked": "a", "identity": "b"}\n'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SetupError, match="is no file of kept answers"), replaying(path, "scripted", "small"):
            pass


def test_the_commands_record_bless_and_replay(
    tmp_path: Path, cases: list[Case], model: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panel.run.calibrate_for", lambda personas, prompts, by: [
        p.model_copy(update={"calibration": alike()[0].calibration}) for p in personas
    ])  # fmt: skip
    root = write_cases(tmp_path, train=[], dev=cases, test=[])
    monkeypatch.setattr(cli.chosen_cases, "__defaults__", (root,))
    answers, out, blessed = (str(tmp_path / name) for name in ("answers.jsonl", "out", "blessed.json"))

    def run(*arguments: str) -> object:
        return CliRunner().invoke(app, ["eval", *arguments])

    settings = ["--engine", "scripted", "--model", "small", "--repeats", "2", "--draws", "2", "--answers", answers]
    settings += ["--quiet", "--only", "order", "--only", "severe", "--out", out]
    done = run("stability", *settings)
    assert done.exit_code == 0, done.output
    first = (Path(out) / "stability.json").read_bytes()
    assert run("bless", f"{out}/stability.json", "--who", "A", "--why", "b", "--out", blessed).exit_code == 0
    done = run("stability", *settings, "--replay", "--baseline", blessed)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Pass: All ")
    assert (Path(out) / "stability.json").read_bytes() == first
    other = [p.model_copy(update={"audience": "nobody in particular"}) for p in alike()]
    monkeypatch.setattr("panel.personas.load_personas", lambda: other)
    done = run("stability", *settings, "--replay", "--baseline", blessed, "--json")
    assert done.exit_code == 6, done.output
    assert json.loads(done.stdout)["outcome"] == "missing answers"
    done = run("stability", *settings, "--replay")
    assert isinstance(done.exception, MissingRun)


def test_the_gate_takes_a_replay_for_a_run(tmp_path: Path, cases: list[Case], model: ScriptedEngine) -> None:
    path = tmp_path / "answers.jsonl"
    with recording(path, "scripted", "small", tmp_path / "work") as source:
        blessed = bless(made(source, cases, tmp_path / "live"), who="A. Editor", why="the first")
    with replaying(path, "scripted", "small") as source:
        assert judge(made(source, cases, tmp_path / "replay"), blessed).outcome == "pass"
