"""Reading an item from the file: its record, its marks, its offers, its dossiers."""

from __future__ import annotations

import hashlib
import json
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from panel.desk.check import Checker
from panel.desk.database import Database
from panel.desk.document import Document, Mark, dossier_of
from panel.desk.types import DossierVersion, NotFound, Offer, Waiver
from panel.dossier import dossier_sha256
from panel.records import Comparison, Dossier, Review, strip_unprintable

_PARSED = 128  # records kept parsed; about 300 kB each

Base = tuple[Comparison, dict[str, tuple[Dossier | None, str, str]]]


def rows(connection: Connection, sql: str, **values: Any) -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(text(sql), values).mappings()]


def run(connection: Connection, sql: str, **values: Any) -> Any:
    return connection.execute(text(sql), values)


@dataclass
class Context:
    """What every part of the desk works with."""

    database: Database
    checker: Checker
    clock: Callable[[], str]
    outputs: Path
    site: Path
    _bases: OrderedDict[str, Base] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def base(self, connection: Connection, sha256: str) -> Base:
        """A stored record, and by tool its dossier, that dossier's hash, and what is wrong with the card."""
        with self._lock:
            found = self._bases.get(sha256)
            if found is not None:
                self._bases.move_to_end(sha256)
                return found
        (row,) = rows(connection, "SELECT json FROM records WHERE sha256 = :sha", sha=sha256)
        found = parsed(Comparison.model_validate_json(zlib.decompress(row["json"])))
        self.remember(sha256, found)
        return found

    def remember(self, sha256: str, base: Base) -> None:
        with self._lock:
            self._bases[sha256] = base
            while len(self._bases) > _PARSED:
                self._bases.popitem(last=False)


def parsed(record: Comparison) -> Base:
    dossiers = {}
    for tool in record.tools:
        dossier, fault = dossier_of(tool)
        dossiers[tool.slug] = (dossier, dossier_sha256(dossier) if dossier is not None else "", fault)
    return record, dossiers


def digest(text_: str) -> str:
    return hashlib.sha256(text_.encode("utf-8")).hexdigest()


def pack(text_: str) -> bytes:
    return zlib.compress(text_.encode("utf-8"), 6)


def head(connection: Connection, slug: str) -> Mapping[str, Any]:
    """The item's own row. Raises NotFound."""
    found = rows(connection, "SELECT * FROM items WHERE slug = :slug", slug=slug)
    if not found:
        raise NotFound(f"there is no item {strip_unprintable(slug)[:80]!r}")
    return found[0]


def load(context: Context, connection: Connection, item: Mapping[str, Any]) -> Document:
    base, from_record = context.base(connection, item["record"])
    marks = {
        row["key"]: Mark(json.loads(row["value"]), row["by"], row["at"])
        for row in rows(connection, "SELECT key, value, by, at FROM marks WHERE item = :item", item=item["id"])
    }
    waivers = {
        row["key"]: Waiver(row["by"], row["at"], row["reason"])
        for row in rows(connection, "SELECT key, reason, by, at FROM waivers WHERE item = :item", item=item["id"])
    }
    dossiers: dict[str, DossierVersion | None] = {}
    for tool, (dossier, sha256, _) in from_record.items():
        chosen = marks.get(f"dossier:{tool}")
        if dossier is None:
            dossiers[tool] = None
        elif chosen is None:
            dossiers[tool] = dossier_by(connection, tool, sha256=sha256)
        else:
            dossiers[tool] = dossier_by(connection, tool, version=chosen.value["version"])
    faults = {tool: fault for tool, (_, _, fault) in from_record.items() if fault}
    return Document(base, marks, offers_of(connection, item["id"], marks), dossiers, faults, waivers)


def offers_of(connection: Connection, item: int, marks: Mapping[str, Mark]) -> dict[str, tuple[Offer, ...]]:
    found: dict[str, tuple[Offer, ...]] = {}
    for row in rows(connection, "SELECT * FROM offers WHERE item = :item ORDER BY target, version", item=item):
        target = row["target"]
        mark = marks.get(f"use:{target}")
        used = mark.value["offer"] == row["id"] if mark is not None else row["version"] == 1
        state: Any = "accepted" if used else "old" if row["state"] == "used" else row["state"]
        offer = Offer(
            row["id"], target, row["version"], state, row["by"], row["at"], row["note"],
            Review.model_validate_json(row["review"]),
        )  # fmt: skip
        found[target] = (*found.get(target, ()), offer)
    return found


def dossier_by(
    connection: Connection, tool: str, *, sha256: str | None = None, version: int | None = None
) -> DossierVersion | None:
    found = rows(
        connection,
        "SELECT * FROM dossiers WHERE tool = :tool AND (sha256 = :sha OR version = :version) ORDER BY version LIMIT 1",
        tool=tool, sha=sha256, version=version,
    )  # fmt: skip
    return as_version(found[0]) if found else None


def as_version(row: Mapping[str, Any]) -> DossierVersion:
    dossier = _dossier(row["json"])
    return DossierVersion(row["tool"], row["version"], row["sha256"], row["by"], row["at"], row["note"], dossier)


@lru_cache(maxsize=512)
def _dossier(text_: str) -> Dossier:
    return Dossier.model_validate_json(text_)


def keep_dossier(
    context: Context, connection: Connection, dossier: Dossier, *, by: str, note: str, sha256: str | None = None
) -> DossierVersion:
    """`dossier` as a version of its tool: the one that says the same, or a new one."""
    digest = sha256 or dossier_sha256(dossier)
    found = dossier_by(connection, dossier.slug, sha256=digest)
    if found is not None:
        return found
    run(
        connection,
        "INSERT INTO dossiers SELECT :tool, 1 + coalesce(max(version), 0), :sha, :name, :json, :by, :at, :note "
        "FROM dossiers WHERE tool = :tool",
        tool=dossier.slug, sha=digest, name=dossier.name, by=by, at=context.clock(), note=note,
        json=dossier.model_dump_json(by_alias=True),
    )  # fmt: skip
    kept = dossier_by(connection, dossier.slug, sha256=digest)
    assert kept is not None  # noqa: S101 - inserted above, in this transaction
    return kept


def record_event(
    context: Context,
    connection: Connection,
    by: str,
    action: str,
    *,
    item: int | None = None,
    revision: int | None = None,
    target: str = "",
    **detail: Any,
) -> None:
    """Add a line to the history."""
    run(
        connection,
        "INSERT INTO history (at, by, item, revision, action, target, detail) "
        "VALUES (:at, :by, :item, :revision, :action, :target, :detail)",
        at=context.clock(), by=by, item=item, revision=revision, action=action, target=target,
        detail=json.dumps(detail, ensure_ascii=False),
    )  # fmt: skip
