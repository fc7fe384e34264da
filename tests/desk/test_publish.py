"""Approving, publishing and withdrawing, and what readers find."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from panel import files
from panel.desk import DeskStore, publish
from panel.desk.reading import run
from panel.desk.types import Blocked, FieldError, Forbidden, Stale, WrongState
from panel.errors import SetupError
from panel.records import Comparison
from tests.desk.state import (
    ANN,
    BEA,
    ITEM,
    PLAIN,
    PRIMITIVE,
    approve,
    clock,
    example_data,
    put,
    redrafted,
    review_of,
    revision,
)
from tests.desk.state import publish as published
from tests.html_page import Page


def test_approving_is_for_approvers_and_for_what_nothing_stands_against(store: DeskStore) -> None:
    with pytest.raises(Forbidden, match="Ann is an editor"):
        store.approve(ITEM, revision=0, user=ANN)
    store.save(ITEM, PRIMITIVE, "The primitive is clear: Zurich.", revision=0, user=ANN)
    with pytest.raises(Blocked) as refused:
        store.approve(ITEM, revision=1, user=BEA)
    assert {b.target for b in refused.value.blockers} == {PRIMITIVE}
    store.undo(ITEM, revision=1, user=ANN)
    assert store.approve(ITEM, revision=2, user=BEA).state == "approved"
    with pytest.raises(WrongState):
        store.approve(ITEM, revision=3, user=BEA)


def test_only_what_is_approved_is_published(store: DeskStore) -> None:
    with pytest.raises(WrongState, match="is draft"):
        store.publish(ITEM, revision=0, user=BEA)
    approve(store)
    with pytest.raises(Forbidden):
        store.publish(ITEM, revision=1, user=ANN)
    with pytest.raises(Stale):
        store.publish(ITEM, revision=0, user=BEA)
    assert not store.site.exists()
    done = store.publish(ITEM, revision=1, user=BEA)
    assert sorted(done.files) == ["comparison.json", "comparison.md", "index.html"]
    row = store.item(ITEM).row
    assert (row.state, row.live, row.revision) == ("published", True, done.revision)


def test_publishing_again_gives_the_same_bytes(store: DeskStore, outputs: Path) -> None:
    approve(store)
    first = published(store)
    assert published(store) == first
    with closing(DeskStore(outputs, clock=lambda: "2031-01-01T00:00:00+00:00")) as later:
        assert published(later) == first
    # and elsewhere, from the same decisions
    with closing(DeskStore(outputs, site=outputs / "elsewhere")) as other:
        other.publish(ITEM, revision=revision(other), user=BEA)
        assert {p.name: p.read_bytes() for p in (outputs / "elsewhere" / ITEM).iterdir()} == first


def changed(store: DeskStore) -> None:
    """One edit, one verdict overruled, one fact confirmed, one sentence of another draft, one flag waived."""
    store.save(ITEM, PRIMITIVE, "The primitive is clear: 901 agents write Python.", revision=0, user=ANN)
    store.confirm(ITEM, "smolagents-2", "There are 901 agents.", "https://example.org/901", "adoption", revision=1,
                  user=ANN, target=PRIMITIVE)  # fmt: skip
    store.overrule(ITEM, "smolagents-2", "futurist", "skip", "Too <b>early</b>.", revision=2, user=ANN)
    old = review_of(store.item(ITEM), "mistral-3b", "builder")
    new = redrafted(old, primitive=old.beats[0].text.replace(".", ", says another draft."))
    offer = store.offer(ITEM, new, "mistral-3b", user=ANN)
    store.accept(ITEM, offer.id, revision=3, user=ANN, beats=["primitive"])
    for blocker in store.item(ITEM).open_blockers:
        store.waive(ITEM, blocker.key, "Looked at.", revision=revision(store), user=ANN)
    approve(store)


def test_the_record_says_who_answers_and_what_a_person_changed(store: DeskStore) -> None:
    changed(store)
    record = Comparison.model_validate_json(published(store)["comparison.json"])
    told: dict[str, Any] = (record.model_extra or {})["editorial"]
    assert (told["accountable"], told["edited_by"], told["drafted_by"]) == ("Bea", ["Ann"], ["embedded"])
    assert told["approved"].startswith("2026-03-05")
    by_target = {change["target"]: change for change in told["changes"]}
    assert set(by_target) == {PRIMITIVE, "mistral-3b/builder/primitive"}
    assert by_target[PRIMITIVE]["final"] == "The primitive is clear: 901 agents write Python."
    assert by_target[PRIMITIVE]["machine"] == store.item(ITEM).draft.tools[0].reviews[0].beats[0].text
    assert [by_target[t]["regenerated"] for t in sorted(by_target)] == [True, False]
    assert [(o["target"], o["machine"], o["decision"]) for o in told["overruled"]] == [
        ("smolagents-2/futurist", "ship", "skip")
    ]
    assert told["confirmed"] == [{"tool": "smolagents-2", "evidence": "E14", "by": "Ann"}]
    assert {waived["reason"] for waived in told["waived"]} <= {"Looked at."}
    assert record.tools[0].panel.percent == 75
    assert record.tools[0].evidence[-1].text == "There are 901 agents."
    assert record.tools[0].reviews[0].beats[0].text.endswith("901 agents write Python.")


def test_the_page_says_so_too(store: DeskStore) -> None:
    changed(store)
    pages = published(store)
    page, text = Page(pages["index.html"].decode()), pages["comparison.md"].decode()
    for shown in (" ".join(page.visible.split()), text):
        assert "Bea approved this page" in shown.replace("*", "")
        assert "AI draft, edited by Ann" in shown
        assert "editor’s verdict" in shown or "editor's verdict" in shown
        assert "The reviewer said ship." in shown
        assert "E14 of SmolAgents 2.0, by Ann" in shown
        assert "taken from another draft by" in shown
        assert "Check it before you publish it" not in shown
    assert "Too <b>early</b>." in page.visible
    assert "<b>" not in text
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "b", "img"})


def test_a_page_that_nobody_changed_says_that(store: DeskStore) -> None:
    approve(store)
    text = published(store)["comparison.md"].decode()
    assert "No person changed a word or a verdict." in text
    assert "edited by" not in text


def test_withdrawing_leaves_a_tombstone(store: DeskStore) -> None:
    with pytest.raises(WrongState):
        store.withdraw(ITEM, "x", revision=0, user=BEA)
    approve(store)
    published(store)
    with pytest.raises(FieldError):
        store.withdraw(ITEM, " ", revision=revision(store), user=BEA)
    with pytest.raises(Forbidden):
        store.withdraw(ITEM, "x", revision=revision(store), user=ANN)
    done = store.withdraw(ITEM, "Wrong <i>price</i>.", revision=revision(store), user=BEA)
    folder = Path(done.folder)
    assert sorted(path.name for path in folder.iterdir()) == ["comparison.json", "comparison.md", "index.html"]
    page = Page((folder / "index.html").read_text())
    shown = " ".join(page.visible.split())
    assert "This page was withdrawn on 5 March 2026." in shown
    assert "Wrong <i>price</i>." in page.visible
    assert "WebAssembly sandbox" not in shown
    assert json.loads((folder / "comparison.json").read_text())["schema"] == "tombstone/1"
    assert "WebAssembly sandbox" not in (folder / "comparison.md").read_text()
    row = store.item(ITEM).row
    assert (row.state, row.live) == ("withdrawn", False)
    # and it may come back
    store.reopen(ITEM, revision=row.revision, user=ANN)
    approve(store)
    assert b"withdrawn" not in published(store)["index.html"]


def test_a_published_page_stays_while_the_item_is_worked_on(store: DeskStore) -> None:
    approve(store)
    first = published(store)
    store.reopen(ITEM, revision=revision(store), user=ANN)
    store.save(ITEM, PRIMITIVE, PLAIN, revision=revision(store), user=ANN)
    row = store.item(ITEM).row
    assert (row.state, row.live) == ("in review", True)
    assert (store.site / ITEM / "index.html").read_bytes() == first["index.html"]
    approve(store)
    assert published(store) != first


def test_what_a_killed_process_began_is_ended_by_the_next(store: DeskStore, outputs: Path) -> None:
    approve(store)
    item = store.item(ITEM)
    with store._context.database.write() as connection:  # as `publish` leaves it before it touches the folder
        run(
            connection, "INSERT INTO intents VALUES (:item, 'publish', '', 'Bea', '2026-03-05T10:00:00+00:00')",
            item=item.row.id,
        )  # fmt: skip
    with pytest.raises(WrongState, match="being published"):
        store.reopen(ITEM, revision=item.row.revision, user=ANN)
    store.site.mkdir()
    left = store.site / ".0123456789abcdef.tmp"
    left.mkdir()
    (left / "index.html").write_text("<!DOCTYPE html> half a pa")
    (store.site / ".htaccess").write_text("not ours")
    with closing(DeskStore(outputs, clock=clock())) as next_:
        row = next_.item(ITEM).row
        assert (row.state, row.live) == ("published", True)
        assert next_.history(ITEM)[0].by == "Bea"
    assert sorted(path.name for path in store.site.iterdir()) == [".htaccess", ".lock", ITEM]
    assert (store.site / ITEM / "index.html").read_text().endswith("</html>\n")


def test_a_folder_that_cannot_be_written_leaves_the_item_approved(
    store: DeskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(store)

    def full(*_: Any) -> None:
        raise SetupError("cannot be written: No space left on device", fix="make space")

    monkeypatch.setattr(publish, "replace_folder", full)
    with pytest.raises(SetupError, match="No space"):
        store.publish(ITEM, revision=1, user=BEA)
    monkeypatch.undo()
    assert store.item(ITEM).row.state == "approved"
    assert published(store)


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool) -> None:
    if not exchanges:  # a system that cannot
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    folder = tmp_path / "site" / "page"
    files.replace_folder(folder, {"a": "1", "b": "1"})
    files.replace_folder(folder, {"a": "2", "c": "2"})
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "2", "c": "2"}
    assert [path.name for path in folder.parent.iterdir()] == ["page"]
    monkeypatch.setattr(files.os, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    with pytest.raises(SetupError, match="Permission denied"):
        files.replace_folder(folder, {"a": "3"})
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "2", "c": "2"}
    assert [path.name for path in folder.parent.iterdir()] == ["page"]


def test_a_reader_never_finds_half_a_folder(tmp_path: Path) -> None:
    """Where the system can exchange folders there is no moment without the name either."""
    folder = tmp_path / "page"
    files.replace_folder(folder, {"a": "0" * 50_000})
    missing: list[str] = []
    halves: list[str] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            if not folder.exists():
                missing.append("the folder was gone")
            try:
                text = (folder / "a").read_text()
            except FileNotFoundError:
                continue  # opened the old folder, which was then swept away
            if len(text) != 50_000 or len(set(text)) != 1:
                halves.append(text[:20])

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        files.replace_folder(folder, {"a": str(number % 10) * 50_000})
    ended.set()
    reader.join()
    assert halves == []
    assert missing == []


def test_hostile_text_is_published_as_text(tmp_path: Path) -> None:
    data = example_data()
    evil = "</style><script>alert(1)</script> {{ 7*7 }} [x](javascript:alert(1)) <img src=x onerror=alert(1)>"
    data["tools"][0]["tagline"] = evil
    put(tmp_path, data, "evil")
    with closing(DeskStore(tmp_path)) as store:
        store.sync()
        store.overrule("evil", "smolagents-2", "builder", "skip", evil, revision=0, user=ANN)
        store.save("evil", "pick", f"The pick {evil}", revision=1, user=ANN)
        for blocker in store.item("evil").open_blockers:
            if blocker.waivable:
                store.waive("evil", blocker.key, evil, revision=revision(store, "evil"), user=ANN)
        assert [b.kind for b in store.item("evil").open_blockers] == []
        approve(store, "evil")
        pages = published(store, "evil")
        page = Page(pages["index.html"].decode())
        assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img"})
        assert len(page.all("style")) == 1
        assert "{{ 7*7 }}" in page.visible
        assert b"<script" not in pages["comparison.md"]
        done = store.withdraw("evil", evil, revision=revision(store, "evil"), user=BEA)
        tomb = Page((Path(done.folder) / "index.html").read_text())
        assert {tag for tag, _ in tomb.tags}.isdisjoint({"script", "img"})
