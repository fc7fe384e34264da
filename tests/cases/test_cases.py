"""Every case loads, and its gold file speaks of the evidence that is there."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from panel.dossier import load_dossier
from panel.gold import Part, load_cases
from panel.records import PERSONA_SLUGS, Dossier
from panel.screen import readable, screen

CASES = Path(__file__).parents[2] / "evals" / "cases"
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())


@cache
def dossier(name: str) -> Dossier:
    return load_dossier(CASES / name)


@cache
def gold(name: str) -> Any:
    return yaml.safe_load((CASES / name / "gold.yaml").read_text(encoding="utf-8"))


def test_there_are_cases() -> None:
    assert len(NAMES) >= 60
    assert {"smolagents-2", "mistral-3b"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_case_is_two_files_that_fit_together(name: str) -> None:
    assert sorted(path.name for path in (CASES / name).iterdir()) == ["dossier.yaml", "gold.yaml"]
    found, wanted = dossier(name), gold(name)
    assert found.slug == name
    assert set(wanted) <= {"schema", "verdicts", "pulls"}
    assert wanted["schema"] == "gold/1"
    assert set(wanted["verdicts"]) == set(PERSONA_SLUGS)
    assert set(wanted["verdicts"].values()) <= {"ship", "skip"}
    assert set(wanted["pulls"]) == {item.id for item in found.evidence}
    for pulls in wanted["pulls"].values():
        assert set(pulls) == set(PERSONA_SLUGS)
        # a bool is an int to Python, and YAML reads `yes` as one
        assert all(type(pull) is int and pull in (-1, 0, 1) for pull in pulls.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_verdict_is_one_that_its_pulls_allow(name: str) -> None:
    """A persona that ships has a reason to, and one that skips too; no verdict stands on nothing."""
    for persona in PERSONA_SLUGS:
        verdict = gold(name)["verdicts"][persona]
        assert any(pulls[persona] == (1 if verdict == "ship" else -1) for pulls in gold(name)["pulls"].values()), (
            persona
        )


@pytest.mark.parametrize("name", NAMES)
def test_evidence_does_not_say_the_verdict(name: str) -> None:
    """A fact that holds the word that is asked for would be weighed by that word."""
    for item in dossier(name).evidence:
        assert not re.search(r"\b(good|bad|ship|skip)\b", item.text, re.IGNORECASE), item.id


@pytest.mark.parametrize("name", NAMES)
def test_ids_count_from_one(name: str) -> None:
    assert [item.id for item in dossier(name).evidence] == [f"E{n}" for n in range(1, len(dossier(name).evidence) + 1)]


def test_no_two_cases_share_a_name_or_a_fact() -> None:
    """What one case repeats of another would be counted twice, and could leak from training into testing."""
    assert [name for name, n in Counter(dossier(c).name.casefold() for c in NAMES).items() if n > 1] == []
    facts = Counter(item.text.casefold() for c in NAMES for item in dossier(c).evidence)
    assert [text for text, n in facts.items() if n > 1] == []


def test_every_case_is_in_one_part_of_the_split() -> None:
    """What is fitted on is not reported on, and nothing is forgotten. Loading them is what the measurements do."""
    parts = get_args(Part)
    listed = [case.dossier.slug for part in parts for case in load_cases(CASES, part)]
    unused = yaml.safe_load((CASES.parent / "split.yaml").read_text(encoding="utf-8"))["unused"]
    assert sorted([*listed, *unused]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_no_evidence_is_set_aside(name: str) -> None:
    """The screen is for attacks, and these are none."""
    assert readable(dossier(name)) == dossier(name)
    assert not any(screen(item.text).set_aside for item in dossier(name).evidence)


def test_verdicts_and_pulls_are_of_every_sort() -> None:
    """Cases that all end alike could be won without reading."""
    for persona in PERSONA_SLUGS:
        verdicts = Counter(gold(c)["verdicts"][persona] for c in NAMES)
        assert min(verdicts["ship"], verdicts["skip"]) >= 0.3 * len(NAMES)
        pulls = Counter(p[persona] for c in NAMES for p in gold(c)["pulls"].values())
        assert min(pulls[-1], pulls[0], pulls[1]) >= 0.1 * pulls.total()
    patterns = {tuple(gold(c)["verdicts"][p] for p in PERSONA_SLUGS) for c in NAMES}
    assert len(patterns) >= 10, "of the sixteen there can be"
    for one, other in itertools.combinations(PERSONA_SLUGS, 2):
        assert any(gold(c)["verdicts"][one] != gold(c)["verdicts"][other] for c in NAMES)
