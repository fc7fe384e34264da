"""What the measuring commands have in common: which cases they run, the command that they start, how they report.

Progress goes to standard error, the result to standard output: a small table, or with --json the same as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from panel.errors import PanelError, SetupError
from panel.records import strip_unprintable

CASES = Path(__file__).resolve().parent / "cases"
#: The two tools of the reference page.
REFERENCE = ("smolagents-2", "mistral-3b")


def case_folders(count: int = len(REFERENCE), root: Path = CASES) -> list[Path]:
    """`count` case folders: the reference tools, and after them the others by name.

    Raises:
        SetupError: there are not that many.
    """
    others = sorted(p.name for p in root.iterdir() if (p / "dossier.yaml").is_file() and p.name not in REFERENCE)
    names = [*REFERENCE, *others][:count]
    if len(names) < count:
        raise SetupError(f"there are only {len(names)} cases", field="--tools", fix="ask for fewer")
    return [root / name for name in names]


def panel_command() -> list[str]:
    """The installed `review-panel` of the interpreter that runs this.

    Raises:
        SetupError: it is not installed there.
    """
    folder = Path(sys.executable).parent
    found = next((p for p in (folder / "review-panel", folder / "review-panel.exe") if p.is_file()), None)
    if found is None:
        raise SetupError("review-panel is not installed here", path=folder, fix="use .venv/bin/python, after make test")
    return [str(found)]


def read_json(path: Path) -> Any:
    """The JSON of a stored file, or None where it is not whole: an evaluation counts that, it does not stop."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def percent(part: int, whole: int) -> str:
    """Share of the whole, rounded down: only all of it is 100.0%."""
    return f"{part * 1000 // whole / 10:.1f}%" if whole else "—"


def note(text: str) -> None:
    """Progress, for the person who waits."""
    print(strip_unprintable(text), file=sys.stderr, flush=True)


def report(
    result: Mapping[str, Any], rows: Sequence[Sequence[str]], details: Sequence[str] = (), *, as_json: bool
) -> None:
    """Print `result` as JSON, or `rows` as an aligned table and `details` below it, one line each."""
    if as_json:
        print(json.dumps(result, indent=2))
        return
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        print(strip_unprintable("  ".join(cells)).rstrip())
    for line in details:
        print(strip_unprintable(line))


def run(app: typer.Typer) -> None:
    """Run a command; what a person can mend becomes one readable message and exit code 2."""
    try:
        app()
    except PanelError as error:
        note(f"error: {error}")
        sys.exit(2)
