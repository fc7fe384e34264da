"""Whose an item is, and whether it may be published: claim, release, approve, reopen; and the whole of one item."""

from __future__ import annotations

import json
from typing import Any

from panel.desk.document import Document, overruled
from panel.desk.queue import as_rows
from panel.desk.reading import Context, head, load, record_event, rows, run
from panel.desk.types import STATES, Blocked, Event, Forbidden, Item, Saved, User
from panel.desk.work import changing, steps_left, view_of

_MOST_EVENTS = 500


def item_of(context: Context, slug: str) -> Item:
    with context.database.read() as connection:
        row = head(connection, slug)
        document = load(context, connection, row)
        (shown,) = as_rows(connection, [row])
        undo, redo = steps_left(connection, row["id"])
    final, known, blockers = view_of(context, document)
    return Item(
        row=shown, draft=document.base, record=final, texts=known, overruled=overruled(document),
        offers=dict(document.offers), blockers=blockers, dossiers=dict(document.dossiers), can_undo=undo, can_redo=redo,
    )  # fmt: skip


def document_of(context: Context, slug: str) -> Document:
    with context.database.read() as connection:
        return load(context, connection, head(connection, slug))


def history(context: Context, slug: str | None, limit: int, before: int | None) -> tuple[Event, ...]:
    clauses, values = [], {"limit": max(1, min(limit, _MOST_EVENTS))}
    with context.database.read() as connection:
        if slug is not None:
            clauses.append("item = :item")
            values["item"] = head(connection, slug)["id"]
        if before is not None:
            clauses.append("history.id < :before")
            values["before"] = before
        where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
        found = rows(
            connection,
            "SELECT history.*, coalesce(slug, '') AS slug FROM history LEFT JOIN items ON items.id = item "  # noqa: S608
            f"{where} ORDER BY history.id DESC LIMIT :limit",
            **values,
        )
    return tuple(
        Event(row["id"], row["at"], row["by"], row["slug"], row["action"], row["target"], json.loads(row["detail"]))
        for row in found
    )


def claim(context: Context, slug: str, user: User, *, take_over: bool) -> None:
    with context.database.write() as connection:
        item = head(connection, slug)
        owner = item["owner"]
        if owner == user.name:
            return
        if owner is not None and not take_over:
            raise Forbidden(f"{owner} is working on this item")
        run(connection, "UPDATE items SET owner = :owner WHERE id = :id", owner=user.name, id=item["id"])
        note: dict[str, Any] = {"from": owner} if owner is not None else {}
        record_event(
            context, connection, user.name, "take over" if owner is not None else "claim", item=item["id"],
            revision=item["revision"], **note,
        )  # fmt: skip


def release(context: Context, slug: str, user: User) -> None:
    with context.database.write() as connection:
        item = head(connection, slug)
        if item["owner"] is None:
            return
        if item["owner"] != user.name and user.role != "approver":
            raise Forbidden(f"{item['owner']} is working on this item")
        run(connection, "UPDATE items SET owner = NULL WHERE id = :id", id=item["id"])
        record_event(context, connection, user.name, "release", item=item["id"], revision=item["revision"])


def approve(context: Context, slug: str, *, revision: int, user: User) -> Saved:
    with changing(context, slug, user, revision, verb="approved", approver=True) as work:
        blockers = view_of(context, work.document)[2]
        standing = tuple(blocker for blocker in blockers if blocker.waiver is None)
        if standing:
            raise Blocked(standing)
        work.item |= {"state": "approved", "approved_by": user.name, "approved_at": context.clock()}
        return work.finish("approve", "", now="approved")


def reopen(context: Context, slug: str, *, revision: int, user: User) -> Saved:
    states = tuple(state for state in STATES if state not in ("draft", "in review"))
    with changing(context, slug, user, revision, states, verb="reopened") as work:
        was, work.item["state"] = work.item["state"], "in review"
        return work.finish("reopen", "", was=was, now="in review")
