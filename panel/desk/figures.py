"""What the queue and the search show of an item, kept beside it so that no record is read to show a page of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from panel.desk.document import searchable
from panel.desk.reading import Context, rows, run
from panel.desk.types import Blocker
from panel.records import Comparison, strip_unprintable


def urgency(item: Mapping[str, Any]) -> float:
    """What needs a person most: open items before approved ones, among them disagreements first.

    Up to 50 for a divided panel, 25 for what blocks an approval, 15 for verdicts known to flip, 10 for a p_ship near
    one half.
    """
    stage = {"draft": 100, "in review": 100, "approved": 60, "published": 20, "withdrawn": 0}[item["state"]]
    if stage < 100:
        return float(stage)
    blocked = min(1.0, (2 * item["unscored"] + 2 * item["ungrounded"] + item["flagged"]) / 8)
    flips = min(1.0, 2 * (item["flip_rate"] or 0.0))
    return float(round(stage + 50 * item["split"] + 25 * blocked + 15 * flips + 10 * item["closeness"], 3))


def refresh(
    context: Context,
    connection: Connection,
    item: dict[str, Any],
    final: Comparison,
    blockers: tuple[Blocker, ...],
    *,
    edited: bool,
) -> None:
    """Write what the queue and the search show of an item."""
    open_ = [blocker.kind for blocker in blockers if blocker.waiver is None]
    shares = [(t.panel.ship, t.panel.ship + t.panel.skip) for t in final.tools]
    chances = [r.p_ship for t in final.tools for r in t.reviews if r.p_ship is not None and 0 <= r.p_ship <= 1]
    rates = rows(
        connection,
        "SELECT max(rate) AS rate FROM flip_rates WHERE tool IN (SELECT value FROM json_each(:tools))",
        tools=json.dumps([tool.slug for tool in final.tools]),
    )
    item |= {
        "updated": context.clock(),
        "edited": int(edited),
        "split": max((1 - abs(2 * ship / n - 1) for ship, n in shares if n > 1), default=0.0),
        "unscored": open_.count("unscored"),
        "flagged": open_.count("flagged"),
        "ungrounded": open_.count("ungrounded"),
        "closeness": max((1 - 2 * abs(p - 0.5) for p in chances), default=0.0),
        "flip_rate": rates[0]["rate"],
    }
    item["urgency"] = urgency(item)
    columns = [name for name in item if name != "id"]
    run(
        connection,
        f"UPDATE items SET {', '.join(f'{name} = :{name}' for name in columns)} WHERE id = :id",  # noqa: S608 - ours
        **item,
    )
    run(connection, "DELETE FROM tools WHERE item = :item", item=item["id"])
    for place, tool in enumerate(final.tools):
        decisions = ",".join(f"{r.persona}={r.decision or 'unscored'}" for r in tool.reviews)
        run(
            connection,
            "INSERT INTO tools VALUES (:item, :place, :slug, :name, :percent, :ship, :skip, :unscored, :decisions)",
            item=item["id"], place=place, slug=tool.slug, name=strip_unprintable(tool.name)[:120],
            percent=tool.panel.percent, ship=tool.panel.ship, skip=tool.panel.skip, unscored=tool.panel.unscored,
            decisions=decisions,
        )  # fmt: skip
    run(connection, "DELETE FROM search WHERE rowid = :id", id=item["id"])
    run(
        connection,
        "INSERT INTO search (rowid, title, body) VALUES (:id, :title, :body)",
        id=item["id"], title=item["title"], body=searchable(final),
    )  # fmt: skip
