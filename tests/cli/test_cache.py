"""Kept answers at the command line: --answers, --replay, --no-cache, cache info, cache prune."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.reproducible import differences, without_clock
from panel.assets import asset_folder
from panel.engines.embedded import EMBEDDED
from panel.engines.scripted import ScriptedEngine
from panel.personas import load_personas
from panel.records import Persona
from panel.requests import EngineInfo
from tests import scripted as script
from tests.cli.commands import CASES, Command, Ran, assert_refused, installed

TWO = (CASES / "smolagents-2", CASES / "mistral-3b")
Use = Callable[..., ScriptedEngine]


@pytest.fixture
def as_embedded(with_engine: Use, personas: tuple[Persona, ...]) -> Callable[..., ScriptedEngine]:
    """The scripted engine under the name and the hashes of the embedded model, and always the same one."""

    def use(**options: Any) -> ScriptedEngine:
        engine = script.scripted_engine(personas, **options)
        engine._info = EngineInfo("openvino", "1", "embedded", EMBEDDED.sha256, EMBEDDED.adapter_sha256)
        return with_engine(engine, model="the one")

    return use


@pytest.fixture
def compare(command: Command, tmp_path: Path) -> Callable[..., Ran]:
    """`compare` of the two tools into a folder that is new each time, unless `out` is given."""
    runs: list[Path] = []

    def run(*arguments: str | Path, out: Path | None = None) -> Ran:
        runs.append(out or tmp_path / f"out-{len(runs)}")
        return command("compare", *TWO, "--json", "--out", runs[-1], *arguments)

    return run


def record(ran: Ran) -> Any:
    return without_clock(json.loads(ran.out))


def told(ran: Ran) -> tuple[int, int]:
    """How many answers were kept, and how many computed, by the last line."""
    found = re.search(r"^model answers: (\d+) kept, (\d+) computed$", ran.err, re.M)
    assert found, ran.err
    return int(found[1]), int(found[2])


# ------------------------------------------------------------------------------------------------------------- runs


def test_a_run_into_another_folder_computes_nothing(as_embedded: Use, compare: Callable[..., Ran]) -> None:
    engine = as_embedded()
    first = compare()
    kept, computed = told(first)
    assert computed == len(engine.generated) + len(engine.scored) > 100
    assert "loading the model" in first.err
    again = as_embedded()
    second = compare()
    assert told(second) == (kept + computed, 0)
    assert "loading the model" not in second.err
    assert (again.generated, again.scored) == ([], [])
    assert record(first) == record(second)


def test_no_cache_asks_for_everything_and_keeps_it(as_embedded: Use, compare: Callable[..., Ran]) -> None:
    as_embedded()
    computed = told(compare())[1]
    engine = as_embedded(skips=["builder"])
    ran = compare("--no-cache")
    assert told(ran)[1] == len(engine.generated) + len(engine.scored) >= computed
    assert record(compare()) == record(ran), "what was asked last is what is kept"


def test_reviews_that_are_read_back_ask_for_no_answers(
    as_embedded: Use, compare: Callable[..., Ran], tmp_path: Path
) -> None:
    as_embedded()
    compare(out=tmp_path / "out")
    assert "model answers" not in compare(out=tmp_path / "out").err


def test_another_file_is_complete_whatever_was_reviewed_before(
    as_embedded: Use, compare: Callable[..., Ran], tmp_path: Path
) -> None:
    """Reviews of --out are not read back: they would leave it without their answers."""
    as_embedded()
    first = compare(out=tmp_path / "out")
    other = tmp_path / "kept" / "other.sqlite"
    second = compare("--answers", other, out=tmp_path / "out")
    assert told(second) == told(first)
    assert record(compare("--answers", other, "--replay")) == record(first)


def test_quiet_says_nothing_of_answers(as_embedded: Use, compare: Callable[..., Ran]) -> None:
    as_embedded()
    assert "model answers" not in compare("--quiet").err


def test_an_edited_persona_is_all_that_is_computed(
    as_embedded: Use, compare: Callable[..., Ran], tmp_path: Path
) -> None:
    """A quarter of the work, counted in model calls."""
    as_embedded()
    _, whole = told(compare())
    folder = Path(shutil.copytree(asset_folder("personas"), tmp_path / "personas"))
    with (folder / "futurist.md").open("a", encoding="utf-8") as file:
        file.write("\nSpeaks of years, not of weeks.\n")
    assert load_personas(folder)[2].voice != load_personas()[2].voice
    engine = as_embedded()
    ran = compare("--personas", folder)
    assert 0 < told(ran)[1] <= whole / 4
    assert {request.key.split("/")[1] for request in [*engine.generated, *engine.scored]} == {"futurist"}


# ----------------------------------------------------------------------------------------------------------- replay


def test_replay_on_a_machine_without_any_model(as_embedded: Use, compare: Callable[..., Ran], tmp_path: Path) -> None:
    """A process of its own, an empty cache folder, and no library that runs a model is imported."""
    as_embedded()
    first = compare("--answers", tmp_path / "kept.sqlite")
    before = (tmp_path / "kept.sqlite").read_bytes()
    code = f"""
import sys
from panel.cli import main
sys.argv = ["review-panel", "compare", *{[str(path) for path in TWO]!r}, "--json", "--replay",
            "--answers", {str(tmp_path / "kept.sqlite")!r}, "--out", {str(tmp_path / "replayed")!r}]
try:
    main()
finally:
    heavy = ("openvino", "openvino_genai", "torch", "transformers", "tokenizers", "llguidance", "gguf", "sklearn")
    print("imported:", [name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    empty = tmp_path / "nothing"
    environment = {**os.environ, "REVIEW_PANEL_CACHE": str(empty), "HF_HUB_CACHE": str(empty), "CI": "1"}
    del environment["REVIEW_PANEL_ANSWERS"]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CASES.parents[1], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert differences(record(first), without_clock(json.loads(done.stdout))) == []
    assert "imported: []" in done.stderr
    assert not empty.exists()
    assert (tmp_path / "kept.sqlite").read_bytes() == before


def test_replay_does_not_read_back_reviews(
    as_embedded: Use, compare: Callable[..., Ran], tmp_path: Path, answers_file: Path
) -> None:
    """What it shows is what the answers give."""
    as_embedded()
    compare(out=tmp_path / "out")
    with sqlite3.connect(answers_file) as db:
        db.execute("DELETE FROM answers WHERE name LIKE 'draft/futurist/mistral-3b/%'")
    assert_refused(compare("--replay", "--quiet", out=tmp_path / "out"), str(answers_file), "mistral-3b · futurist")


def test_replay_says_what_is_missing_and_what_to_do(
    as_embedded: Use, compare: Callable[..., Ran], answers_file: Path, tmp_path: Path
) -> None:
    as_embedded()
    whole = compare(out=tmp_path / "out")
    with sqlite3.connect(answers_file) as db:
        db.execute("DELETE FROM answers WHERE name LIKE 'weigh/builder/smolagents-2/E1'")
        db.execute("DELETE FROM answers WHERE name = 'step/futurist/mistral-3b/02'")
    ran = compare("--replay", "--quiet")
    assert_refused(ran, f"error: {answers_file}: 2 of the model's answers are missing")
    assert "(mistral-3b · futurist: step 02; smolagents-2 · builder: weigh E1)" in ran.err
    fix = re.search(r"Fix: run the same command without --replay and with (--answers) (\S+)$", ran.err.strip())
    assert fix, ran.err
    mended = compare(fix[1], fix[2], out=tmp_path / "out")
    assert told(mended)[1] == 2
    assert record(compare("--replay")) == record(mended) == record(whole)


def test_replay_of_nothing(command: Command, compare: Callable[..., Ran], answers_file: Path) -> None:
    assert_refused(compare("--replay"), str(answers_file), "there is no such file of answers")
    assert_refused(compare("--replay", "--answers", CASES / "mistral-3b" / "gold.yaml"), "is no file of model answers")
    assert_refused(compare("--replay", "--no-cache"), "[--replay]", "give one of the two")


def test_a_file_that_cannot_be_written(as_embedded: Use, compare: Callable[..., Ran], tmp_path: Path) -> None:
    as_embedded()
    (tmp_path / "file").write_text("")
    assert_refused(compare("--quiet", "--answers", tmp_path / "file" / "a.sqlite"), "file/a.sqlite", "may write there")


# ------------------------------------------------------------------------------------------------- info and prune


def test_info(as_embedded: Use, compare: Callable[..., Ran], command: Command, answers_file: Path) -> None:
    ran = command("cache", "info")
    assert (ran.code, ran.out.strip()) == (0, f"{answers_file}: 0 answers, 0.0 MB")
    assert not answers_file.exists()
    as_embedded()
    compare()
    shown = command("cache", "info").out
    assert re.search(rf"{answers_file}: \d{{3}} answers, \d\.\d MB", shown)
    assert re.search(
        rf"embedded {EMBEDDED.adapter_sha256[:12]} +openvino 1 +\d{{3}} +20\d\d-\d\d-\d\d \d\d:\d\d", shown
    )
    data = json.loads(command("cache", "info", "--json", "--answers", answers_file).out)
    assert data["path"] == str(answers_file)
    assert data["bytes"] == answers_file.stat().st_size
    assert [one["info"]["model_sha256"] for one in data["models"]] == [EMBEDDED.sha256]
    assert 100 < data["models"][0]["answers"] < 1000


def test_prune(as_embedded: Use, compare: Callable[..., Ran], command: Command, answers_file: Path) -> None:
    as_embedded()
    compare()
    size = answers_file.stat().st_size
    assert command("cache", "prune", "--keep-days", "1").out.startswith("dropped 0 answers")
    ran = command("cache", "prune", "--keep-days", "30", "--max-size", "0.05MB")
    dropped = re.match(r"dropped (\d+) answers; .* has 0\.0 MB", ran.out)
    assert dropped, ran.out
    assert int(dropped[1]) > 0
    assert answers_file.stat().st_size <= 50_000 < size
    assert (command("cache", "prune", "--max-size", "0", "--quiet").out, told(compare())[1] > 100) == ("", True)


@pytest.mark.parametrize("size", ["much", "-5MB", "500 XB", "", "1e3"])
def test_a_size_that_is_none(command: Command, size: str) -> None:
    assert_refused(command("cache", "prune", "--max-size", size), "[--max-size]", "write it as 500MB or 2GB")


def test_prune_wants_to_know_what(command: Command) -> None:
    assert_refused(command("cache", "prune"), "[--keep-days]", "give --keep-days, --max-size, or both")


@pytest.mark.parametrize("words", [("info",), ("prune", "--keep-days", "1")])
def test_a_file_that_is_not_there(command: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "none.sqlite"
    assert_refused(command("cache", *words, "--answers", path), str(path), "there is no such file of answers")
    assert not path.exists()


# ------------------------------------------------------------------------------------------------------ the real one


@pytest.mark.model
def test_the_embedded_model_is_asked_once(tmp_path: Path) -> None:
    """Compare, replay without it, and edit a persona: the record again, and that persona's answers alone."""

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [*installed(), "compare", *map(str, TWO), "--json", *map(str, arguments)]
        return subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=1800
        )

    kept = tmp_path / "kept.sqlite"
    first = run("--answers", kept, "--out", tmp_path / "first")
    assert first.returncode in (0, 1), first.stderr
    replayed = run(
        "--answers", kept, "--replay", "--out", tmp_path / "second", REVIEW_PANEL_CACHE=str(tmp_path / "nothing")
    )
    assert replayed.returncode == first.returncode, replayed.stderr
    assert differences(without_clock(json.loads(first.stdout)), without_clock(json.loads(replayed.stdout))) == []
    folder = Path(shutil.copytree(asset_folder("personas"), tmp_path / "personas"))
    with (folder / "business-buyer.md").open("a", encoding="utf-8") as file:
        file.write("\nCounts in years.\n")
    edited = run("--answers", kept, "--personas", folder, "--out", tmp_path / "third")
    computed = int(re.search(r"kept, (\d+) computed", edited.stderr)[1])  # type: ignore[index]
    assert 0 < computed <= int(re.search(r"kept, (\d+) computed", first.stderr)[1]) / 4  # type: ignore[index]

    def of_others(ran: subprocess.CompletedProcess[str]) -> list[Any]:
        tools = without_clock(json.loads(ran.stdout))["tools"]
        return [review for tool in tools for review in tool["reviews"] if review["persona"] != "business-buyer"]

    assert of_others(edited) == of_others(first)
