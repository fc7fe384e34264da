"""Does a run that is killed lose or repeat work? Kills `review-panel compare` at random, and looks at its folder.

    python -m evals.killed --times 10              the two reference tools
    python -m evals.killed --times 10 --tools 6    more tools: some reviews are finished while others are under way

The command is started, killed with SIGKILL at a moment drawn evenly from the length of a full run, and started again,
until it ends before its kill. Then its folder is checked, and a new one is begun, until all kills have hit. The
folder is read as files: what stood there after any kill must stand there at the end, byte for byte; the journal must
name every review once; the record must hold every review, as stored.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.reproducible import differences, without_clock
from evals.shared import case_folders, note, panel_command, read_json, report, run
from panel.errors import SetupError
from panel.records import PERSONA_SLUGS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Result:
    """What was done, and what was found in all folders together. `faults` is empty where all is well."""

    kills: int = 0
    kills_amid_finished: int = 0  # kills that some, and not all, reviews had been finished before
    rounds: int = 0
    finished: int = 0
    unscored: int = 0
    as_uninterrupted: int | None = None  # unknown without a run that was left alone
    unjournalled: int = 0  # killed between a review and its line in the journal: finished once, and not repeated
    temporary_files: int = 0
    faults: list[str] = field(default_factory=list)


class Watch:
    """One outputs folder, looked at after every kill and at the end, when it holds so many `records`."""

    def __init__(self, folder: Path, tools: Sequence[str], records: int = 1) -> None:
        self.folder = folder
        self._records = records
        self._expected = {(tool, persona) for tool in tools for persona in PERSONA_SLUGS}
        self._seen: dict[str, str] = {}  # review file → SHA-256, from the first time that it was seen
        self.faults: list[str] = []

    def look(self) -> int:
        """After a kill: note what is finished, and that what was finished stands as it stood; returns how many."""
        standing = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self._review_files()}
        for name, digest in self._seen.items():
            if name not in standing:
                self._fault(f"{name} is lost")
            elif standing[name] != digest:
                self._fault(f"{name} was made again: its bytes have changed")
        for name in standing:
            if not _is_review(read_json(self.folder / "reviews" / name)):
                self._fault(f"{name} stands as a review and is none")
        self._seen = {**standing, **self._seen}
        return len(standing)

    def finish(self, result: Result, whole: Any) -> None:
        """After the run has ended by itself: everything that must hold, added to `result`.

        Args:
            whole: the record of a run that was never killed, for comparison.
        """
        after_kills = set(self._seen)
        self.look()
        names = [path.name for path in self._review_files()]
        lines = self._journal()
        for key, times in Counter(lines).items():
            if times > 1:
                self._fault(f"{key} was computed {times} times by the journal")
            if key not in names:
                self._fault(f"{key} is in the journal and not in the folder")
        unjournalled = set(names) - set(lines)
        # Only a kill can come between the two; a process that ended by itself has written both.
        for name in sorted(unjournalled - after_kills):
            self._fault(f"{name} is not in the journal")
        for name in names:
            if read_json(self.folder / "reviews" / name.replace(".json", ".trace.json")) is None:
                self._fault(f"{name} has no trace")
        for place, times in Counter(tuple(name.split(".")[:2]) for name in names).items():
            if times > 1 or place not in self._expected:
                self._fault(f"{'.'.join(place)} has {times} reviews")
        self._check_record(result, whole)
        result.rounds += 1
        result.finished += len(names)
        result.unjournalled += len(unjournalled & after_kills)
        result.temporary_files += sum(1 for path in self.folder.rglob("*.tmp"))
        result.faults += self.faults

    def _check_record(self, result: Result, whole: Any) -> None:
        """The records together have every review, and each scored one is what stands in the folder."""
        found = [read_json(path) for path in self.folder.glob("*/comparison.json")]
        records = [record for record in found if isinstance(record, dict) and record.get("schema") == "comparison/1"]
        if len(found) != self._records or len(records) != len(found):
            self._fault(f"{len(found)} records, {len(records)} of them whole, where {self._records} should be")
            return
        tools = [tool for record in records for tool in record["tools"]]
        reviews = {(tool["slug"], review["persona"]): review for tool in tools for review in tool["reviews"]}
        if set(reviews) != self._expected:
            self._fault(f"the records have {len(reviews)} reviews of {len(self._expected)}")
        stored = {tuple(path.name.split(".")[:2]): read_json(path) for path in self._review_files()}
        calm = {(t["slug"], r["persona"]): r for t in (whole or {}).get("tools", ()) for r in t["reviews"]}
        for place, review in reviews.items():
            if review["status"] != "scored":
                result.unscored += 1
            elif not _agree(stored.get(place), review):
                self._fault(f"{'.'.join(place)}: its record and the folder do not agree")
            if place in calm:
                same = not differences(without_clock(calm[place]), without_clock(review))
                result.as_uninterrupted = (result.as_uninterrupted or 0) + same

    def _review_files(self) -> list[Path]:
        """What a later run would take for reviews: by name alone, whatever is in them."""
        return sorted(p for p in self.folder.glob("reviews/*.json") if not p.name.endswith(".trace.json"))

    def _journal(self) -> list[str]:
        """The review file that each line of the journal speaks of."""
        path = self.folder / "journal.jsonl"
        names = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], start=1):
            try:
                entry = json.loads(line)
                names.append(f"{entry['tool']}.{entry['persona']}.{entry['key']}.json")
            except (ValueError, KeyError, TypeError):
                self._fault(f"line {number} of the journal cannot be read")
        return names

    def _fault(self, text: str) -> None:
        message = f"{self.folder.name}: {text}"
        if message not in self.faults:
            self.faults.append(message)


def _agree(stored: Any, told: Any) -> bool:
    """Whether the record's review is the stored one.

    Where two reviewers said a thing alike, `panel.distinct` has had one of them write it again, which took tokens: that
    review alone may differ, in its sentences alone, and its quote must be made of them.
    """
    if stored == told:
        return True
    if not (_is_review(stored) and _is_review(told)):
        return False
    before, after = (review["provenance"].get("completion_tokens", 0) for review in (stored, told))
    if after <= before or _but_words(stored) != _but_words(told):
        return False
    return bool(told["quote"] == " ".join(beat["text"] for beat in told["beats"]))


def _but_words(review: dict[str, Any]) -> dict[str, Any]:
    beats = [(beat["name"], beat["cites"]) for beat in review["beats"]]
    return {**review, "quote": "", "beats": beats, "provenance": {**review["provenance"], "completion_tokens": 0}}


def _is_review(data: Any) -> bool:
    """Whether a stored file is a whole, scored review, by its own look."""
    if not isinstance(data, dict) or data.get("status") != "scored":
        return False
    return all(data.get(field) for field in ("persona", "decision", "quote", "beats", "pulls", "provenance"))


def run_until(command: Sequence[str], seconds: float | None, log: Path) -> int | None:
    """Run `command`, and kill it after `seconds`; its exit code, or None if the kill hit it.

    It keeps its model answers beside its log: those of another folder would leave it nothing to be killed at.
    """
    environment = {**os.environ, "REVIEW_PANEL_ANSWERS": str(log.with_suffix(".sqlite"))}
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment)
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()  # SIGKILL: nothing in the process can notice
            process.wait()
            return None
        finally:
            if process.poll() is None:  # this command was interrupted itself
                process.kill()
                process.wait()


def torment(
    command: Sequence[str], tools: Sequence[str], out: Path, *, times: int, seed: int, length: float | None = None
) -> Result:
    """Kill `command --out FOLDER` `times` times, over as many folders below `out` as that takes.

    Args:
        length: seconds of a full run, where it need not be measured.

    Raises:
        SetupError: the command fails by itself.
    """
    out.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)  # noqa: S311 - moments, not secrets
    result = Result()
    whole = None
    if length is None:
        note("measuring a full run")
        length = _complete(command, _fresh(out / "whole"))
        whole = next((read_json(path) for path in (out / "whole").glob("*/comparison.json")), None)
        note(f"a full run takes {length:.1f} s")
    while result.kills < times:
        folder = _fresh(out / f"round-{result.rounds + 1:02d}")
        watch = Watch(folder, tools)
        while result.kills < times:
            moment = draw.uniform(0, length)
            code = run_until([*command, "--out", str(folder)], moment, _log(folder))
            if code is not None:
                _check_exit(code, folder)
                break
            result.kills += 1
            finished = watch.look()
            result.kills_amid_finished += 0 < finished < len(tools) * len(PERSONA_SLUGS)
            note(f"kill {result.kills}/{times} after {moment:.1f} s: {finished} reviews stand in {folder.name}")
        else:
            _complete(command, folder)
        watch.finish(result, whole)
    return result


def _complete(command: Sequence[str], folder: Path) -> float:
    """Let the command end by itself; how many seconds that took."""
    started = time.monotonic()
    code = run_until([*command, "--out", str(folder)], None, _log(folder))
    assert code is not None
    _check_exit(code, folder)
    return time.monotonic() - started


def _check_exit(code: int, folder: Path) -> None:
    # 1 is also what Python ends with when it crashes
    crashed = "Traceback (most recent call last)" in _log(folder).read_text(encoding="utf-8", errors="replace")
    if code not in (0, 1) or crashed:
        raise SetupError(f"the command ended with exit code {code}", path=_log(folder), fix="see what it says there")


def _fresh(folder: Path) -> Path:
    """`folder`, without what an earlier evaluation left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    for left in (_log(folder), *folder.parent.glob(f"{folder.name}.sqlite*")):
        left.unlink(missing_ok=True)
    return folder


def _log(folder: Path) -> Path:
    return folder.with_suffix(".log")


@app.command(epilog="Example: python -m evals.killed --times 10")
def main(
    times: Annotated[int, typer.Option(min=1, help="How many kills must hit.")] = 10,
    tools: Annotated[int, typer.Option(min=2, help="How many cases to compare, the reference tools first.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the moments; the runs themselves use seed 0.")] = 0,
    length: Annotated[float | None, typer.Option(min=0.1, help="Seconds of a full run; measured by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("outputs/evals/killed"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Kill a run again and again. Exit code 1 if a finished review is lost, changed or computed twice."""
    cases = case_folders(tools)
    command = [*panel_command(), "compare", *map(str, cases), "--quiet"]
    result = torment(command, [case.name for case in cases], out, times=times, seed=seed, length=length)
    labels = {
        "kills": "kills",
        "kills_amid_finished": "kills with some reviews finished, and not all",
        "rounds": "runs completed after their kills",
        "finished": "reviews finished",
        "unscored": "reviews unscored",
        "as_uninterrupted": "reviews equal to those of a run without kills",
        "unjournalled": "finished, and killed before the journal's line",
        "temporary_files": "temporary files left, none read as a record",
    }
    found = {label: getattr(result, name) for name, label in labels.items()}
    rows = [[label, str(value)] for label, value in found.items() if value is not None]
    rows.append(["lost, changed, computed twice, half-written", str(len(result.faults))])
    report(asdict(result), rows, result.faults, as_json=as_json)
    if result.faults:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
