"""Saving, undoing, and two people at one item."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from panel.desk import DeskStore
from panel.desk.types import FieldError, Forbidden, NotFound, Piece, Stale, WrongState
from panel.records import Comparison
from tests.desk.state import ANN, BEA, CAL, EXAMPLE, ITEM, PLAIN, PRIMITIVE, approve, review_of, revision

QUOTE = "smolagents-2/builder/quote"


def test_an_edit_stands_beside_the_draft(store: DeskStore, outputs: Path) -> None:
    draft = store.item(ITEM).texts[PRIMITIVE].draft
    saved = store.save(ITEM, PRIMITIVE, f"  {PLAIN}\n", revision=0, user=ANN)
    assert (saved.revision, saved.state, saved.text, saved.open_blockers) == (1, "in review", PLAIN, 0)
    item = store.item(ITEM)
    text = item.texts[PRIMITIVE]
    assert (text.draft, text.current, text.by, text.edited) == (draft, PLAIN, "Ann", True)
    assert review_of(item, "smolagents-2", "builder").quote.startswith(PLAIN)  # the quote follows its beats
    assert review_of(item, "smolagents-2", "builder", machine=True).quote.startswith(draft)
    assert item.draft == Comparison.model_validate_json(EXAMPLE.read_bytes())
    assert (outputs / ITEM / "comparison.json").read_bytes() == EXAMPLE.read_bytes()


def test_an_empty_text_puts_the_draft_back(store: DeskStore) -> None:
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    saved = store.save(ITEM, PRIMITIVE, "", revision=1, user=ANN)
    text = store.item(ITEM).texts[PRIMITIVE]
    assert saved.text == text.draft == text.current
    assert text.by is None
    assert not store.item(ITEM).row.edited


def test_the_whole_quote_may_be_rewritten(store: DeskStore) -> None:
    words = "What counts is the sandbox, and the licence."
    store.save(ITEM, QUOTE, words, revision=0, user=ANN)
    saved = store.save(ITEM, PRIMITIVE, PLAIN, revision=1, user=ANN)
    review = review_of(store.item(ITEM), "smolagents-2", "builder")
    assert review.quote == words  # it has left its beats
    assert review.beats[0].text == PLAIN
    store.save(ITEM, QUOTE, "", revision=saved.revision, user=ANN)
    assert review_of(store.item(ITEM), "smolagents-2", "builder").quote.startswith(PLAIN)


def test_pick_and_pricing_may_be_rewritten(store: DeskStore) -> None:
    store.save(ITEM, "pick", "Mistral 3B, for its licence.", revision=0, user=ANN)
    saved = store.save(ITEM, "pricing", "Both are free to start with.", revision=1, user=ANN)
    record = store.item(ITEM).record
    assert (record.pick.why, record.pricing_read) == ("Mistral 3B, for its licence.", "Both are free to start with.")
    assert saved.open_blockers == 0
    saved = store.save(ITEM, "pick", "Mistral 3B, which Zurich uses.", revision=2, user=ANN)
    assert [span.text for span in saved.checked.spans] == ["Zurich"]
    assert saved.open_blockers == 1


def test_a_second_editor_is_told_and_nothing_is_overwritten(store: DeskStore) -> None:
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    with pytest.raises(Stale) as told:
        store.save(ITEM, PRIMITIVE, "The primitive is clear: I know better.", revision=0, user=CAL)
    (change,) = told.value.changes
    assert (change.by, change.action, change.target, change.text) == ("Ann", "edit", PRIMITIVE, PLAIN)
    assert told.value.revision == 1
    assert "Ann has changed" in str(told.value)
    assert store.item(ITEM).texts[PRIMITIVE].current == PLAIN
    assert revision(store) == 1
    # every other change is held to the same
    for act in (
        lambda: store.overrule(ITEM, "smolagents-2", "builder", "skip", "no", revision=0, user=CAL),
        lambda: store.undo(ITEM, revision=0, user=ANN),
        lambda: store.approve(ITEM, revision=0, user=BEA),
        lambda: store.confirm(ITEM, "smolagents-2", "A fact.", "x", "docs", revision=0, user=CAL),
    ):
        with pytest.raises(Stale):
            act()
    assert revision(store) == 1


def test_sending_twice_is_no_conflict(store: DeskStore) -> None:
    """A client whose acknowledgement was lost sends again."""
    first = store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    again = store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    assert again == first
    assert [event.action for event in store.history(ITEM)] == ["edit", "found"]


def test_many_editors_at_once_lose_nothing(store: DeskStore) -> None:
    """Each tries again when told; all edits are in the history, each on the text that it was based on."""
    done: list[str] = []

    def work(name: str, target: str) -> None:
        for number in range(5):
            text = f"The primitive is clear: {name * (number + 2)} runs inside a sandbox."
            while True:
                try:
                    store.save(ITEM, target, text, revision=revision(store), user=ANN)
                except Stale:
                    continue
                done.append(text)
                break

    names = [name for name in store.item(ITEM).texts if name.count("/") == 2 and not name.endswith("quote")]
    threads = [threading.Thread(target=work, args=(letter, names[n // 2])) for n, letter in enumerate("abcdef")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [event for event in store.history(ITEM) if event.action == "edit"]
    assert sorted(str(event.detail["now"]) for event in events) == sorted(done)
    assert len(done) == revision(store) == 30
    for target in names[:3]:
        line = [event for event in reversed(events) if event.target == target]
        assert [e.detail["before"] for e in line[1:]] == [e.detail["now"] for e in line[:-1]]
        assert store.item(ITEM).texts[target].current == line[-1].detail["now"]


def test_undo_and_redo_go_through_every_step(store: DeskStore) -> None:
    draft = store.item(ITEM).texts[PRIMITIVE].draft
    store.save(ITEM, PRIMITIVE, "The primitive is clear: one.", revision=0, user=ANN)
    store.save(ITEM, PRIMITIVE, PLAIN, revision=1, user=ANN)
    store.overrule(ITEM, "smolagents-2", "builder", "skip", "Too young.", revision=2, user=ANN)

    def now() -> tuple[str, str | None]:
        item = store.item(ITEM)
        return item.texts[PRIMITIVE].current, review_of(item, "smolagents-2", "builder").decision

    seen = [now()]
    for _ in range(3):
        saved = store.undo(ITEM, revision=revision(store), user=ANN)
        seen.append(now())
    assert [text for text, _ in seen] == [PLAIN, PLAIN, "The primitive is clear: one.", draft]
    assert [decision for _, decision in seen] == ["skip", "ship", "ship", "ship"]
    assert (saved.can_undo, saved.can_redo) == (False, True)
    with pytest.raises(WrongState, match="nothing to undo"):
        store.undo(ITEM, revision=revision(store), user=ANN)
    again = [now()]
    for _ in range(3):
        store.redo(ITEM, revision=revision(store), user=ANN)
        again.append(now())
    assert again == seen[::-1]
    with pytest.raises(WrongState, match="nothing to redo"):
        store.redo(ITEM, revision=revision(store), user=ANN)


def test_what_is_done_after_an_undo_takes_the_place_of_what_was_undone(store: DeskStore) -> None:
    store.save(ITEM, PRIMITIVE, "The primitive is clear: one.", revision=0, user=ANN)
    store.undo(ITEM, revision=1, user=ANN)
    store.save(ITEM, PRIMITIVE, PLAIN, revision=2, user=ANN)
    item = store.item(ITEM)
    assert (item.can_undo, item.can_redo) == (True, False)
    # and the history has it all
    assert [event.action for event in store.history(ITEM)] == ["edit", "undo", "edit", "found"]


def test_keystrokes_may_be_one_step(store: DeskStore) -> None:
    draft = store.item(ITEM).texts[PRIMITIVE].draft
    for number, text in enumerate(("The p.", "The primitive.", PLAIN)):
        store.save(ITEM, PRIMITIVE, text, revision=number, user=ANN, same_step=number > 0)
    other = "smolagents-2/builder/dx-bet"
    store.save(ITEM, other, "Working with it stays pleasant, since little is needed.", revision=3, user=ANN,
               same_step=True)  # fmt: skip
    store.undo(ITEM, revision=4, user=ANN)
    assert store.item(ITEM).texts[PRIMITIVE].current == PLAIN
    store.undo(ITEM, revision=5, user=ANN)
    assert store.item(ITEM).texts[PRIMITIVE].current == draft


def test_nobody_undoes_what_somebody_else_did(store: DeskStore) -> None:
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    with pytest.raises(Forbidden, match="Ann's"):
        store.undo(ITEM, revision=1, user=CAL)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x" * 1_001, "longer than 1000"),
        ("y" * (1 << 20), "longer than 1000"),
        ("ship \u202epihs", "unprintable character U\\+202E"),
        ("a\x1b[31mb", "unprintable character U\\+001B"),
        ("half \ud800", "unprintable character U\\+D800"),
        ("a\x00b", "unprintable character U\\+0000"),
    ],
)
def test_text_that_cannot_be_shown_is_refused(store: DeskStore, text: str, says: str) -> None:
    with pytest.raises(FieldError, match=says) as refused:
        store.save(ITEM, PRIMITIVE, text, revision=0, user=ANN)
    assert len(str(refused.value)) < 300
    assert revision(store) == 0


def test_hostile_words_are_kept_as_words(store: DeskStore) -> None:
    words = "The primitive is clear: <script>alert(1)</script> {{ 7*7 }} '; DROP TABLE items; --."
    store.save(ITEM, PRIMITIVE, words, revision=0, user=ANN)
    assert store.item(ITEM).texts[PRIMITIVE].current == words
    assert store.queue().total == 1


@pytest.mark.parametrize(
    "target",
    ["", "pick/", "smolagents-2", "smolagents-2/builder", "smolagents-2/builder/", "smolagents-2/builder/thesis",
     "nobody/builder/primitive", "../../etc/passwd", "smolagents-2/builder/primitive/x", "\u202e" * 300],
)  # fmt: skip
def test_there_is_no_such_text(store: DeskStore, target: str) -> None:
    with pytest.raises(NotFound) as refused:
        store.save(ITEM, target, "x", revision=0, user=ANN)
    assert "\u202e" not in str(refused.value)
    assert len(str(refused.value)) < 300
    with pytest.raises(NotFound):
        store.check(ITEM, target, "x")


@pytest.mark.parametrize("slug", ["", "nothing", "../example", "example/../example", "EXAMPLE", "example\x00", "%"])
def test_there_is_no_such_item(store: DeskStore, slug: str) -> None:
    for act in (
        lambda: store.item(slug),
        lambda: store.save(slug, PRIMITIVE, "x", revision=0, user=ANN),
        lambda: store.publish(slug, revision=0, user=BEA),
        lambda: store.history(slug),
        lambda: store.claim(slug, ANN),
    ):
        with pytest.raises(NotFound):
            act()


def test_a_beat_cites_what_the_dossier_has(store: DeskStore) -> None:
    saved = store.save(ITEM, PRIMITIVE, "", revision=0, user=ANN, cites=["E1", "E2", "E1"])
    assert saved.cites == ("E1", "E2")
    assert store.item(ITEM).record.tools[0].reviews[0].beats[0].cites == ("E1", "E2")
    for cites in (["E99"], ["javascript:alert(1)"], [""]):
        with pytest.raises(FieldError, match="no evidence of smolagents-2"):
            store.save(ITEM, PRIMITIVE, PLAIN, revision=1, user=ANN, cites=cites)
    with pytest.raises(FieldError, match="only a beat cites"):
        store.save(ITEM, "pick", "x", revision=1, user=ANN, cites=["E1"])


def test_an_approved_item_is_not_edited(store: DeskStore) -> None:
    approve(store)
    for act in (
        lambda: store.save(ITEM, PRIMITIVE, PLAIN, revision=revision(store), user=ANN),
        lambda: store.overrule(ITEM, "smolagents-2", "builder", "skip", "x", revision=revision(store), user=ANN),
        lambda: store.undo(ITEM, revision=revision(store), user=ANN),
    ):
        with pytest.raises(WrongState, match="approved"):
            act()
    saved = store.reopen(ITEM, revision=revision(store), user=ANN)
    assert saved.state == "in review"
    store.save(ITEM, PRIMITIVE, PLAIN, revision=saved.revision, user=ANN)


def test_a_claimed_item_is_its_owners(store: DeskStore) -> None:
    assert store.claim(ITEM, ANN).row.owner == "Ann"
    with pytest.raises(Forbidden, match="Ann is working on this item"):
        store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=CAL)
    with pytest.raises(Forbidden, match="Ann"):
        store.claim(ITEM, CAL)
    with pytest.raises(Forbidden):
        store.release(ITEM, CAL)
    assert store.claim(ITEM, CAL, take_over=True).row.owner == "Cal"
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=CAL)
    with pytest.raises(Forbidden, match="Cal"):
        store.save(ITEM, PRIMITIVE, "x", revision=1, user=ANN)
    store.release(ITEM, BEA)  # an approver may
    assert store.item(ITEM).row.owner is None
    assert [e.action for e in store.history(ITEM)] == ["release", "edit", "take over", "claim", "found"]


def test_the_difference_is_by_words(store: DeskStore) -> None:
    draft = store.item(ITEM).texts[PRIMITIVE].draft
    assert store.difference(ITEM, PRIMITIVE) == (Piece("same", draft),)
    store.save(ITEM, PRIMITIVE, draft.replace("isolated from", "kept apart from"), revision=0, user=ANN)
    pieces = store.difference(ITEM, PRIMITIVE)
    assert [(piece.op, piece.text) for piece in pieces if piece.op != "same"] == [
        ("gone", "isolated "),
        ("new", "kept apart "),
    ]
    assert "".join(piece.text for piece in pieces if piece.op != "new") == draft
    with pytest.raises(NotFound):
        store.difference(ITEM, "nothing")


def test_the_history_says_who_when_what(store: DeskStore) -> None:
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    store.overrule(ITEM, "smolagents-2", "builder", "skip", "Too young.", revision=1, user=CAL)
    newest, edit, found = store.history(ITEM)
    assert (newest.by, newest.action, newest.target) == ("Cal", "overrule", "smolagents-2/builder")
    assert newest.detail["reason"] == "Too young."
    assert (edit.by, edit.item, edit.detail["now"]) == ("Ann", ITEM, PLAIN)
    assert found.at < edit.at < newest.at
    assert store.history(ITEM, limit=1) == (newest,)
    assert store.history(ITEM, before=edit.id) == (found,)
    assert json.dumps([event.detail for event in store.history()])
