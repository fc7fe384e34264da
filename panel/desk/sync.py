"""Taking in what runs have written: one item for each folder with a `comparison.json`.

A record is copied into the desk's file when it is first seen, so that what an editor works on cannot change under
their hands. A later run may write another record to the same folder. Where nobody has touched the item, it simply
takes the new one; otherwise the reviews that differ are offered as new versions.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from panel.desk.document import review_target
from panel.desk.figures import refresh
from panel.desk.reading import Base, Context, digest, keep_dossier, load, pack, parsed, record_event, rows, run
from panel.desk.types import SyncReport
from panel.desk.versions import keep_offer
from panel.desk.work import view_of
from panel.errors import SetupError
from panel.inputs import read_text
from panel.records import Comparison, strip_unprintable

_FOLDER = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_TOGETHER = 50  # items per transaction: a first sync of thousands shows the first of them soon, and never locks long


@dataclass(frozen=True)
class _Found:
    slug: str
    stat: str
    text: str
    sha256: str
    base: Base


def sync(context: Context, seen: dict[str, tuple[str, str]]) -> SyncReport:
    """Compare the folder with the file.

    Args:
        seen: problems of files by path, with the state of the file that they were found in; kept between calls.
    """
    with context.database.read() as connection:
        known = {row["slug"]: row["stat"] for row in rows(connection, "SELECT slug, stat FROM items")}
    added: list[str] = []
    changed: list[str] = []
    problems: list[tuple[str, str]] = []
    waiting: list[_Found] = []
    for slug, path in _folders(context.outputs):
        stat = _stat(path)
        if stat is None or known.get(slug) == stat:
            continue
        if seen.get(str(path), ("", ""))[0] == stat:
            problems.append((str(path), seen[str(path)][1]))
            continue
        try:
            waiting.append(_read(slug, path, stat))
        except SetupError as error:
            seen[str(path)] = (stat, strip_unprintable(error.problem)[:300])
            problems.append((str(path), seen[str(path)][1]))
        if len(waiting) >= _TOGETHER:
            _store(context, waiting, added, changed)
            waiting = []
    _store(context, waiting, added, changed)
    return SyncReport(tuple(added), tuple(changed), tuple(problems))


def _folders(outputs: Path) -> list[tuple[str, Path]]:
    try:
        with os.scandir(outputs) as entries:
            names = [e.name for e in entries if _FOLDER.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    except OSError:  # not made yet, or not to be read: there is nothing in it
        return []
    return [(name, outputs / name / "comparison.json") for name in sorted(names)]


def _stat(path: Path) -> str | None:
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return f"{found.st_mtime_ns}:{found.st_size}:{found.st_ino}"


def _read(slug: str, path: Path, stat: str) -> _Found:
    """Raises SetupError: too large, not JSON, not a record, or one whose parts cannot be told apart."""
    text = read_text(path, "record")
    try:
        record = Comparison.model_validate(json.loads(text))
    except (ValueError, RecursionError, ValidationError) as error:
        raise SetupError("this is not a comparison record", path=path, fix="make the record again") from error
    names = Counter(tool.slug for tool in record.tools)
    names.update(f"{t.slug}/{r.persona}" for t in record.tools for r in t.reviews)
    names.update(f"{t.slug}/{r.persona}/{b.name}" for t in record.tools for r in t.reviews for b in r.beats)
    names.update(f"{t.slug} {e.id}" for t in record.tools for e in t.evidence)
    wrong = next((name for name, number in names.items() if number > 1), None)
    wrong = wrong or next((tool.slug for tool in record.tools if not _FOLDER.fullmatch(tool.slug)), None)
    wrong = wrong or next(
        (b.name for t in record.tools for r in t.reviews for b in r.beats if not _plain(b.name)), None
    )
    if wrong is not None:
        raise SetupError(f"{wrong!r} cannot be told apart or is no name", path=path, fix="make the record again")
    return _Found(slug, stat, text, digest(text), parsed(record))


def _plain(beat: str) -> bool:
    return re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", beat) is not None and beat != "quote"


def _store(context: Context, waiting: list[_Found], added: list[str], changed: list[str]) -> None:
    if not waiting:
        return
    with context.database.write() as connection:
        for found in waiting:
            # another process may have been here since
            known = rows(connection, "SELECT * FROM items WHERE slug = :slug", slug=found.slug)
            if known and known[0]["latest"] == found.sha256:
                run(connection, "UPDATE items SET stat = :stat WHERE id = :id", stat=found.stat, id=known[0]["id"])
                continue
            _take_in(context, connection, found, dict(known[0]) if known else None)
            (changed if known else added).append(found.slug)


def _take_in(context: Context, connection: Any, found: _Found, item: dict[str, Any] | None) -> None:
    record, dossiers = found.base
    now = context.clock()
    run(
        connection, "INSERT OR IGNORE INTO records VALUES (:sha, :json, :seen)",
        sha=found.sha256, json=pack(found.text), seen=now,
    )  # fmt: skip
    for dossier, sha256, _ in dossiers.values():
        if dossier is not None:
            keep_dossier(context, connection, dossier, by="panel", note=f"of {found.slug}", sha256=sha256)
    title = strip_unprintable(" vs ".join(tool.name for tool in record.tools))[:240] or found.slug
    kind = "comparison" if len(record.tools) > 1 else "review"
    created = strip_unprintable(record.created)[:40]
    action = "found"
    if item is None:
        number = run(
            connection,
            "INSERT INTO items (slug, kind, title, record, latest, stat, created, updated) "
            "VALUES (:slug, :kind, :title, :sha, :sha, :stat, :created, :now)",
            slug=found.slug, kind=kind, title=title, sha=found.sha256, stat=found.stat, created=created, now=now,
        ).lastrowid  # fmt: skip
        (row,) = rows(connection, "SELECT * FROM items WHERE id = :id", id=number)
        item = dict(row)
    elif _untouched(connection, item):
        item |= {"record": found.sha256, "kind": kind, "title": title, "created": created}
        action = "found again"
    else:
        action = "found again, offered"
        _offer_differences(context, connection, item, record)
    item |= {"latest": found.sha256, "stat": found.stat}
    context.remember(found.sha256, found.base)
    document = load(context, connection, item)
    final, _, blockers = view_of(context, document)
    refresh(context, connection, item, final, blockers, edited=bool(document.marks))
    record_event(
        context, connection, "panel", action, item=item["id"], revision=item["revision"], record=found.sha256
    )  # fmt: skip


def _untouched(connection: Any, item: dict[str, Any]) -> bool:
    offers = rows(connection, "SELECT 1 FROM offers WHERE item = :item LIMIT 1", item=item["id"])
    return item["state"] == "draft" and item["revision"] == 0 and item["owner"] is None and not offers


def _offer_differences(context: Context, connection: Any, item: dict[str, Any], record: Comparison) -> None:
    document = load(context, connection, item)
    before = {(t.slug, r.persona): r for t in document.base.tools for r in t.reviews}
    for tool in record.tools:
        for review in tool.reviews:
            old = before.get((tool.slug, review.persona))
            if old is None or (old.decision, old.quote, old.p_ship) == (review.decision, review.quote, review.p_ship):
                continue
            target = review_target(tool.slug, review.persona)
            keep_offer(context, connection, item, document, target, old, review, by="panel", note="a later run")
