"""The queue: which items there are, what each is waiting for, and finding one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from panel.desk.figures import urgency
from panel.desk.reading import Context, record_event, rows, run
from panel.desk.types import MAX_QUERY, STATES, FieldError, QueueFilter, QueuePage, Row, ToolLine
from panel.records import PERSONA_SLUGS

_ONLY = {
    "": "", "unscored": "unscored > 0", "flagged": "flagged > 0", "ungrounded": "ungrounded > 0",
    "split": "split > 0", "flips": "flip_rate > 0", "edited": "edited = 1",
}  # fmt: skip
_SORT = {"urgency": "urgency DESC, id", "updated": "updated DESC, id DESC", "title": "title COLLATE NOCASE, id"}
_MAX_PAGE = 200


def page(context: Context, show: QueueFilter, offset: int, limit: int) -> QueuePage:
    clauses, values = _where(show)
    where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
    values |= {"offset": max(0, offset), "limit": max(1, min(limit, _MAX_PAGE))}
    with context.database.read() as connection:
        found = rows(
            connection,
            f"SELECT * FROM items{where} ORDER BY {_SORT.get(show.sort, _SORT['urgency'])} "  # noqa: S608 - ours
            "LIMIT :limit OFFSET :offset",
            **values,
        )
        (counted,) = rows(connection, f"SELECT count(*) AS total FROM items{where}", **values)  # noqa: S608 - ours
        by_state = rows(connection, "SELECT state, count(*) AS number FROM items GROUP BY state")
        counts = dict.fromkeys(STATES, 0) | {row["state"]: row["number"] for row in by_state}
        return QueuePage(as_rows(connection, found), counted["total"], counts)


def _where(show: QueueFilter) -> tuple[list[str], dict[str, Any]]:
    clauses, values = [], {}
    if show.states:
        clauses.append("state IN (SELECT value FROM json_each(:states))")
        values["states"] = json.dumps(list(show.states))
    if _ONLY.get(show.only):
        clauses.append(_ONLY[show.only])
    if show.kind:
        clauses.append("kind = :kind")
        values["kind"] = show.kind
    if show.owner:
        clauses.append("owner = :owner")
        values["owner"] = show.owner
    if show.query.strip():
        match = match_of(show.query)
        # a query of marks alone finds nothing, as any word that does not occur
        clauses.append("id IN (SELECT rowid FROM search WHERE search MATCH :match)" if match else "0")
        values["match"] = match
    return clauses, values


def match_of(query: str) -> str:
    """`query` for FTS5: every word in quotation marks, so that nothing in it is an operator; the last may go on."""
    if len(query) > MAX_QUERY:
        raise FieldError(f"this is longer than {MAX_QUERY} characters", field="query", fix="search for fewer words")
    words = re.findall(r"\w+", query)
    return " ".join(f'"{word}"' for word in words) + ("*" if words and not query[-1:].isspace() else "")


def as_rows(connection: Connection, found: list[Mapping[str, Any]]) -> tuple[Row, ...]:
    lines: dict[int, list[ToolLine]] = {}
    for row in rows(
        connection,
        "SELECT tools.*, rate FROM tools LEFT JOIN flip_rates ON tool = slug "
        "WHERE item IN (SELECT value FROM json_each(:items)) ORDER BY item, place",
        items=json.dumps([item["id"] for item in found]),
    ):
        said: Any = [tuple(pair.split("=")) for pair in row["decisions"].split(",") if pair]
        said.sort(key=lambda pair: PERSONA_SLUGS.index(pair[0]))
        lines.setdefault(row["item"], []).append(
            ToolLine(
                row["slug"], row["name"], row["percent"], row["ship"], row["skip"], row["unscored"], tuple(said),
                row["rate"],
            )
        )  # fmt: skip
    return tuple(
        Row(
            id=item["id"], slug=item["slug"], kind=item["kind"], title=item["title"], state=item["state"],
            revision=item["revision"], created=item["created"], updated=item["updated"], owner=item["owner"],
            live=bool(item["live"]), edited=bool(item["edited"]), split=item["split"], unscored=item["unscored"],
            flagged=item["flagged"], ungrounded=item["ungrounded"], flip_rate=item["flip_rate"],
            urgency=item["urgency"], tools=tuple(lines.get(item["id"], ())),
        )
        for item in found
    )  # fmt: skip


def set_flip_rates(context: Context, rates: Mapping[str, float]) -> int:
    """Keep the rates, and sort the items of these tools anew."""
    bad = next((tool for tool, rate in rates.items() if not 0 <= rate <= 1), None)
    if bad is not None:
        raise FieldError("a rate lies between 0 and 1", field=bad, fix="give flips divided by changes")
    with context.database.write() as connection:
        for tool, rate in rates.items():
            run(connection, "INSERT OR REPLACE INTO flip_rates VALUES (:tool, :rate)", tool=tool, rate=rate)
        touched = rows(
            connection,
            "SELECT items.*, (SELECT max(rate) FROM flip_rates, tools WHERE tool = slug AND item = items.id) AS now "
            "FROM items WHERE id IN (SELECT item FROM tools WHERE slug IN (SELECT value FROM json_each(:tools)))",
            tools=json.dumps(list(rates)),
        )
        for item in touched:
            figure = urgency({**item, "flip_rate": item["now"]})
            run(
                connection, "UPDATE items SET flip_rate = :rate, urgency = :urgency WHERE id = :id",
                rate=item["now"], urgency=figure, id=item["id"],
            )  # fmt: skip
        record_event(context, connection, "evaluation", "flip rates", tools=len(rates))
        (known,) = rows(connection, "SELECT count(DISTINCT slug) AS number FROM tools JOIN flip_rates ON tool = slug")
        return int(known["number"])
