"""What editors did, for the panel to learn from; and who may log in."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from panel.desk import DeskStore
from panel.desk.types import FieldError, NotFound, User
from panel.gold import load_case
from tests.desk.state import ANN, ITEM, PLAIN, PRIMITIVE, approve, redrafted, review_of, revision


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "draft-against-final.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_decisions_that_stand_become_gold(store: DeskStore, tmp_path: Path) -> None:
    store.overrule(ITEM, "smolagents-2", "business-buyer", "skip", "No support.", revision=0, user=ANN)
    store.confirm(ITEM, "smolagents-2", "There are 901 agents.", "a book", "adoption", revision=1, user=ANN)
    store.save(ITEM, PRIMITIVE, PLAIN, revision=2, user=ANN)
    assert set(store.export(tmp_path / "early")) == {"draft-against-final.csv"}  # nobody stands behind it yet
    assert len(table(tmp_path / "early")) == 3
    approve(store)
    paths = store.export(tmp_path / "gold")
    assert sorted(paths) == [
        "cases/mistral-3b/dossier.yaml", "cases/mistral-3b/gold.yaml", "cases/smolagents-2/dossier.yaml",
        "cases/smolagents-2/gold.yaml", "draft-against-final.csv",
    ]  # fmt: skip
    case = load_case(tmp_path / "gold" / "cases" / "smolagents-2")
    assert case.gold.verdicts == {
        "builder": "ship", "competitor-analyst": "ship", "futurist": "ship", "business-buyer": "skip",
    }  # fmt: skip
    version = store.item(ITEM).dossiers["smolagents-2"]
    assert version is not None
    assert case.dossier == version.dossier
    assert case.dossier.evidence[-1].text == "There are 901 agents."
    lines = {line["part"]: line for line in table(tmp_path / "gold")}
    assert (lines["primitive"]["final"], lines["primitive"]["by"]) == (PLAIN, "Ann")
    assert lines["primitive"]["draft"] == store.item(ITEM).texts[PRIMITIVE].draft
    assert (lines["verdict"]["machine_verdict"], lines["verdict"]["final_verdict"]) == ("ship", "skip")
    assert lines["verdict"]["reason"] == "No support."
    assert lines["evidence E14"]["final"] == "There are 901 agents."
    first = {name: path.read_bytes() for name, path in paths.items()}
    assert {name: path.read_bytes() for name, path in store.export(tmp_path / "gold").items()} == first


def test_no_cell_of_the_table_is_a_formula(store: DeskStore, tmp_path: Path) -> None:
    for number, words in enumerate(('=HYPERLINK("http://evil")', "+1", "-1", "@SUM(A1)", "  =1+1", "|cmd")):
        store.overrule(ITEM, "smolagents-2", "builder", "skip", words, revision=number, user=ANN)
        store.export(tmp_path)
        (line,) = table(tmp_path)
        assert line["reason"].startswith("'")


def test_corrections_are_counted_by_persona(store: DeskStore) -> None:
    assert all(each.reviews == 2 and not each.beats_edited for each in store.feedback())
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    store.save(ITEM, "mistral-3b/builder/primitive", "The primitive is clear: weights.", revision=1, user=ANN)
    store.save(ITEM, "mistral-3b/builder/quote", "Weights.", revision=2, user=ANN)
    store.overrule(ITEM, "smolagents-2", "futurist", "skip", "Too early.", revision=3, user=ANN)
    store.offer(ITEM, redrafted(review_of(store.item(ITEM), "smolagents-2", "builder")), "smolagents-2", user=ANN)
    by = {each.persona: each for each in store.feedback()}
    assert list(by) == ["builder", "competitor-analyst", "futurist", "business-buyer"]
    assert (by["builder"].beats_edited, by["builder"].quotes_edited, by["builder"].regenerated) == (
        {"primitive": 2}, 1, 1,
    )  # fmt: skip
    assert (by["futurist"].overruled_to_skip, by["futurist"].overruled_to_ship) == (1, 0)
    assert by["futurist"].reasons == ("Too early.",)
    store.undo(ITEM, revision=revision(store), user=ANN)
    assert {each.persona: each.overruled_to_skip for each in store.feedback()}["futurist"] == 0


# -------------------------------------------------------------------------------------------------------- users


def test_users_log_in_with_their_password(store: DeskStore, outputs: Path) -> None:
    store.add_user("Ann", "a long password", "editor")
    store.add_user("Bea", "another password", "approver", by="Ann")
    assert store.users() == (User("Ann", "editor"), User("Bea", "approver"))
    assert store.login("Ann", "a long password") == User("Ann", "editor")
    for name, password in (("Ann", "a long passwore"), ("Ann", ""), ("ann", "a long password"), ("Nobody", "x" * 12),
                           ("Ann", "x" * 100_000), ("x" * 100_000, "y"), ("' OR 1=1 --", "y")):  # fmt: skip
        assert store.login(name, password) is None
    store.add_user("Ann", "a new password", "approver")
    assert store.login("Ann", "a long password") is None
    assert store.login("Ann", "a new password") == store.user("Ann") == User("Ann", "approver")
    store.claim(ITEM, ANN)
    store.remove_user("Ann", by="Bea")
    assert store.login("Ann", "a new password") is None
    assert store.user("Ann") is None
    assert store.item(ITEM).row.owner is None
    with pytest.raises(NotFound):
        store.remove_user("Ann", by="Bea")
    assert "remove user" in [event.action for event in store.history()]
    assert all(b"password" not in path.read_bytes() for path in outputs.glob("desk.sqlite*"))


@pytest.mark.parametrize(
    ("name", "password", "role", "field"),
    [
        ("", "a long password", "editor", "name"),
        ("x" * 61, "a long password", "editor", "name"),
        ("Ann\u202e", "a long password", "editor", "name"),
        ("<b>", "a long password", "editor", "name"),
        ("../x", "a long password", "editor", "name"),
        ("Ann", "short", "editor", "password"),
        ("Ann", "x" * 201, "editor", "password"),
        ("Ann", "a long password", "owner", "role"),
    ],
)
def test_a_user_needs_a_name_a_password_and_a_role(
    store: DeskStore, name: str, password: str, role: str, field: str
) -> None:
    with pytest.raises(FieldError) as refused:
        store.add_user(name, password, role)  # type: ignore[arg-type]
    assert refused.value.field == field
    assert store.users() == ()
