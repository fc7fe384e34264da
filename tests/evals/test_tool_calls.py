"""The count of tool calls, on traces written by hand: planted faults are found, and nothing else is."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals import tool_calls
from evals.shared import REFERENCE, case_folders, percent
from evals.tool_calls import Tally, count_peer, count_traces, read_own, read_peer, run_seeds, spread
from panel.records import PERSONA_SLUGS

WEIGH = '{"name": "weigh_evidence", "arguments": {}}'


def call(name: str, /, **arguments: Any) -> str:
    return json.dumps({"name": name, "arguments": arguments})


def step(raw: str, arguments: Any = None) -> dict[str, Any]:
    """A step of a trace; by default the tool got what was written."""
    if arguments is None:
        with contextlib.suppress(ValueError, TypeError):
            arguments = json.loads(raw)["arguments"]
    return {"prompt": [{"role": "user", "content": raw}], "raw": raw, "arguments": arguments}


def counts(one: dict[str, Any]) -> tuple[int, int, int, int]:
    tally = Tally()
    tally.count("here", one["raw"], read_own(one))
    assert len(tally.faults) == tally.calls - tally.valid  # every call that fails is named, once
    return tally.calls, tally.parsed, tally.existing, tally.valid


@pytest.mark.parametrize(
    "good",
    [
        step(WEIGH),
        step(call("read_evidence", ids=["E1", "E2"])),
        step(call("price", plan="Team", seats=5, months=12)),
        # the beats are decoded apart: the raw call lacks them, the tool got them
        step(call("final_answer", decision="ship"), {"decision": "ship", "beats": [{"name": "thesis"}]}),
    ],
)
def test_a_good_call_passes_every_check(good: dict[str, Any]) -> None:
    assert counts(good) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "bad",
    [
        step("I would ship it."),
        step(WEIGH + " and then"),  # smolagents' parser would take this; ours may not need such help
        step(WEIGH[:-1]),
        step("[]"),
        step('{"arguments": {}}', {}),
        step('{"name": "weigh_evidence", "arguments": {}, "why": "x"}', {}),
        step('{"name": "weigh_evidence", "arguments": null}', {}),
        step(call("read_evidence", ids=["E1"]), {"ids": ["E2"]}),  # the tool got something else
        step(call("read_evidence", ids=["E1"]), {"ids": ["E1"], "more": 1}),
        step(call("final_answer", decision="ship"), {"decision": "skip", "beats": []}),
    ],
)
def test_what_does_not_parse_counts_as_a_call_and_nothing_more(bad: dict[str, Any]) -> None:
    assert counts(bad) == (1, 0, 0, 0)


def test_a_tool_that_does_not_exist_parses_only() -> None:
    assert counts(step(call("search_web", query="x"))) == (1, 1, 0, 0)
    assert counts(step('{"name": ["weigh_evidence"], "arguments": {}}')) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    "bad",
    [
        step(call("read_evidence")),  # lacks an argument
        step(call("weigh_evidence", ids=["E1"])),  # has one too many
        step(call("read_evidence", ids="E1")),  # a string for an array
        step(call("price", plan="Team", seats="5", months=12)),  # a string for an integer
        step(call("price", plan="Team", seats=True, months=12)),  # a boolean for an integer
        step(call("final_answer", decision="ship")),  # no beats came on top
    ],
)
def test_arguments_that_do_not_fit_the_tool_are_not_valid(bad: dict[str, Any]) -> None:
    assert counts(bad) == (1, 1, 1, 0)


# ------------------------------------------------------------------------------------- folders of traces


def provenance(steps: int) -> dict[str, Any]:
    return {"steps": steps, "dossier_sha256": "d", "persona_sha256": "p", "prompt_sha256": "t"}


def write_seed(out: Path, seed: int, steps: list[dict[str, Any]], status: str = "scored") -> Path:
    """The folder of a seed: eight reviews, each of which took the same `steps`."""
    folder = out / f"seed-{seed:02d}"
    (folder / "reviews").mkdir(parents=True)
    tools = []
    for tool in REFERENCE:
        reviews = [{"persona": p, "status": status, "provenance": provenance(len(steps))} for p in PERSONA_SLUGS]
        tools.append({"slug": tool, "reviews": reviews})
        for persona in PERSONA_SLUGS:
            trace = {"schema": "trace/1", "steps": steps}
            (folder / "reviews" / f"{tool}.{persona}.00ff.trace.json").write_text(json.dumps(trace))
            (folder / "reviews" / f"{tool}.{persona}.00ff.json").write_text('{"not": "a trace"}')
    record = folder / "-vs-".join(REFERENCE) / "comparison.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"schema": "comparison/1", "tools": tools}))
    return folder


GOOD = [step(WEIGH), step(call("read_evidence", ids=["E1"]))]


def test_every_step_of_every_trace_is_counted(tmp_path: Path) -> None:
    write_seed(tmp_path, 0, GOOD)
    write_seed(tmp_path, 1, GOOD, status="unscored")  # a review that failed had tool calls, too
    write_seed(tmp_path, 2, [step("no call")])  # not asked for
    tally = count_traces(tmp_path, range(2))
    # 2 seeds × 8 reviews × 2 steps
    assert (tally.calls, tally.parsed, tally.existing, tally.valid, tally.faults) == (32, 32, 32, 32, [])


def test_one_bad_step_in_one_trace_is_found(tmp_path: Path) -> None:
    folder = write_seed(tmp_path, 0, GOOD)
    path = folder / "reviews" / "mistral-3b.futurist.00ff.trace.json"
    path.write_text(json.dumps({"steps": [GOOD[0], step("not JSON")]}))
    tally = count_traces(tmp_path, [0])
    assert (tally.calls, tally.parsed, tally.existing, tally.valid) == (16, 15, 15, 15)
    assert len(tally.faults) == 1
    assert "seed 0 mistral-3b.futurist.00ff step 2" in tally.faults[0]


def test_a_review_whose_trace_is_missing_short_or_broken_is_a_fault(tmp_path: Path) -> None:
    folder = write_seed(tmp_path, 0, GOOD) / "reviews"
    (folder / "smolagents-2.builder.00ff.trace.json").unlink()
    (folder / "smolagents-2.futurist.00ff.trace.json").write_text(json.dumps({"steps": GOOD[:1]}))
    (folder / "mistral-3b.builder.00ff.trace.json").write_text('{"steps": [')
    tally = count_traces(tmp_path, [0])
    assert tally.calls == tally.valid == 5 * 2 + 1  # what is there is good; what is not there is named
    faults = "\n".join(tally.faults)
    assert "smolagents-2.builder has no trace" in faults
    assert "smolagents-2.futurist took 2 steps, its trace has 1" in faults
    assert "mistral-3b.builder.00ff: the trace cannot be read" in faults


def test_a_seed_without_a_record_is_a_fault(tmp_path: Path) -> None:
    assert count_traces(tmp_path, [7]).faults == ["seed 7: there is no record"]


def test_a_review_missing_from_the_record_is_a_fault(tmp_path: Path) -> None:
    path = write_seed(tmp_path, 0, GOOD) / "-vs-".join(REFERENCE) / "comparison.json"
    record = json.loads(path.read_text())
    del record["tools"][1]["reviews"][0]
    path.write_text(json.dumps(record))
    assert count_traces(tmp_path, [0]).faults == ["seed 0: mistral-3b.builder has no review"]


def test_the_command_says_what_failed_and_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_calls, "run_seeds", lambda *_, **__: None)
    folder = write_seed(tmp_path, 0, GOOD)
    arguments = ["--seeds", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(tool_calls.app, arguments)
    assert done.exit_code == 0
    assert "validate     16 (100.0%)" in done.stdout
    (folder / "reviews" / "mistral-3b.futurist.00ff.trace.json").write_text(json.dumps({"steps": [GOOD[0], step("x")]}))
    done = CliRunner().invoke(tool_calls.app, arguments)
    assert done.exit_code == 1
    assert "validate     15 (93.7%)" in done.stdout  # 15/16 = 93.75%, rounded down
    assert "step 2: does not parse" in done.stdout
    done = CliRunner().invoke(tool_calls.app, [*arguments, "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["panel"]["valid"] == 15


def test_only_all_of_it_is_100_percent() -> None:
    assert percent(4000, 4000) == "100.0%"
    assert percent(3999, 4000) == "99.9%"  # 99.975% would round to 100.0%
    assert percent(0, 0) == "—"


# ------------------------------------------------------------------------------------------------- reuse


def test_a_seed_is_run_again_only_if_its_inputs_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from panel.dossier import dossier_sha256, load_dossier
    from panel.engines.scripted import ScriptedEngine
    from panel.personas import load_personas, persona_sha256
    from panel.prompts import Prompts

    class Opened(Exception):
        pass

    def compare(*_arguments: object, **_options: object) -> None:
        raise Opened

    # a scripted engine has no calibration, so its personas are the plain ones
    monkeypatch.setattr("panel.engines.open_engine", lambda _name, _model: ScriptedEngine(lambda _request: ""))
    monkeypatch.setattr("panel.run.compare", compare)
    path = write_seed(tmp_path, 0, GOOD) / "-vs-".join(REFERENCE) / "comparison.json"
    record = json.loads(path.read_text())
    for tool, folder in zip(record["tools"], case_folders(), strict=True):
        for review, persona in zip(tool["reviews"], load_personas(), strict=True):
            review["provenance"] |= {
                "dossier_sha256": dossier_sha256(load_dossier(folder)),
                "persona_sha256": persona_sha256(persona),
                "prompt_sha256": Prompts().sha256,
            }
    path.write_text(json.dumps(record))
    run_seeds(tmp_path, [0], fresh=False)
    with pytest.raises(Opened):
        run_seeds(tmp_path, [0], fresh=True)
    with pytest.raises(Opened):
        run_seeds(tmp_path, [0, 1], fresh=False)
    record["tools"][0]["reviews"][3]["provenance"]["prompt_sha256"] = "of other prompts"
    path.parent.mkdir(parents=True, exist_ok=True)  # a seed that is run again is cleared first
    path.write_text(json.dumps(record))
    with pytest.raises(Opened):
        run_seeds(tmp_path, [0], fresh=False)


# -------------------------------------------------------------------------------------------------- peer


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f"Sure. {WEIGH} Done.", (1, 1, 1, 1)),  # its parser takes the first { to the last }
        ('{"name": "read_evidence", "arguments": "{\\"ids\\": [\\"E1\\"]}"}', (1, 1, 1, 1)),  # arguments as a string
        ('{"name": "weigh_evidence"}', (1, 1, 1, 1)),  # no arguments, as the agent reads that
        ("I would ship it.", (1, 0, 0, 0)),
        ('{"tool": "weigh_evidence"}', (1, 0, 0, 0)),
        (f"{WEIGH}\n{WEIGH}", (1, 0, 0, 0)),
        (call("ship"), (1, 1, 0, 0)),
        (call("read_evidence", ids="E1"), (1, 1, 1, 0)),
        ('{"name": "weigh_evidence", "arguments": 5}', (1, 1, 1, 0)),
    ],
)
def test_the_peer_is_read_as_smolagents_reads_it(raw: str, expected: tuple[int, int, int, int]) -> None:
    tally = Tally()
    tally.count("prompt 1", raw, read_peer)
    assert (tally.calls, tally.parsed, tally.existing, tally.valid) == expected


def test_prompts_are_spread_evenly_and_always_the_same() -> None:
    assert spread(range(10), 4) == [0, 2, 5, 7]  # 0·10/4, 1·10/4, 2·10/4, 3·10/4, rounded down
    assert spread(range(3), 5) == [0, 1, 2]


def test_peer_answers_are_kept_and_counted_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_seed(tmp_path, 0, GOOD)  # two different prompts, eight times each
    made: list[Any] = []

    class Peer:
        def generate(self, messages: list[Any], **options: Any) -> Any:
            made.append((messages, options))
            return type("Answer", (), {"content": WEIGH if len(made) == 1 else "no"})

    monkeypatch.setattr(tool_calls, "_open_peer", Peer)
    for _ in range(2):
        tally = count_peer(tmp_path, [0], 16)
        assert (tally.calls, tally.valid) == (16, 8)
    assert len(made) == 2
    messages, options = made[0]
    assert [(m.role.value, m.content) for m in messages] == [("user", [{"type": "text", "text": WEIGH}])]
    assert options["stop_sequences"] == ["Observation:", "Calling tools:"]
    assert [tool.name for tool in options["tools_to_call_from"]] == list(tool_calls.tool_classes())
