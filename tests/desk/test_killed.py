"""Real processes, killed at work: nothing acknowledged is lost, no half page. `evals.desk_killed` does it 50 times."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals import desk_killed
from evals.desk_killed import MODES, Result, torment
from evals.desk_worker import ITEM, number_in, sentence
from panel.desk import DeskStore
from tests.desk.state import ANN


@pytest.mark.parametrize("mode", MODES)
def test_a_desk_that_is_killed_keeps_what_it_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(desk_killed, "HISTORY", 5_000)
    monkeypatch.setattr(desk_killed, "SAVES", 4)
    result = torment(tmp_path, times=3, seed=1, only=mode)
    assert result.kills == {mode: 3}
    assert result.faults == []


# ------------------------------------------------------------------------------------------- and the test of the test


def test_the_number_of_a_sentence_is_found_again() -> None:
    assert [number_in(f"x {sentence(number)} y") for number in (0, 7, 120)] == [0, 7, 120]
    assert number_in("no such") is None


def test_half_a_page_is_found(tmp_path: Path) -> None:
    result = Result()
    for name, text in {"index.html": "<!DOCTYPE html> half", "comparison.md": "# x\n", "comparison.json": "{"}.items():
        (tmp_path / name).write_text(text)
    desk_killed._agreed(tmp_path, 1, result)
    assert result.faults == ["kill 1: half of index.html is published", "kill 1: half of comparison.json is published"]


def test_a_lost_save_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that says more than it has done is caught."""
    target = "mistral-3b/builder/primitive"
    monkeypatch.setattr(desk_killed, "measure", lambda *_: 0.0)
    monkeypatch.setattr(desk_killed, "kill_after", lambda *_: [{"number": 4, "target": target, "revision": 5}])
    result = torment(tmp_path, times=1, seed=0, only="autosave")
    assert f"kill 1: {target} was acknowledged as 4, and holds None" in result.faults
    assert "kill 1: revision 5 was acknowledged, 0 stands" in result.faults


def test_a_page_that_is_not_the_items_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(mode: str, folder: Path, *_: object) -> list[dict[str, object]]:
        store = DeskStore(folder)
        revision = store.save(ITEM, "pick", sentence(3), revision=0, user=ANN).revision
        store.close()
        return [{"number": 3, "revision": revision}]

    monkeypatch.setattr(desk_killed, "measure", lambda *_: 0.0)
    monkeypatch.setattr(desk_killed, "kill_after", lie)
    site = tmp_path / "publish" / "desk_site" / ITEM
    real = desk_killed.fresh_desk

    def with_a_page(folder: Path) -> Path:
        made = real(folder)
        site.mkdir(parents=True)
        for name in ("index.html", "comparison.md", "comparison.json"):
            start = {"index.html": "<!DOCTYPE html>", "comparison.md": "# ", "comparison.json": '"'}[name]
            end = {"index.html": "</html>\n", "comparison.md": "\n", "comparison.json": '"'}[name]
            (site / name).write_text(f"{start}{sentence(2)}{end}")
        return made

    monkeypatch.setattr(desk_killed, "fresh_desk", with_a_page)
    result = torment(tmp_path, times=1, seed=0, only="publish")
    assert "kill 1: 3 was acknowledged, and 2 is published" in result.faults
    assert any("the desk says live=False" in fault for fault in result.faults)
