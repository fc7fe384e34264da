"""Putting an approved item where readers see it, and taking it away.

What is published follows from the approval alone: the same approval gives the same bytes. Before the folder is
touched, the intent is committed to the file; a process that is killed on the way is ended by the next one that opens
it, so that the state and the folder never disagree for good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Connection

from panel.desk.document import Document, final_record, machine_reviews, overruled, review_target
from panel.desk.edits import line
from panel.desk.figures import refresh
from panel.desk.reading import Context, load, record_event, rows, run
from panel.desk.types import MAX_REASON, Blocker, Published, User, WrongState
from panel.desk.work import changing, view_of
from panel.errors import SetupError
from panel.files import clean_up, replace_folder
from panel.records import Comparison
from panel.render import to_html, to_json, to_markdown, tombstone

_WAIT = 60.0  # seconds for another process that is publishing


def published_record(document: Document, item: Mapping[str, Any], blockers: Sequence[Blocker]) -> Comparison:
    """What readers get: the final record, with who answers for it and what a person changed.

    The fields beyond comparison/1 stand in `editorial`: `accountable` and `approved` (who, when), `edited_by`,
    `drafted_by` (models), `changes` (target, by, at, machine, final), `overruled`, `waived`, `confirmed`.
    """
    final = final_record(document)
    machine = {review_target(t.slug, r.persona): r for t, r in machine_reviews(document)}
    changes = []
    for key, mark in sorted(document.marks.items()):
        kind, _, target = key.partition(":")
        if kind == "text":
            changes.append(
                {
                    "target": target, "by": mark.by, "at": mark.at, "final": mark.value["text"],
                    "machine": _drafted(document, machine, target), "regenerated": "offer" in mark.value,
                }
            )  # fmt: skip
    confirmed = []
    for tool in document.base.tools:
        version, known = document.dossiers.get(tool.slug), {item.id for item in tool.evidence}
        if version is not None and f"dossier:{tool.slug}" in document.marks:
            confirmed += [
                {"tool": tool.slug, "evidence": e.id, "by": document.marks[f"dossier:{tool.slug}"].by}
                for e in version.dossier.evidence
                if e.id not in known
            ]
    editorial = {
        "accountable": item["approved_by"],
        "approved": item["approved_at"],
        "edited_by": sorted({mark.by for mark in document.marks.values()}),
        "drafted_by": sorted({review.provenance.model for review in machine.values()}),
        "record_sha256": item["record"],
        "changes": changes,
        "overruled": [vars(each) for _, each in sorted(overruled(document).items())],
        "waived": [
            {"target": b.target, "flag": b.message, "by": b.waiver.by, "reason": b.waiver.reason}
            for b in blockers
            if b.waiver is not None
        ],
        "confirmed": confirmed,
    }
    return final.model_copy(update={"editorial": editorial})


def _drafted(document: Document, machine: Any, target: str) -> str:
    if target in ("pick", "pricing"):
        return document.base.pick.why if target == "pick" else document.base.pricing_read
    review = machine[target.rpartition("/")[0]]
    name = target.rpartition("/")[2]
    return review.quote if name == "quote" else next((b.text for b in review.beats if b.name == name), "")


def publish(context: Context, slug: str, *, revision: int, user: User) -> Published:
    with changing(context, slug, user, revision, ("approved", "published"), verb="published", approver=True) as work:
        _intend(context, work.connection, work.item, "publish", "", user)
    return _carry_out(context, slug)


def withdraw(context: Context, slug: str, reason: str, *, revision: int, user: User) -> Published:
    why = line(reason, "reason", MAX_REASON)
    with changing(
        context, slug, user, revision, ("published", "approved", "in review"), verb="withdrawn", approver=True
    ) as work:
        if not work.item["live"]:
            raise WrongState("nothing of this item is published, so nothing can be withdrawn")
        _intend(context, work.connection, work.item, "withdraw", why, user)
    return _carry_out(context, slug)


def _intend(context: Context, connection: Connection, item: Any, action: str, reason: str, user: User) -> None:
    run(
        connection, "INSERT INTO intents VALUES (:item, :action, :reason, :by, :at)",
        item=item["id"], action=action, reason=reason, by=user.name, at=context.clock(),
    )  # fmt: skip


def recover(context: Context) -> None:
    """End what a killed process had begun, and sweep up after it."""
    with context.database.read() as connection:
        waiting = rows(connection, "SELECT slug FROM intents JOIN items ON id = item")
    if context.site.is_dir():
        lock = _alone(context.site)
        try:
            clean_up(context.site)
        finally:
            lock.release()
    for row in waiting:
        _carry_out(context, row["slug"])


def _alone(site: Path) -> FileLock:
    """The right to write to the folder; the system takes it back from a process that dies."""
    try:
        site.mkdir(parents=True, exist_ok=True)
        lock = FileLock(site / ".lock", timeout=_WAIT)
        lock.acquire()
    except Timeout as error:
        raise SetupError("another process is publishing", path=site, fix="try again") from error
    except OSError as error:
        raise SetupError(
            f"cannot be written: {error.strerror or error}", path=site, fix="choose a folder that you may write to"
        ) from error
    return lock


def _carry_out(context: Context, slug: str) -> Published:
    """Do what was intended, and say so in the file. Doing it twice does no harm."""
    lock = _alone(context.site)
    try:
        with context.database.read() as connection:
            item, intent = _intended(connection, slug)
            if intent is None:  # another process ended it
                return _published(context.site / slug, item["revision"])
            files = _files(context, load(context, connection, item), item, intent)
        try:
            replace_folder(context.site / slug, files)
        except SetupError:
            with context.database.write() as connection:
                run(connection, "DELETE FROM intents WHERE item = :item", item=item["id"])
            raise
        with context.database.write() as connection:
            item, intent = _intended(connection, slug)
            if intent is not None:
                _conclude(context, connection, item, intent)
        return _published(context.site / slug, item["revision"])
    finally:
        lock.release()


def _intended(connection: Connection, slug: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    (item,) = rows(connection, "SELECT * FROM items WHERE slug = :slug", slug=slug)
    found = rows(connection, "SELECT * FROM intents WHERE item = :item", item=item["id"])
    return dict(item), dict(found[0]) if found else None


def _files(context: Context, document: Document, item: dict[str, Any], intent: dict[str, Any]) -> dict[str, str]:
    if intent["action"] == "withdraw":
        names = [tool.name for tool in document.base.tools]
        pages = tombstone(item["slug"], names, intent["reason"], intent["by"], intent["at"])
        return {"index.html": pages["html"], "comparison.md": pages["markdown"], "comparison.json": pages["json"]}
    record = published_record(document, item, view_of(context, document)[2])
    return {"index.html": to_html(record), "comparison.md": to_markdown(record), "comparison.json": to_json(record)}


def _conclude(context: Context, connection: Connection, item: dict[str, Any], intent: dict[str, Any]) -> None:
    publishes = intent["action"] == "publish"
    item |= {
        "state": "published" if publishes else "withdrawn",
        "live": int(publishes),
        "revision": item["revision"] + 1,
    }
    run(connection, "DELETE FROM intents WHERE item = :item", item=item["id"])
    document = load(context, connection, item)
    final, _, blockers = view_of(context, document)
    refresh(context, connection, item, final, blockers, edited=bool(document.marks))
    record_event(
        context, connection, intent["by"], intent["action"], item=item["id"], revision=item["revision"],
        reason=intent["reason"], now=item["state"],
    )  # fmt: skip


def _published(folder: Path, revision: int) -> Published:
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    return Published(str(folder), files, revision)
