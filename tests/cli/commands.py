"""Running the command line inside a test."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from panel.cli import main

ROOT = Path(__file__).parents[2]
CASES = ROOT / "evals" / "cases"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


class Command:
    """`review-panel`, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str | Path) -> Ran:
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["review-panel", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        captured = self._capsys.readouterr()
        return Ran(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)


def assert_refused(ran: Ran, *said: str) -> None:
    """Exit code 2, nothing on standard output, and on standard error one readable line that says all of `said`."""
    assert ran.code == 2, ran
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: ")
    assert ". Fix: " in lines[0]
    assert len(lines[0]) < 600, "a message to read, not a listing"
    assert "Traceback" not in ran.err
    assert lines[0].isprintable(), "control characters reached the terminal"
    for part in said:
        assert part in lines[0]


def installed() -> Sequence[str]:
    """The command as it was installed."""
    return [str(Path(sys.executable).with_name("review-panel"))]
