"""Changing one item in one transaction: who may, on which revision, and what can be undone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from panel.desk.blockers import blockers_of
from panel.desk.document import Document, Mark, final_record, texts
from panel.desk.figures import refresh
from panel.desk.reading import Context, head, load, record_event, rows, run
from panel.desk.types import Blocker, Change, Checked, Forbidden, Saved, Stale, State, Text, User, WrongState
from panel.records import Comparison

EDITABLE: tuple[State, ...] = ("draft", "in review")


@dataclass
class Work:
    """One item inside a transaction. What is `put` becomes a step that can be undone."""

    context: Context
    connection: Connection
    item: dict[str, Any]
    document: Document
    user: User
    changes: list[tuple[str, Mark | None, Mark | None]] = field(default_factory=list)

    def put(self, key: str, value: dict[str, Any] | None) -> None:
        """Set the mark `key`, or take it away."""
        mark = Mark(value, self.user.name, self.context.clock()) if value is not None else None
        before = self.document.marks.get(key)
        if (mark and mark.value) != (before and before.value):
            self.changes.append((key, before, mark))
            self.write(key, mark)

    def write(self, key: str, mark: Mark | None) -> None:
        marks = {name: old for name, old in self.document.marks.items() if name != key}
        if mark is None:
            run(self.connection, "DELETE FROM marks WHERE item = :item AND key = :key", item=self.item["id"], key=key)
        else:
            marks[key] = mark
            run(
                self.connection,
                "INSERT OR REPLACE INTO marks VALUES (:item, :key, :value, :by, :at)",
                item=self.item["id"], key=key, value=json.dumps(mark.value, ensure_ascii=False), by=mark.by,
                at=mark.at,
            )  # fmt: skip
        self.reload(marks)

    def reload(self, marks: Mapping[str, Mark] | None = None) -> None:
        if marks is None or any(key.startswith(("dossier:", "use:")) for key in {*marks, *self.document.marks}):
            self.document = load(self.context, self.connection, self.item)
        else:
            self.document = replace(self.document, marks=marks)

    def finish(self, action: str, target: str, *, same_step: bool = False, **detail: Any) -> Saved:
        """Store the step, the next revision, the queue's figures and the history's line."""
        connection, item = self.connection, self.item
        if self.changes:
            run(connection, "DELETE FROM steps WHERE item = :item AND undone > 0", item=item["id"])
            self._store_step(target, same_step=same_step)
        if item["state"] == "draft":
            item["state"] = "in review"
        item["revision"] += 1
        record_event(
            self.context, connection, self.user.name, action,
            item=item["id"], revision=item["revision"], target=target, **detail,
        )  # fmt: skip
        return self.acknowledge(target)

    def _store_step(self, target: str, *, same_step: bool) -> None:
        last = rows(
            self.connection, "SELECT * FROM steps WHERE item = :item ORDER BY id DESC LIMIT 1", item=self.item["id"]
        )
        changes = [(key, as_json(before), as_json(after)) for key, before, after in self.changes]
        joined = last and same_step and (last[0]["by"], last[0]["target"]) == (self.user.name, target)
        if joined:
            first = {key: before for key, before, _ in json.loads(last[0]["changes"])}
            if set(first) == {key for key, _, _ in changes}:
                merged = [(key, first[key], after) for key, _, after in changes]
                run(
                    self.connection, "UPDATE steps SET changes = :changes WHERE id = :id",
                    changes=json.dumps(merged, ensure_ascii=False), id=last[0]["id"],
                )  # fmt: skip
                return
        run(
            self.connection,
            "INSERT INTO steps (item, by, target, changes) VALUES (:item, :by, :target, :changes)",
            item=self.item["id"], by=self.user.name, target=target, changes=json.dumps(changes, ensure_ascii=False),
        )  # fmt: skip

    def acknowledge(self, target: str, *, changed: bool = True) -> Saved:
        """Say what stands there now; after a change, write the item's row too."""
        final, known, blockers = view_of(self.context, self.document)
        if changed:
            edited = bool(self.document.marks)
            refresh(self.context, self.connection, self.item, final, blockers, edited=edited)
        found = known.get(target)
        undo, redo = steps_left(self.connection, self.item["id"])
        return Saved(
            self.item["revision"], self.item["state"], target,
            found.current if found else "", found.cites if found else (),
            found.checked if found else Checked((), ()),
            sum(blocker.waiver is None for blocker in blockers), undo, redo,
        )  # fmt: skip


def as_json(mark: Mark | None) -> list[Any] | None:
    return None if mark is None else [mark.value, mark.by, mark.at]


def view_of(context: Context, document: Document) -> tuple[Comparison, dict[str, Text], tuple[Blocker, ...]]:
    final = final_record(document)
    known = texts(document, context.checker, final)
    return final, known, blockers_of(document, context.checker, final, known)


def steps_left(connection: Connection, item: int) -> tuple[bool, bool]:
    """Whether there is something to undo, and to redo."""
    (row,) = rows(
        connection,
        "SELECT EXISTS (SELECT 1 FROM steps WHERE item = :item AND undone = 0) AS undo, "
        "EXISTS (SELECT 1 FROM steps WHERE item = :item AND undone > 0) AS redo",
        item=item,
    )
    return bool(row["undo"]), bool(row["redo"])


@contextmanager
def changing(
    context: Context,
    slug: str,
    user: User,
    revision: int | None,
    states: tuple[State, ...] = EDITABLE,
    *,
    verb: str = "changed",
    approver: bool = False,
) -> Iterator[Work]:
    """A transaction on one item, after all that may forbid it.

    Raises:
        NotFound, Forbidden, WrongState, Stale.
    """
    if approver and user.role != "approver":
        raise Forbidden(f"only an approver may do that, and {user.name} is an editor")
    with context.database.write() as connection:
        item = dict(head(connection, slug))
        if not approver and item["owner"] not in (None, user.name):
            raise Forbidden(f"{item['owner']} is working on this item; take it over first")
        if revision is not None and revision != item["revision"]:
            raise stale(connection, item, revision)
        if rows(connection, "SELECT 1 FROM intents WHERE item = :item", item=item["id"]):
            raise WrongState("the item is being published or withdrawn at this moment; try again")
        if item["state"] not in states:
            raise WrongState(f"the item is {item['state']}, and can only be {verb} while it is {' or '.join(states)}")
        yield Work(context, connection, item, load(context, connection, item), user)


def stale(connection: Connection, item: Mapping[str, Any], revision: int) -> Stale:
    found = rows(
        connection,
        "SELECT at, by, action, target, detail FROM history WHERE item = :item AND revision > :revision "
        "ORDER BY id DESC LIMIT 20",
        item=item["id"], revision=revision,
    )  # fmt: skip
    changes = tuple(
        Change(row["at"], row["by"], row["action"], row["target"], str(json.loads(row["detail"]).get("now", "")))
        for row in reversed(found)
    )
    return Stale(item["revision"], changes)
