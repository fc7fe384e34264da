"""Cases with gold: a good one loads, and each way to spoil one is refused with the file, the field and the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from panel.errors import SetupError
from panel.gold import Case, Gold, load_case, load_cases
from panel.records import PERSONA_SLUGS, Dossier
from tests import scripted as script

GOLD = """\
schema: gold/1
verdicts: {builder: ship, competitor-analyst: ship, futurist: ship, business-buyer: skip}
pulls:
  E1: {builder: 1, competitor-analyst: 0, futurist: 1, business-buyer: -1}
  E2: {builder: 1, competitor-analyst: 0, futurist: 0, business-buyer: 0}
"""
SPLIT = """\
train: [lanternfish, bramble]
dev: []
test: []
"""


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """A folder of two cases, and the split beside it."""
    for name, text in (("lanternfish", script.DOSSIER), ("bramble", script.second_dossier())):
        folder = tmp_path / "cases" / name
        folder.mkdir(parents=True)
        (folder / "dossier.yaml").write_text(text, encoding="utf-8")
        (folder / "gold.yaml").write_text(GOLD, encoding="utf-8")
    (tmp_path / "split.yaml").write_text(SPLIT, encoding="utf-8")
    return tmp_path / "cases"


@pytest.fixture
def spoil(cases: Path) -> Callable[[str, str], SetupError]:
    """Replaces text in a gold file, and returns the error that loading its case gives."""

    def do(old: str, new: str) -> SetupError:
        path = cases / "lanternfish" / "gold.yaml"
        assert GOLD.count(old) == 1, f"{old!r} stands {GOLD.count(old)} times in the gold file"
        path.write_text(GOLD.replace(old, new), encoding="utf-8")
        with pytest.raises(SetupError) as caught:
            load_case(cases / "lanternfish")
        assert caught.value.path == path
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        return caught.value

    return do


# ---------------------------------------------------------------------------------------------------- the good


def test_a_case_is_a_dossier_with_its_gold(cases: Path, dossier: Dossier) -> None:
    case = load_case(cases / "lanternfish")
    assert case.dossier == dossier
    assert case.gold.verdicts == dict(zip(PERSONA_SLUGS, ("ship", "ship", "ship", "skip"), strict=True))
    assert case.gold.pulls["E1"] == dict(zip(PERSONA_SLUGS, (1, 0, 1, -1), strict=True))
    assert set(case.gold.pulls) == {"E1", "E2"}, "signs may be given for some of the evidence"


def test_signs_are_optional(cases: Path) -> None:
    (cases / "lanternfish" / "gold.yaml").write_text(GOLD.partition("pulls:")[0], encoding="utf-8")
    assert load_case(cases / "lanternfish").gold.pulls == {}


@pytest.mark.parametrize(
    ("verdicts", "clear"),
    [(("ship",) * 4, True), (("skip",) * 4, True), (("ship", "ship", "ship", "skip"), False)],
)
def test_a_case_is_clear_where_all_agree(dossier: Dossier, verdicts: tuple[str, ...], clear: bool) -> None:
    gold = Gold.model_validate({"schema": "gold/1", "verdicts": dict(zip(PERSONA_SLUGS, verdicts, strict=True))})
    assert Case(dossier, gold).clear is clear


def test_a_part_is_read_in_the_order_of_the_split(cases: Path) -> None:
    assert [case.dossier.slug for case in load_cases(cases, "train")] == ["lanternfish", "bramble"]
    assert load_cases(cases, "dev") == load_cases(cases, "test") == []


def test_a_case_may_be_left_out(cases: Path) -> None:
    """It is listed, so that one sees that it was not forgotten."""
    text = SPLIT.replace("lanternfish, ", "") + "unused: [lanternfish]\n"
    (cases.parent / "split.yaml").write_text(text, encoding="utf-8")
    assert [case.dossier.slug for case in load_cases(cases, "train")] == ["bramble"]


# ------------------------------------------------------------------------------------------------- the refused


@pytest.mark.parametrize(
    ("old", "new", "field", "line", "says"),
    [
        (", business-buyer: skip", "", "verdicts", None, "no verdict of business-buyer. Fix: give one for each"),
        ("business-buyer: skip", "business-buyer: maybe", "verdicts.business-buyer", 2, "'maybe' is not known here"),
        ("business-buyer: skip", "chef: skip", "verdicts.chef", 2, "'chef' is not known here. Fix: use one of"),
        ("E2:", "E77:", "pulls", None, "E77 is not in the dossier. Fix: use the ids of dossier.yaml"),
        ("E2:", "F2:", "pulls.F2", 5, "'F2' does not fit"),
        ("E2:", "E1:", None, 5, "the field 'E1' is given twice. Fix: keep one of them"),
        ("futurist: 1,", "futurist: 2,", "pulls.E1.futurist", 4, "'2' is not known here. Fix: use one of -1, 0 or 1"),
        ("futurist: 1,", "futurist: +,", "pulls.E1.futurist", 4, "'+' is not known here. Fix: use one of -1, 0 or 1"),
        ("futurist: 1,", "futurist: 0.5,", "pulls.E1.futurist", 4, "'0.5' is not known here"),
        ("futurist: 1,", "chef: 1,", "pulls.E1.chef", 4, "'chef' is not known here"),
        ("pulls:", "puls:", "puls", 3, "this field is not known. Fix: did you mean 'pulls'?"),
        ("gold/1", "gold/2", "schema", 1, "'gold/2' is not known here"),
        ("schema: gold/1\n", "", "schema", 1, "this field is missing"),
        ("verdicts: {", "verdicts: {{", None, 3, "this is not valid YAML"),
    ],
)
def test_a_spoilt_gold_file_is_refused(
    spoil: Callable[[str, str], SetupError], old: str, new: str, field: str | None, line: int | None, says: str
) -> None:
    error = spoil(old, new)
    assert says in str(error)
    assert (error.field or "").removesuffix(".[key]") == (field or "")
    if line is not None:
        assert error.line == line
    if field is not None:
        assert f"[{field}" in str(error)
    assert ". Fix: " in str(error)


def test_a_case_without_gold_is_refused(cases: Path) -> None:
    path = cases / "lanternfish" / "gold.yaml"
    path.unlink()
    with pytest.raises(SetupError, match="there is no such gold file") as caught:
        load_case(cases / "lanternfish")
    assert caught.value.path == path


def test_what_is_wrong_with_the_dossier_is_said_first(cases: Path) -> None:
    path = cases / "lanternfish" / "dossier.yaml"
    path.write_text(script.DOSSIER.replace("kind: docs", "kind: gossip"), encoding="utf-8")
    with pytest.raises(SetupError, match="'gossip' is not known here") as caught:
        load_case(cases / "lanternfish")
    assert (caught.value.path, caught.value.field) == (path, "evidence.1.kind")


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        (SPLIT.replace("dev: []\n", ""), "dev", "this field is missing. Fix: add 'dev: …'"),
        (SPLIT.replace("dev: []", "dev: [bramble]"), None, "bramble is listed twice. Fix: name each case in one part"),
        (SPLIT + "unused: [bramble]\n", None, "bramble is listed twice. Fix: name each case in one part"),
        (SPLIT + "spare: []\n", "spare", "this field is not known"),
        (SPLIT.replace(" bramble]", " ../bramble]"), "train.1", "'../bramble' does not fit"),
        (SPLIT.replace(" bramble]", " Bramble]"), "train.1", "'Bramble' does not fit"),
    ],
)
def test_a_spoilt_split_is_refused(cases: Path, text: str, field: str | None, says: str) -> None:
    path = cases.parent / "split.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SetupError) as caught:
        load_cases(cases, "train")
    assert (caught.value.path, caught.value.field) == (path, field)
    assert says in str(caught.value)


def test_a_split_that_is_missing_is_named(cases: Path) -> None:
    path = cases.parent / "split.yaml"
    path.unlink()
    with pytest.raises(SetupError, match=r"split\.yaml: there is no such split\. Fix: ") as caught:
        load_cases(cases, "train")
    assert caught.value.path == path


def test_a_case_that_only_the_split_knows_is_named(cases: Path) -> None:
    text = SPLIT.replace("lanternfish, bramble", "brambles").replace("dev: []", "dev: [lanternfish]")
    (cases.parent / "split.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SetupError, match=r"there is no such dossier\. Fix: did you mean ") as caught:
        load_cases(cases, "train")
    assert caught.value.path == cases / "brambles"
    assert [case.dossier.slug for case in load_cases(cases, "dev")] == ["lanternfish"], "other parts do without it"
