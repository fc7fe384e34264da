"""What people see on a terminal. Progress and summaries go to standard error, results to standard output.

Text of a dossier or a model is stripped of control characters and never read as markup.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from panel.calibrate import Entry
from panel.engines.answers import Kept
from panel.engines.cached import Count
from panel.records import Dossier, Persona, strip_unprintable
from panel.requests import EngineInfo
from panel.run import Event, Outcome

_STEPS = {
    "started": "starting",
    "weigh_evidence": "weighing the evidence",
    "find_evidence": "looking things up",
    "read_evidence": "reading",
    "list_rivals": "looking at rivals",
    "price": "working out the price",
    "final_answer": "checking the answer",
}
_DONE = {"scored": "✓ done", "reused": "✓ from an earlier run", "unscored": "✗ unscored"}


def _errors() -> Console:
    return Console(stderr=True, highlight=False)


def plain(text: str) -> Text:
    """Untrusted `text`, printable and without markup."""
    return Text(strip_unprintable(text))


def line(text: str) -> None:
    print(strip_unprintable(text))


def note(text: str) -> None:
    print(strip_unprintable(text), file=sys.stderr)


def quiet(_: str) -> None:
    """Says nothing."""


class Progress:
    """One line per reviewer; repainted on a terminal, printed once per review elsewhere."""

    def __init__(
        self, dossiers: Sequence[Dossier], personas: Sequence[Persona], live: Live | None, enabled: bool
    ) -> None:
        self._state: dict[tuple[str, str], str] = {(d.slug, p.slug): "waiting" for d in dossiers for p in personas}
        self._names = {d.slug: d.name for d in dossiers} | {p.slug: p.name for p in personas}
        self._live, self._enabled = live, enabled
        self._status = ""
        self._lock = threading.Lock()

    def status(self, text: str) -> None:
        self._status = text
        if self._live is not None:
            self._live.update(self._table())
        elif self._enabled:
            note(text)

    def event(self, event: Event) -> None:
        with self._lock:
            self._status = ""
            self._state[event.tool, event.persona] = _DONE.get(event.what) or _STEPS.get(event.what, event.what)
            if self._live is not None:
                self._live.update(self._table())
            elif self._enabled and event.what in _DONE:
                note(f"{self._names[event.tool]} · {self._names[event.persona]}: {_DONE[event.what]}")

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for (tool, persona), state in self._state.items():
            style = {"✓": "green", "✗": "red"}.get(state[:1], "dim" if state == "waiting" else "")
            table.add_row(plain(self._names[tool]), plain(self._names[persona]), Text(state, style))
        if self._status:
            table.add_row(Text(self._status, "dim"))
        return table


@contextmanager
def progress(dossiers: Sequence[Dossier], personas: Sequence[Persona], *, enabled: bool) -> Iterator[Progress]:
    console = _errors()
    if not (enabled and console.is_terminal):
        yield Progress(dossiers, personas, None, enabled)
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        yield Progress(dossiers, personas, live, enabled)


def summary(outcome: Outcome) -> None:
    """The verdicts as a table, what failed and why, and where the page is."""
    record = outcome.record
    table = Table(box=None, header_style="bold")
    table.add_column("")
    for tool in record.tools:
        table.add_column(plain(tool.name))
    names = {"builder": "Builder", "competitor-analyst": "Competitor analyst", "futurist": "Futurist",
             "business-buyer": "Business buyer"}  # fmt: skip
    for row in record.reviewer_split:
        cells = []
        for tool in record.tools:
            review = next(r for r in tool.reviews if r.persona == row.persona)
            mark = {"ship": "✓ ship", "skip": "✗ skip"}.get(review.decision or "", "– unscored")
            chance = f" {review.p_ship:.2f}" if review.p_ship is not None else ""
            cells.append(Text(mark + chance, {"ship": "green", "skip": "red"}.get(review.decision or "", "yellow")))
        table.add_row(names[row.persona], *cells)
    table.add_row("Panel", *(f"{t.panel.percent}% ship" if t.panel.percent is not None else "—" for t in record.tools))
    console = _errors()
    console.print(table)
    for tool in record.tools:
        for review in tool.reviews:
            if review.reason:
                console.print(plain(f"{tool.name} · {names[review.persona]} is unscored: {review.reason}"))
    console.print(plain(f"Pick: {record.pick.why}"))
    console.print(plain(f"Page: {outcome.pages['html'].resolve()}"), soft_wrap=True)


def answers(count: Count) -> None:
    """How much of the run came from kept answers; nothing where no model was asked for any."""
    if count.kept or count.computed:
        note(f"model answers: {count.kept} kept, {count.computed} computed")


def kept(path: Path, size: int, found: Sequence[Kept], *, as_json: bool) -> None:
    """What a file of answers holds."""
    if as_json:
        line(json.dumps({"path": str(path), "bytes": size, "models": [asdict(k) for k in found]}, indent=2))
        return
    line(f"{path}: {sum(k.answers for k in found)} answers, {size / 1e6:.1f} MB")
    if not found:
        return
    table = Table(box=None, header_style="bold")
    for heading in ("model", "engine", "answers", "oldest", "newest"):
        table.add_column(heading, overflow="fold")
    for k in found:
        times = (datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") for at in (k.oldest, k.newest))
        name = f"{k.info.model} {(k.info.adapter_sha256 or k.info.model_sha256)[:12]}" if k.info else "unknown"
        on = f"{k.info.engine} {k.info.engine_version}" if k.info else ""
        table.add_row(plain(name), plain(on), str(k.answers), *times)
    Console(highlight=False).print(table)


def batch(rows: Sequence[Mapping[str, Any]], made: int, seconds: float) -> None:
    """The tools of a batch with their verdicts, then what failed, a line each."""
    console = _errors()
    table = Table(box=None, header_style="bold")
    headings = {
        "builder": "builder",
        "competitor-analyst": "analyst",
        "futurist": "futurist",
        "business-buyer": "buyer",
    }
    for heading in ("", "panel", *headings.values()):
        table.add_column(heading)
    marks = {"ship": Text("✓ ship", "green"), "skip": Text("✗ skip", "red"), None: Text("– unscored", "yellow")}
    for row in rows:
        if row["slug"]:
            percent = f"{row['percent']}%" if row["percent"] is not None else "—"
            table.add_row(plain(row["name"]), percent, *(marks[row["decisions"].get(slug)] for slug in headings))
    console.print(table)
    for row in rows:
        for problem in [row["problem"]] if row["problem"] else [f"{row['slug']} · {said}" for said in row["unscored"]]:
            console.print(plain(problem), style="red", soft_wrap=True)
    failed = sum(bool(row["problem"]) for row in rows)
    pace = f", {seconds / made:.1f} s each" if made else ""
    wrong = f", {failed} could not be read" if failed else ""
    console.print(f"{len(rows) - failed} tools{wrong}; {made} reviews made in {seconds:.0f} s{pace}")


def open_page(path: Path) -> None:
    """Open the page in a browser, where there is a desktop to open it on."""
    desktop = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not desktop or os.environ.get("CI"):
        return
    try:
        if sys.platform == "win32":
            os.startfile(path)  # type: ignore[attr-defined,unused-ignore]  # noqa: S606
        else:
            command = "open" if sys.platform == "darwin" else "xdg-open"
            subprocess.run([command, str(path)], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        note(f"the page could not be opened ({error.strerror}); open it by hand: {path.resolve()}")


def personas(found: Sequence[Persona]) -> None:
    table = Table(box=None, header_style="bold")
    for heading in ("slug", "reads as", "looks most at", "beats"):
        table.add_column(heading)
    for one in found:
        top = sorted(one.lens, key=lambda kind: -one.lens[kind])[:3]
        table.add_row(one.slug, plain(one.audience), ", ".join(top), ", ".join(b.name for b in one.beats))
    Console(highlight=False).print(table)


def persona(one: Persona) -> None:
    console = Console(highlight=False)
    console.print(Text(f"{one.name} ({one.slug})", "bold"))
    console.print(plain(one.voice))
    console.print(plain("Lens: " + ", ".join(f"{kind} {weight:g}" for kind, weight in one.lens.items())))
    for beat in one.beats:
        console.print(plain(f"· {beat.name}: {beat.question} (cites {', '.join(beat.kinds)})"))
    for example in one.examples:
        console.print(plain(f"  {'+' if example.label == 'good' else '−'} {example.fact}"))


def models(found: Sequence[Any], *, as_json: bool) -> None:
    if as_json:
        line(json.dumps([asdict(m) for m in found], default=str, indent=2))
        return
    table = Table(box=None, header_style="bold")
    for heading in ("model", "state", "size", "licence", "sha256", "where"):
        table.add_column(heading, overflow="fold")
    for m in found:
        size = f"{m.bytes / 1e6:,.0f} MB" if m.bytes else "—"
        table.add_row(plain(m.name), m.state, size, plain(m.license), m.sha256[:12] or "—", plain(str(m.path)))
    Console(highlight=False).print(table)


def checks(found: Sequence[Any], *, as_json: bool) -> None:
    if as_json:
        line(json.dumps([asdict(check) for check in found], indent=2))
        return
    for check in found:
        line(
            f"{'✓' if check.ok else '✗'} {check.name}: {check.detail}" + (f". Fix: {check.fix}" if not check.ok else "")
        )


def warn_uncalibrated(personas: Sequence[Persona], info: EngineInfo) -> None:
    """Say so where a probability rests on the default calibration."""
    missing = [one.slug for one in personas if not one.calibration.fitted]
    if missing:
        note(
            f"warning: {', '.join(missing)} not calibrated for {info.model} on {info.engine}; "
            "p(ship) rests on a default and may be far off. "
            f"Fix: review-panel personas calibrate --engine {info.engine} --model {info.model}"
        )


def calibrations(entries: Sequence[Entry]) -> None:
    table = Table(box=None, header_style="bold")
    for heading in ("persona", "model", "engine", "cases", "neutral", "intercept", "strengths", "weaknesses"):
        table.add_column(heading)
    for entry in entries:
        values = entry.calibration
        numbers = (values.neutral, values.intercept, values.strengths, values.weaknesses)
        cells = (f"{number:+.3f}" for number in numbers)
        table.add_row(entry.persona, plain(entry.model), entry.engine, str(entry.cases), *cells)
    Console(highlight=False).print(table)


@contextmanager
def counter(what: str, total: int, *, enabled: bool) -> Iterator[Callable[[], None]]:
    """A progress bar with the time left, on standard error; yields what advances it by one."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_errors(), disable=not enabled) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
