"""`review-panel batch` on a scripted engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from panel.engines.scripted import ScriptedEngine
from panel.errors import EngineError
from panel.records import PERSONA_SLUGS
from panel.requests import GenerateRequest
from tests import scripted as script
from tests.cli.commands import Command

Use = Callable[..., ScriptedEngine]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "tools"
    found.mkdir()
    for n in range(3):
        text = script.DOSSIER.replace("lanternfish", f"tool-{n}").replace("Lanternfish 1.2", f"Tool {n}")
        (found / f"t{n}.yaml").write_text(text, encoding="utf-8")
    return found


def test_a_table_of_all_and_a_record_of_each(
    command: Command, with_engine: Use, folder: Path, calibrated: Path, tmp_path: Path
) -> None:
    with_engine(skips=["futurist"])
    ran = command("batch", folder, "--out", tmp_path / "out", "--personas", calibrated)
    assert (ran.code, ran.out) == (0, "")
    for n in range(3):
        (row,) = [line for line in ran.err.splitlines() if line.strip().startswith(f"Tool {n}")]
        assert row.split() == ["Tool", str(n), "75%", "✓", "ship", "✓", "ship", "✗", "skip", "✓", "ship"]
        assert (tmp_path / "out" / f"tool-{n}" / "comparison.html").is_file()
    assert "3 tools; 12 reviews made in" in ran.err
    again = command("batch", folder, "--out", tmp_path / "out", "--personas", calibrated)
    assert "3 tools; 0 reviews made in" in again.err


def test_failures_are_a_line_each(
    command: Command, with_engine: Use, folder: Path, calibrated: Path, tmp_path: Path
) -> None:
    def write(request: GenerateRequest) -> str:
        if "tool-2" in request.key and "builder" in request.key:
            raise EngineError("the cable is out")
        return script.write(request)

    with_engine(script.scripted_engine(write=write))
    (folder / "t0.yaml").write_text("schema: dossier/1\nslug: \x1b[31mred\n", encoding="utf-8")
    ran = command("batch", folder, "--out", tmp_path / "out", "--personas", calibrated)
    assert ran.code == 1
    problems = [line for line in ran.err.splitlines() if "t0.yaml" in line or "cable" in line]
    assert len(problems) == 2
    assert "\x1b" not in problems[0]
    assert problems[1].strip() == "tool-2 · builder: the cable is out"
    assert "2 tools, 1 could not be read" in ran.err


def test_json_is_a_line_per_tool(
    command: Command, with_engine: Use, folder: Path, calibrated: Path, tmp_path: Path
) -> None:
    with_engine()
    ran = command("batch", folder, "--out", tmp_path / "out", "--personas", calibrated, "--json", "--quiet")
    assert ran.err == ""
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["slug"] for row in rows] == ["tool-0", "tool-1", "tool-2"]
    assert all(row["decisions"] == dict.fromkeys(PERSONA_SLUGS, "ship") for row in rows)
    assert all(Path(row["record"]).is_file() for row in rows)


def test_a_folder_without_dossiers_is_refused(command: Command, tmp_path: Path) -> None:
    ran = command("batch", tmp_path)
    assert ran.code == 2
    assert "there is no dossier in this folder" in ran.err
