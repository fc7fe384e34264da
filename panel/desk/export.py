"""What editors did, for the panel to learn from: gold files, a table of draft against final, and counts.

Gold is made of what a person stands behind: items that are approved or published. A tool that several of them judge
counts as it was judged last.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from panel.desk.document import Document, final_record, overruled
from panel.desk.publish import published_record
from panel.desk.reading import Context, load, rows
from panel.desk.types import Feedback
from panel.desk.work import view_of
from panel.files import write_atomic
from panel.records import PERSONA_SLUGS, Dossier, strip_unprintable

_STANDING = "state IN ('approved', 'published')"
_COLUMNS = (
    "item", "state", "tool", "persona", "part", "draft", "final", "machine_verdict", "final_verdict", "reason", "by",
    "at",
)  # fmt: skip


def export(context: Context, folder: Path) -> dict[str, Path]:
    files: dict[str, str] = {}
    table: list[dict[str, str]] = []
    with context.database.read() as connection:
        found = rows(
            connection,
            f"SELECT * FROM items WHERE {_STANDING} OR edited = 1 ORDER BY approved_at, id",  # noqa: S608 - ours
        )
        for item in found:
            document = load(context, connection, item)
            table += _table(context, document, item)
            if item["state"] in ("approved", "published"):
                files |= _gold(document)
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in table)
    files["draft-against-final.csv"] = text.getvalue()
    for name, content in files.items():
        write_atomic(folder / name, content)
    return {name: folder / name for name in sorted(files)}


def _gold(document: Document) -> dict[str, str]:
    """dossier.yaml and gold.yaml of every tool that all four personas have a verdict on."""
    files = {}
    for tool in final_record(document).tools:
        verdicts = {review.persona: review.decision for review in tool.reviews}
        version = document.dossiers.get(tool.slug)
        if version is None or any(verdicts.get(persona) is None for persona in PERSONA_SLUGS):
            continue
        gold = {"schema": "gold/1", "verdicts": {persona: verdicts[persona] for persona in PERSONA_SLUGS}}
        files[f"cases/{tool.slug}/dossier.yaml"] = _yaml(_plain(version.dossier))
        files[f"cases/{tool.slug}/gold.yaml"] = _yaml(gold)
    return files


def _plain(dossier: Dossier) -> dict[str, Any]:
    data = dossier.model_dump(mode="json", by_alias=True)
    return {name: value for name, value in data.items() if value not in (None, [])}


def _yaml(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1_000_000)


def _table(context: Context, document: Document, item: Any) -> list[dict[str, str]]:
    record = published_record(document, item, view_of(context, document)[2])
    editorial: dict[str, Any] = (record.model_extra or {})["editorial"]
    place = {"item": item["slug"], "state": item["state"]}
    lines = []
    for change in editorial["changes"]:
        tool, _, rest = change["target"].partition("/")
        persona, _, part = rest.partition("/")
        where = {"tool": tool, "persona": persona, "part": part} if rest else {"part": change["target"]}
        lines.append(
            place | where | {"draft": change["machine"], "final": change["final"], "by": change["by"],
                             "at": change["at"]}
        )  # fmt: skip
    for target, verdict in sorted(overruled(document).items()):
        tool, _, persona = target.partition("/")
        lines.append(
            place | {"tool": tool, "persona": persona, "part": "verdict", "machine_verdict": verdict.machine,
                     "final_verdict": verdict.decision, "reason": verdict.reason, "by": verdict.by, "at": verdict.at}
        )  # fmt: skip
    for fact in editorial["confirmed"]:
        version = document.dossiers[fact["tool"]]
        text = next(e.text for e in version.dossier.evidence if e.id == fact["evidence"]) if version else ""
        lines.append(
            place | {"tool": fact["tool"], "part": f"evidence {fact['evidence']}", "final": text, "by": fact["by"]}
        )  # fmt: skip
    return lines


def _cell(value: str) -> str:
    """`value` as a cell that no spreadsheet takes for a formula."""
    text = strip_unprintable(value)
    return f"'{text}" if re.match(r"\s*[=+\-@|]", text) else text


def feedback(context: Context) -> tuple[Feedback, ...]:
    with context.database.read() as connection:
        marks = rows(connection, "SELECT item, key, value FROM marks ORDER BY item, key")
        said = rows(connection, "SELECT decisions FROM tools")
        events = rows(connection, "SELECT target FROM history WHERE action = 'offer' AND by <> 'panel'")
    reviews = Counter(pair.split("=")[0] for row in said for pair in row["decisions"].split(",") if pair)
    regenerated = Counter(row["target"].rpartition("/")[2] for row in events)
    found = {persona: _Counts() for persona in PERSONA_SLUGS}
    for mark in marks:
        kind, _, target = mark["key"].partition(":")
        parts, value = target.split("/"), json.loads(mark["value"])
        if len(parts) < 2 or parts[1] not in PERSONA_SLUGS:
            continue
        counts = found[parts[1]]
        if kind == "verdict":
            counts.overruled[value["decision"]] += 1
            counts.reasons.append(value["reason"])
        elif kind == "text" and parts[2] == "quote":
            counts.quotes += 1
        elif kind == "text":
            counts.beats[parts[2]] += 1
    return tuple(
        Feedback(
            persona, reviews[persona], c.overruled["ship"], c.overruled["skip"], dict(sorted(c.beats.items())),
            c.quotes, regenerated[persona], tuple(c.reasons[-50:]),
        )
        for persona, c in found.items()
    )  # fmt: skip


class _Counts:
    def __init__(self) -> None:
        self.overruled: Counter[str] = Counter()
        self.beats: Counter[str] = Counter()
        self.quotes = 0
        self.reasons: list[str] = []
