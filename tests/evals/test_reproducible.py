"""What counts as a difference between two records, and how close two engines are."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals import reproducible
from evals.reproducible import agreement, differences, without_clock
from panel.errors import SetupError


def record(**changes: Any) -> dict[str, Any]:
    review = {
        "persona": "builder", "status": "scored", "decision": "ship", "p_ship": 0.6, "quote": "It waits.",
        "pulls": [{"evidence": "E1", "log_odds": 0.5}, {"evidence": "E2", "log_odds": -0.2}],
        "provenance": {"seed": 0, "seconds": 1.5, "steps": 4},
    } | changes  # fmt: skip
    return {"schema": "comparison/1", "created": "2026-01-01", "tools": [{"slug": "fernhook", "reviews": [review]}]}


def test_only_the_clock_is_left_out() -> None:
    other = record(provenance={"seed": 0, "seconds": 9.0, "steps": 4}) | {"created": "2027-02-02"}
    assert without_clock(record()) == without_clock(other)
    assert differences(without_clock(record()), without_clock(other)) == []
    kept = without_clock(record())
    assert kept["tools"][0]["reviews"][0]["provenance"] == {"seed": 0, "steps": 4}
    # fields of these names elsewhere are not the clock's
    assert without_clock({"created": 1, "seconds": 2}) == {"created": 1, "seconds": 2}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("quote",), "It waited.", ".tools[0].reviews[0].quote: 'It waits.' and 'It waited.'"),
        (("p_ship",), 0.6000001, ".tools[0].reviews[0].p_ship: '0.6' and '0.6000001'"),
        (("provenance", "steps"), 5, ".tools[0].reviews[0].provenance.steps: '4' and '5'"),
        (("pulls",), [], ".tools[0].reviews[0].pulls: 2 and 0 items"),
        (("extra",), 1, ".tools[0].reviews[0].extra: only in one of them"),
        (("provenance", "seed"), False, ".tools[0].reviews[0].provenance.seed: '0' and 'False'"),  # 0 == False
    ],
)
def test_a_planted_difference_is_found_and_named(path: tuple[str, ...], value: Any, expected: str) -> None:
    other: Any = copy.deepcopy(record())
    spot = other["tools"][0]["reviews"][0]
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    assert differences(without_clock(record()), without_clock(other)) == [expected]


def test_engines_that_agree_have_their_largest_distance_told() -> None:
    pulls = [{"evidence": "E2", "log_odds": -0.23}, {"evidence": "E1", "log_odds": 0.51}]  # in another order
    result = agreement(record(), record(p_ship=0.58, pulls=pulls, quote="Other words."))
    assert (result.reviews, result.same_decisions, result.pulls, result.faults) == (1, 1, 2, [])
    assert result.max_delta_p_ship == pytest.approx(0.02)
    assert result.max_delta_log_odds == pytest.approx(0.03)


@pytest.mark.parametrize(
    "changes",
    [
        {"decision": "skip", "p_ship": 0.4},
        {"status": "unscored", "decision": None, "p_ship": None, "pulls": []},
        {"pulls": [{"evidence": "E1", "log_odds": 0.5}]},
        {"persona": "futurist"},
    ],
)
def test_engines_that_do_not_agree_are_a_fault(changes: dict[str, Any]) -> None:
    assert agreement(record(), record(**changes)).faults


def test_two_unscored_reviews_show_nothing_and_are_a_fault() -> None:
    unscored = record(status="unscored", decision=None, p_ship=None, pulls=[])
    assert agreement(unscored, unscored).faults == ["fernhook builder: unscored and unscored"]


# --------------------------------------------------------------------------------------------- the command

# Stands in for review-panel: writes the record that its command line asks for.
FAKE = """
import json, sys
from pathlib import Path
option = lambda name: sys.argv[sys.argv.index(name) + 1]
assert sys.argv[1] == "compare" and "--no-cache" in sys.argv
{body}
review = {{"persona": "builder", "status": "scored", "decision": decision, "p_ship": 0.5, "quote": quote,
           "pulls": [{{"evidence": "E1", "log_odds": 0.5}}],
           "provenance": {{"seed": int(option("--seed")), "seconds": 1}}}}
folder = Path(option("--out")) / "smolagents-2-vs-mistral-3b"
folder.mkdir(parents=True, exist_ok=True)
record = {{"schema": "comparison/1", "created": str(folder), "tools": [{{"slug": "a", "reviews": [review]}}]}}
(folder / "comparison.json").write_text(json.dumps(record))
"""
STEADY = 'decision, quote = "ship", "It waits."'


def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, *arguments: str) -> Any:
    script = tmp_path / "fake.py"
    script.write_text(FAKE.format(body=body))
    monkeypatch.setattr(reproducible, "panel_command", lambda: [sys.executable, "-S", str(script)])
    return CliRunner().invoke(reproducible.app, ["--out", str(tmp_path / "out"), *arguments])


def test_two_equal_runs_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = command(tmp_path, monkeypatch, STEADY, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"reviews": 1, "scored": 1, "differences": []}


def test_an_order_that_hangs_on_the_hash_seed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = 'decision, quote = "ship", " ".join({f"word{i}" for i in range(50)})'
    done = command(tmp_path, monkeypatch, body)
    assert done.exit_code == 1
    assert ".tools[0].reviews[0].quote" in done.stdout


def test_a_run_that_crashes_does_not_pass_for_the_record_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(tmp_path, monkeypatch, STEADY).exit_code == 0
    done = command(tmp_path, monkeypatch, "1 / 0")  # Python ends with 1 then, as a run with unscored reviews does
    assert isinstance(done.exception, SetupError)
    assert "exit code 1" in str(done.exception)


def test_engines_that_decide_otherwise_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = ("--engines", "openvino", "transformers")
    assert command(tmp_path, monkeypatch, STEADY, *engines).exit_code == 0
    body = 'decision, quote = ("ship" if option("--engine") == "openvino" else "skip"), "It waits."'
    done = command(tmp_path, monkeypatch, body, *engines)
    assert done.exit_code == 1
    assert "a builder: ship (0.5) and skip (0.5)" in done.stdout
