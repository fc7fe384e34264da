"""Does the editors' desk lose what it has acknowledged when it is killed, or show half a page?

    python -m evals.desk_killed                    50 kills each of autosave, publication and migration
    python -m evals.desk_killed --times 5 --only publish

A process works at a desk without end (`evals.desk_worker`) and is killed with SIGKILL at a moment drawn evenly from
the time that ten saves, one publication, or one migration take. Then the folder is opened as the next process would
open it, and compared with what the killed one had said. While pages are published, a reader reads them all the time.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.desk_worker import ITEM, WITH_TRIAL, number_in, sentence
from evals.shared import note, report, run
from panel.desk.database import Database
from panel.desk.schema import MIGRATIONS
from panel.desk.store import DeskStore
from panel.errors import SetupError

EXAMPLE = Path(__file__).resolve().parents[1] / "outputs" / "example" / "comparison.json"
SAVES = 10  # within which a kill comes
HISTORY = 60_000  # lines that a migration has to rewrite

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Result:
    """What was done and found; `faults` is empty where all is well."""

    kills: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0  # saves and publications
    beyond: int = 0  # done, and killed before it was said
    amid: int = 0  # kills that came while something was begun and not ended: a publication, a migration
    pages_read: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        if text not in self.faults:
            note(f"fault: {text}")  # a run that is stopped has said what it found
            self.faults.append(text)


class Worker:
    """A worker that has said that what is to be killed has begun (`ready`, or `begun` where it says that too)."""

    def __init__(self, mode: str, folder: Path, start: int) -> None:
        self._log = folder.with_suffix(".log")
        command = [sys.executable, "-m", "evals.desk_worker", mode, str(folder), str(start)]
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        self.lines: list[dict[str, Any]] = []
        while not (line := self.read()).get("begun" if mode == "publish" else "ready"):
            self.lines.append(line)

    def read(self) -> dict[str, Any]:
        """The next line. Raises SetupError: the worker has ended by itself."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.kill()
            raise SetupError("the worker has ended by itself", path=self._log, fix="see what it says there")
        found: dict[str, Any] = json.loads(line)
        return found

    def kill(self) -> list[dict[str, Any]]:
        """SIGKILL: nothing in the process can notice. Returns what it had acknowledged."""
        self._process.kill()
        rest, _ = self._process.communicate()
        # a line without an end was not said yet
        lines = [*self.lines, *(json.loads(line) for line in rest.split(b"\n")[:-1])]
        return [line for line in lines if "begun" not in line and "ready" not in line]


def measure(mode: str, folder: Path, acknowledgements: int) -> float:
    """Seconds that a worker needs for that many, from where a kill may come."""
    worker = Worker(mode, folder, 0)
    started = time.monotonic()
    for _ in range(acknowledgements):
        worker.read()
    length = time.monotonic() - started
    worker.kill()
    return length


def kill_after(mode: str, folder: Path, start: int, seconds: float) -> list[dict[str, Any]]:
    """Start a worker, kill it that long after it has begun; what it had acknowledged."""
    worker = Worker(mode, folder, start)
    time.sleep(seconds)
    return worker.kill()


def fresh_desk(folder: Path) -> Path:
    """A folder with one item, which has no blockers."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / ITEM).mkdir(parents=True)
    shutil.copy(EXAMPLE, folder / ITEM / "comparison.json")
    with opened(folder) as store:
        store.sync()
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[DeskStore]:
    with closing(DeskStore(folder)) as store:
        yield store


def sound(path: Path, result: Result) -> None:
    with closing(sqlite3.connect(path)) as connection:
        says = connection.execute("PRAGMA integrity_check").fetchone()[0]
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    if says != "ok" or broken:
        result.fault(f"{path.parent.name}: the file is damaged: {says} {broken[:3]}")


def torment_autosave(out: Path, times: int, draw: random.Random, result: Result) -> None:
    """After each kill every acknowledged text stands, and the history has every acknowledged revision."""
    length = measure("autosave", fresh_desk(out / "autosave"), SAVES)
    folder, number, said = fresh_desk(out / "autosave"), 0, dict[str, int]()
    for kill in range(1, times + 1):
        lines = kill_after("autosave", folder, number, draw.uniform(0, length))
        said |= {line["target"]: line["number"] for line in lines}
        revisions = {line["revision"] for line in lines}
        result.acknowledged += len(lines)
        last = lines[-1]["number"] if lines else number - 1
        with opened(folder) as store:
            item = store.item(ITEM)
            for target, wanted in said.items():
                found = number_in(item.texts[target].current)
                if found is not None and found == last + 1 > wanted:
                    result.beyond += 1
                elif found != wanted:
                    result.fault(f"kill {kill}: {target} was acknowledged as {wanted}, and holds {found}")
            if item.row.revision < max(revisions, default=0):
                result.fault(f"kill {kill}: revision {max(revisions)} was acknowledged, {item.row.revision} stands")
            noted = len([e for e in store.history(ITEM, limit=500) if e.action == "edit"])
            if noted < min(len(lines), 400):
                result.fault(f"kill {kill}: {len(lines)} saves, {noted} in the history")
        sound(folder / "desk.sqlite", result)
        number = last + 2
        said = {target: held for target, held in said.items() if held <= last}
        with opened(folder) as store:  # what was done and not said is part of the start of the next round
            texts = store.item(ITEM).texts
            said |= {t: n for t in texts if t in said and (n := number_in(texts[t].current)) is not None}
        result.kills["autosave"] = kill
        note(f"autosave: kill {kill}/{times}, {len(lines)} saves acknowledged")


class Reader(threading.Thread):
    """Reads the published files without a pause, and notes each that is not whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.read, self.faults = folder, 0, list[str]()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            for name, whole in WHOLE.items():
                try:
                    text = (self.folder / name).read_text(encoding="utf-8")
                except FileNotFoundError:
                    continue  # not published yet, or the name was exchanged between two steps of the path's walk
                self.read += 1
                if not whole(text):
                    self.faults.append(f"a reader found half of {name} ({len(text)} characters)")
            time.sleep(0.001)

    def end(self) -> None:
        self._ended.set()
        self.join()


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


WHOLE: dict[str, Callable[[str], bool]] = {
    "index.html": lambda text: text.startswith("<!DOCTYPE html>") and text.endswith("</html>\n"),
    "comparison.md": lambda text: text.startswith("# ") and text.endswith("\n"),
    "comparison.json": _is_json,
}


def torment_publish(out: Path, times: int, draw: random.Random, result: Result) -> None:
    """After each kill the three files are whole and of one version, and the desk's state is the folder's."""
    length = 1.5 * measure("publish", fresh_desk(out / "publish"), 1)
    folder, number, last = fresh_desk(out / "publish"), 0, -1
    site = folder / "desk_site" / ITEM
    reader = Reader(site)
    reader.start()
    for kill in range(1, times + 1):
        lines = kill_after("publish", folder, number, draw.uniform(0, length))
        result.acknowledged += len(lines)
        before = _agreed(site, kill, result)
        begun = _pending(folder / "desk.sqlite")
        result.amid += begun
        last = lines[-1]["number"] if lines else last
        if before is not None and before < last:
            result.fault(f"kill {kill}: {last} was acknowledged, and {before} is published")
        with opened(folder) as store:
            after, row = _agreed(site, kill, result), store.item(ITEM).row
            if _pending(folder / "desk.sqlite"):
                result.fault(f"kill {kill}: what was begun is not ended")
            stands = (site / "index.html").is_file()
            gone = stands and "was withdrawn" in (site / "index.html").read_text(encoding="utf-8")
            if row.live != (stands and not gone):
                result.fault(f"kill {kill}: the desk says live={row.live}, and the folder says otherwise")
            if row.state == "published" and after != number_in(store.item(ITEM).record.model_dump_json()):
                result.fault(f"kill {kill}: the page is not that of the item")
            number = max(number, last + 1, (after or 0) + 1)
            last = max(last, after if after is not None else -1)
        left = [path.name for path in (folder / "desk_site").glob(".*.tmp")]
        if left:
            result.fault(f"kill {kill}: left behind {left}")
        sound(folder / "desk.sqlite", result)
        result.kills["publish"] = kill
        note(f"publish: kill {kill}/{times}, {len(lines)} acknowledged, {'amid one' if begun else 'between two'}")
    reader.end()
    result.pages_read += reader.read
    result.faults += sorted(set(reader.faults))


def _agreed(site: Path, kill: int, result: Result) -> int | None:
    """The number that all three files carry."""
    if not site.exists():
        return None
    texts = {name: (site / name).read_text(encoding="utf-8") for name in WHOLE}
    for name, text in texts.items():
        if not WHOLE[name](text):
            result.fault(f"kill {kill}: half of {name} is published")
    numbers = {number_in(text) for text in texts.values()}
    if len(numbers) > 1:
        result.fault(f"kill {kill}: the files are of versions {numbers}")
    return next(iter(numbers))


def _pending(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("SELECT count(*) FROM intents").fetchone()[0])


def torment_migration(out: Path, times: int, draw: random.Random, result: Result) -> None:
    """After each kill the file is of one version, whole: its tables are those of that version, and no row is lost."""
    folder = out / "migration"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    old, path = folder / "old.sqlite", folder / "desk.sqlite"
    schemas = [_tables(folder / f"version-{n}.sqlite", n) for n in range(len(WITH_TRIAL) + 1)]
    _old_file(old)
    shutil.copy(old, path)
    length = measure("migration", folder, 1)
    for kill in range(1, times + 1):
        for name in ("desk.sqlite", "desk.sqlite-wal", "desk.sqlite-shm"):
            (folder / name).unlink(missing_ok=True)
        shutil.copy(old, path)
        done = kill_after("migration", folder, 0, draw.uniform(0, length))
        with closing(sqlite3.connect(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
            lines = connection.execute("SELECT count(*), min(at), max(detail) FROM history").fetchone()
        result.amid += version < len(WITH_TRIAL)
        if tables != schemas[version]:
            result.fault(f"kill {kill}: version {version} has the tables of another")
        if lines != (HISTORY, "2026-01-01T00:00:00", "{}"):
            result.fault(f"kill {kill}: the history is {lines}")
        if done and version != len(WITH_TRIAL):
            result.fault(f"kill {kill}: the migration had ended, and version {version} stands")
        sound(path, result)
        Database(path, WITH_TRIAL).close()
        with closing(sqlite3.connect(path)) as connection:
            if connection.execute("SELECT count(*) FROM history_2").fetchone()[0] != HISTORY:
                result.fault(f"kill {kill}: the next process did not end the migration")
        result.kills["migration"] = kill
        note(f"migration: kill {kill}/{times}, version {version} of {len(WITH_TRIAL)}")


def _tables(path: Path, version: int) -> dict[str, str]:
    Database(path, WITH_TRIAL[:version]).close()
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def _old_file(path: Path) -> None:
    """A file of the first version with a long history."""
    Database(path, MIGRATIONS[:1]).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO history (at, by, action, target, detail) "
            "VALUES ('2026-01-01T00:00:00', 'Ann', 'edit', ?, '{}')",
            ((sentence(number),) for number in range(HISTORY)),
        )


MODES = {"autosave": torment_autosave, "publish": torment_publish, "migration": torment_migration}


def torment(out: Path, *, times: int, seed: int, only: str = "") -> Result:
    """Kill each of `MODES`, or `only` one, `times` times in folders below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    result = Result()
    for mode, work in MODES.items():
        if only in ("", mode):
            work(out, times, random.Random(f"{seed}/{mode}"), result)  # noqa: S311 - moments, not secrets
    return result


@app.command(epilog="Example: python -m evals.desk_killed --times 50")
def main(
    times: Annotated[int, typer.Option(min=1, help="Kills of each.")] = 50,
    only: Annotated[str, typer.Option(help="autosave, publish or migration; all three by default.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the moments.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the desks.")] = Path("outputs/evals/desk_killed"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Kill the desk at work. Exit code 1 if anything acknowledged is lost, or half of anything stands."""
    if only not in ("", *MODES):
        raise SetupError(f"there is no {only!r}", field="--only", fix=f"choose one of {', '.join(MODES)}")
    result = torment(out, times=times, seed=seed, only=only)
    rows = [[f"kills during {mode}", str(number)] for mode, number in result.kills.items()]
    rows += [
        ["saves and publications acknowledged", str(result.acknowledged)],
        ["done, and killed before it was said", str(result.beyond)],
        ["kills amid a publication or a migration", str(result.amid)],
        ["files read while they were published", str(result.pages_read)],
        ["lost, half-written, in disagreement", str(len(result.faults))],
    ]
    report(asdict(result), rows, result.faults, as_json=as_json)
    if result.faults:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
