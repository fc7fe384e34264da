"""What the killing command finds in a folder: planted losses and repetitions, and nothing in a sound one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from evals.killed import Result, Watch, run_until, torment
from panel.errors import SetupError
from panel.records import PERSONA_SLUGS

TOOL = "fernhook"


def review(persona: str, **changes: Any) -> dict[str, Any]:
    fields = {"quote": "It waits.", "beats": [1], "pulls": [1], "provenance": {"seconds": 1.0, "steps": 4}}
    return {"persona": persona, "status": "scored", "decision": "ship", **fields, **changes}


class Folder:
    """An outputs folder, written by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "reviews").mkdir(parents=True)

    def file(self, persona: str) -> Path:
        return self.path / "reviews" / f"{TOOL}.{persona}.00ff.json"

    def save(self, persona: str, *, journal: bool = True, **changes: Any) -> None:
        self.file(persona).with_suffix(".trace.json").write_text('{"steps": []}')
        self.file(persona).write_text(json.dumps(review(persona, **changes)))
        if journal:
            self.log(persona)

    def log(self, persona: str) -> None:
        with (self.path / "journal.jsonl").open("a") as file:
            file.write(json.dumps({"tool": TOOL, "persona": persona, "key": "00ff"}) + "\n")

    def merge(self, *extra: dict[str, Any], **changes: Any) -> None:
        """The record, of what stands in the folder and of `extra` reviews."""
        stored = [json.loads(self.file(p).read_text()) for p in PERSONA_SLUGS if self.file(p).is_file()]
        record = {"schema": "comparison/1", "tools": [{"slug": TOOL, "reviews": [*stored, *extra]}]} | changes
        (self.path / TOOL).mkdir(exist_ok=True)
        (self.path / TOOL / "comparison.json").write_text(json.dumps(record))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "round-01")


def finish(folder: Folder, watch: Watch | None = None, whole: Any = None) -> Result:
    result = Result()
    (watch or Watch(folder.path, [TOOL])).finish(result, whole)
    return result


def whole_run(folder: Folder) -> None:
    for persona in PERSONA_SLUGS:
        folder.save(persona)
    folder.merge()


def test_a_sound_folder_has_no_fault(folder: Folder) -> None:
    watch = Watch(folder.path, [TOOL])
    assert watch.look() == 0
    folder.save("builder")
    folder.save("futurist", journal=False)  # killed between the review and its line: finished once, all the same
    (folder.path / "reviews" / ".0123.tmp").write_text('{"half')  # what a kill leaves, and nobody reads
    assert watch.look() == 2
    folder.save("competitor-analyst")
    folder.save("business-buyer")
    folder.merge()
    result = finish(folder, watch, whole=json.loads((folder.path / TOOL / "comparison.json").read_text()))
    assert result.faults == []
    assert (result.rounds, result.finished, result.unscored, result.as_uninterrupted) == (1, 4, 0, 4)
    assert (result.unjournalled, result.temporary_files) == (1, 1)


def test_an_unscored_review_is_in_the_record_and_not_in_the_folder(folder: Folder) -> None:
    for persona in PERSONA_SLUGS[:3]:
        folder.save(persona)
    folder.merge(review(PERSONA_SLUGS[3], status="unscored", decision=None))
    result = finish(folder)
    assert (result.faults, result.finished, result.unscored) == ([], 3, 1)


def test_a_review_that_was_lost_is_found_though_it_is_made_again(folder: Folder) -> None:
    watch = Watch(folder.path, [TOOL])
    folder.save("builder")
    watch.look()
    folder.file("builder").unlink()
    watch.look()
    folder.save("builder")
    for persona in PERSONA_SLUGS[1:]:
        folder.save(persona)
    folder.merge()
    faults = finish(folder, watch).faults
    assert any("fernhook.builder.00ff.json is lost" in f for f in faults)
    assert any("computed 2 times" in f for f in faults)


def test_a_review_computed_twice_is_found_by_the_journal(folder: Folder) -> None:
    whole_run(folder)
    folder.log("futurist")
    assert finish(folder).faults == ["round-01: fernhook.futurist.00ff.json was computed 2 times by the journal"]


def test_a_review_computed_twice_is_found_by_its_bytes_where_the_journal_is_silent(folder: Folder) -> None:
    watch = Watch(folder.path, [TOOL])
    folder.save("futurist")
    watch.look()
    folder.save("futurist", journal=False, provenance={"seconds": 1.1, "steps": 4})
    for persona in PERSONA_SLUGS:
        if persona != "futurist":
            folder.save(persona)
    folder.merge()
    assert finish(folder, watch).faults == [
        "round-01: fernhook.futurist.00ff.json was made again: its bytes have changed"
    ]


def test_a_half_written_file_that_counts_as_a_review_is_found(folder: Folder) -> None:
    watch = Watch(folder.path, [TOOL])
    folder.file("builder").write_text('{"persona": "builder", "sta')
    watch.look()
    assert watch.faults == ["round-01: fernhook.builder.00ff.json stands as a review and is none"]


@pytest.mark.parametrize("field", ["decision", "quote", "beats", "pulls", "provenance"])
def test_a_review_that_lacks_something_is_none(folder: Folder, field: str) -> None:
    whole_run(folder)
    folder.save("builder", journal=False, **{field: None})
    folder.merge()
    assert finish(folder).faults == ["round-01: fernhook.builder.00ff.json stands as a review and is none"]


def test_what_is_not_in_the_journal_though_nothing_was_killed_is_found(folder: Folder) -> None:
    whole_run(folder)
    lines = (folder.path / "journal.jsonl").read_text().splitlines()
    (folder.path / "journal.jsonl").write_text("\n".join(lines[1:]) + "\n")
    assert finish(folder).faults == ["round-01: fernhook.builder.00ff.json is not in the journal"]


def test_a_torn_line_of_the_journal_is_found(folder: Folder) -> None:
    whole_run(folder)
    with (folder.path / "journal.jsonl").open("a") as file:
        file.write('{"tool": "fern')
    assert finish(folder).faults == ["round-01: line 5 of the journal cannot be read"]


def test_a_journalled_review_that_is_not_there_is_found(folder: Folder) -> None:
    whole_run(folder)
    folder.file("builder").unlink()
    faults = finish(folder).faults
    assert "round-01: fernhook.builder.00ff.json is in the journal and not in the folder" in faults
    assert "round-01: fernhook.builder: its record and the folder do not agree" in faults


def test_a_review_without_its_trace_is_found(folder: Folder) -> None:
    whole_run(folder)
    folder.file("builder").with_suffix(".trace.json").unlink()
    assert finish(folder).faults == ["round-01: fernhook.builder.00ff.json has no trace"]


def test_two_reviews_of_one_persona_are_found(folder: Folder) -> None:
    whole_run(folder)
    other = folder.path / "reviews" / f"{TOOL}.builder.11ee.json"
    for suffix in (".json", ".trace.json"):
        other.with_suffix(suffix).write_bytes(folder.file("builder").with_suffix(suffix).read_bytes())
    with (folder.path / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"tool": TOOL, "persona": "builder", "key": "11ee"}) + "\n")
    assert finish(folder).faults == ["round-01: fernhook.builder has 2 reviews"]


def test_a_record_that_lacks_a_review_or_holds_another_is_found(folder: Folder) -> None:
    whole_run(folder)
    folder.merge(tools=[{"slug": TOOL, "reviews": [review("builder", quote="Other words.")]}])
    assert finish(folder).faults == [
        "round-01: the records have 1 reviews of 4",
        "round-01: fernhook.builder: its record and the folder do not agree",
    ]


def spoken(text: str, tokens: int, **changes: Any) -> dict[str, Any]:
    beats = [{"name": "primitive", "text": text, "cites": ["E1"]}]
    return review("builder", beats=beats, quote=text, provenance={"steps": 4, "completion_tokens": tokens}, **changes)


@pytest.mark.parametrize(
    ("told", "agrees"),
    [
        (spoken("It waits.", 40), True),
        (spoken("It is patient.", 65), True),  # written again, since another reviewer had said the same
        (spoken("It is patient.", 40), False),  # nobody wrote it
        (spoken("It is patient.", 65) | {"quote": "It waits."}, False),
        (spoken("It is patient.", 65, decision="skip"), False),
    ],
)
def test_a_record_may_differ_where_a_sentence_was_written_again(
    folder: Folder, told: dict[str, Any], agrees: bool
) -> None:
    whole_run(folder)
    stored = spoken("It waits.", 40)
    folder.save("builder", journal=False, **{name: stored[name] for name in ("beats", "quote", "provenance")})
    folder.merge(tools=[{"slug": TOOL, "reviews": [told, *(review(p) for p in PERSONA_SLUGS if p != "builder")]}])
    fault = "round-01: fernhook.builder: its record and the folder do not agree"
    assert finish(folder).faults == ([] if agrees else [fault])


@pytest.mark.parametrize("text", ["", '{"schema": "compar', "[]"])
def test_a_record_that_is_not_whole_is_found(folder: Folder, text: str) -> None:
    whole_run(folder)
    (folder.path / TOOL / "comparison.json").write_text(text)
    assert finish(folder).faults == ["round-01: 1 records, 0 of them whole, where 1 should be"]


def test_a_review_that_a_calm_run_writes_otherwise_is_not_counted_as_equal(folder: Folder) -> None:
    whole_run(folder)
    calm = json.loads((folder.path / TOOL / "comparison.json").read_text())
    calm["tools"][0]["reviews"][0]["quote"] = "Other words."
    calm["tools"][0]["reviews"][1]["provenance"]["seconds"] = 7.0  # the clock does not count
    assert finish(folder, whole=calm).as_uninterrupted == 3


# --------------------------------------------------------------------------------------------- processes

# Works like a run, without a model: four reviews, one after the other, none of them twice; then the record.
FAKE = """
import json, sys, time
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--out") + 1])
(out / "reviews").mkdir(parents=True, exist_ok=True)
reviews = []
for persona in {personas}:
    path = out / "reviews" / f"fernhook.{{persona}}.00ff.json"
    if not path.is_file():
        time.sleep(0.15)
        review = {{"persona": persona, "status": "scored", "decision": "ship", "quote": "q", "beats": [1], "pulls": [1],
                   "provenance": {{"seconds": time.time()}}}}
        path.with_suffix(".trace.json").write_text('{{"steps": []}}')
        temporary = path.with_name(f".{{persona}}.tmp")
        temporary.write_text(json.dumps(review))
        temporary.replace(path)
        with (out / "journal.jsonl").open("a") as file:
            file.write(json.dumps({{"tool": "fernhook", "persona": persona, "key": "00ff"}}) + "\\n")
    reviews.append(json.loads(path.read_text()))
(out / "fernhook").mkdir(exist_ok=True)
record = {{"schema": "comparison/1", "tools": [{{"slug": "fernhook", "reviews": reviews}}]}}
(out / "fernhook" / "comparison.json").write_text(json.dumps(record))
"""


def test_a_run_that_keeps_its_word_is_killed_as_often_as_asked_and_has_no_fault(tmp_path: Path) -> None:
    script = tmp_path / "fake.py"
    script.write_text(FAKE.format(personas=PERSONA_SLUGS))
    result = torment([sys.executable, "-S", str(script)], [TOOL], tmp_path / "out", times=5, seed=1)
    assert result.faults == []
    assert result.kills == 5
    assert result.rounds >= 1
    # every round ends complete, and its reviews are those of a run that was left alone, the clock apart
    assert result.finished == result.as_uninterrupted == 4 * result.rounds


def test_a_command_that_fails_by_itself_is_not_taken_for_killed(tmp_path: Path) -> None:
    for code in ("raise SystemExit(2)", "1 / 0"):  # Python ends with 1 when it crashes, as a run with unscored reviews
        with pytest.raises(SetupError, match="ended with exit code"):
            torment([sys.executable, "-c", code], [TOOL], tmp_path / "out", times=1, seed=0)


def test_a_process_is_killed_at_its_moment_and_not_before(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", "import time; time.sleep(20)"]
    assert run_until(command, 0.2, tmp_path / "log") is None
    assert run_until([sys.executable, "-S", "-c", "raise SystemExit(1)"], 20, tmp_path / "log") == 1
