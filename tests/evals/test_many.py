"""The copies that a large batch is made of, and what a killed command has taken."""

from __future__ import annotations

import sys
from pathlib import Path

from evals.many import copies, started
from evals.shared import case_folders
from panel.dossier import load_dossier


def test_copies_are_dossiers_of_which_none_answers_for_another(tmp_path: Path) -> None:
    cases = case_folders(2)
    slugs = copies(cases, 5, tmp_path / "dossiers")
    made = [load_dossier(tmp_path / "dossiers" / f"{slug}.yaml") for slug in slugs]
    assert [dossier.slug for dossier in made] == slugs
    assert len({dossier.name for dossier in made}) == 5
    facts = [piece.text for dossier in made for piece in dossier.evidence]
    assert len(facts) == len(set(facts))
    # every second one is of the same case, so that a small batch and a large one are alike
    assert [len(dossier.evidence) for dossier in made[:3]] == [len(dossier.evidence) for dossier in made[2:]]


def test_a_command_that_ends_and_one_that_is_killed(tmp_path: Path) -> None:
    hold = "import sys, time; held = b'x' * 200_000_000; print(sys.argv[1:]); time.sleep(float(sys.argv[1]))"
    command = [sys.executable, "-c", hold]
    code, spent = started([*command, "0"], tmp_path / "a", tmp_path / "a.sqlite")
    assert code == 0
    assert spent.peak > 200_000_000
    assert (tmp_path / "a.log").read_text().strip() == str(["0", "--out", str(tmp_path / "a")])
    code, spent = started([*command, "60"], tmp_path / "b", tmp_path / "b.sqlite", stop=1.0)
    assert code is None
    assert 1.0 <= spent.seconds < 60
