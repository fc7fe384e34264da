"""What an editor does to the texts of an item: save, undo, redo."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from panel.desk.document import Mark, final_record, find_text, machine_reviews
from panel.desk.reading import Context, rows, run
from panel.desk.types import (
    MAX_BEAT,
    MAX_QUOTE,
    FieldError,
    Forbidden,
    Saved,
    User,
    WrongState,
)  # fmt: skip
from panel.desk.work import Work, changing, stale
from panel.records import strip_unprintable


def line(text: str, field: str, most: int, *, empty: bool = False) -> str:
    """`text` on one line, as it may be stored. Raises FieldError."""
    if len(text) > most:
        raise FieldError(f"this is longer than {most} characters", field=field, fix="shorten it")
    plain = re.sub(r"\s+", " ", text).strip()
    kept = strip_unprintable(plain)
    if kept != plain:
        bad = next(c for c in plain if not strip_unprintable(c))
        raise FieldError(
            f"this contains the unprintable character U+{ord(bad):04X}", field=field, fix="delete it"
        )  # fmt: skip
    if not plain and not empty:
        raise FieldError("this is empty", field=field, fix="write a sentence")
    return plain


# --------------------------------------------------------------------------------------------------------- texts


def save(
    context: Context, slug: str, target: str, text: str, cites: Sequence[str] | None,
    *, revision: int, user: User, same_step: bool,
) -> Saved:  # fmt: skip
    last = target.rpartition("/")[2]
    words = line(text, "text", MAX_QUOTE if last in ("quote", "pick", "pricing") else MAX_BEAT, empty=True)
    with changing(context, slug, user, None, verb="edited") as work:
        value = text_value(work, target, words, cites)
        now = work.document.marks.get(f"text:{target}")
        if _said(now.value if now else None) == _said(value):  # sent twice, or typed and taken back: it stands already
            return work.acknowledge(target, changed=False)
        if revision != work.item["revision"]:
            raise stale(work.connection, work.item, revision)
        before = standing(work, target)
        work.put(f"text:{target}", value)
        return work.finish("edit", target, same_step=same_step, before=before, now=standing(work, target))


def text_value(work: Work, target: str, words: str, cites: Sequence[str] | None) -> dict[str, Any] | None:
    """The mark that makes `target` read `words`; None where the machine's draft does. Raises NotFound, FieldError."""
    base = work.document.base
    if target in ("pick", "pricing"):
        _no_cites(cites)
        drafted = base.pick.why if target == "pick" else base.pricing_read
        return None if words in ("", drafted) else {"text": words}
    final = final_record(work.document)
    tool, review, name = find_text(final, target)
    if name == "quote":
        _no_cites(cites)
        return None if words in ("", " ".join(beat.text for beat in review.beats)) else {"text": words}
    machine = next(
        m for t, m in machine_reviews(work.document) if (t.slug, m.persona) == (tool.slug, review.persona)
    )  # fmt: skip
    drafted_beat = next(beat for beat in machine.beats if beat.name == name)
    current = next(beat for beat in review.beats if beat.name == name)
    if not words and cites is None:
        return None
    chosen = current.cites if cites is None else tuple(dict.fromkeys(cites))
    known = {item.id for entry in final.tools if entry.slug == tool.slug for item in entry.evidence}
    unknown = [cite for cite in chosen if cite not in known]
    if unknown or len(chosen) > 20:
        what = f"{strip_unprintable(unknown[0])[:20]!r} is no evidence of {tool.slug}" if unknown else "too many"
        raise FieldError(what, field="cites", fix="cite ids of the dossier, at most 20")
    words = words or drafted_beat.text
    same = (words, chosen) == (drafted_beat.text, drafted_beat.cites)
    return None if same else {"text": words, "cites": list(chosen)}


def _said(value: dict[str, Any] | None) -> dict[str, Any] | None:
    return value and {name: each for name, each in value.items() if name != "offer"}


def _no_cites(cites: Sequence[str] | None) -> None:
    if cites:
        raise FieldError("only a beat cites evidence", field="cites", fix="cite it in a beat")


def standing(work: Work, target: str) -> str:
    """The text at `target` now."""
    final = final_record(work.document)
    if target in ("pick", "pricing"):
        return final.pick.why if target == "pick" else final.pricing_read
    _, review, name = find_text(final, target)
    return review.quote if name == "quote" else next(beat.text for beat in review.beats if beat.name == name)


def step(context: Context, slug: str, *, revision: int, user: User, undo: bool) -> Saved:
    """Undo the last step that stands, or redo the first that was undone."""
    action = "undo" if undo else "redo"
    with changing(context, slug, user, revision, verb="edited") as work:
        found = rows(
            work.connection,
            f"SELECT * FROM steps WHERE item = :item AND undone = :undone ORDER BY id {'DESC' if undo else ''} LIMIT 1",  # noqa: S608
            item=work.item["id"], undone=int(not undo),
        )  # fmt: skip
        if not found:
            raise WrongState(f"there is nothing to {action}")
        if found[0]["by"] != user.name:
            raise Forbidden(f"the last change is {found[0]['by']}'s, and is theirs to {action}")
        for key, before, after in json.loads(found[0]["changes"]):
            there = before if undo else after
            work.write(key, Mark(*there) if there is not None else None)
        run(work.connection, "UPDATE steps SET undone = :undone WHERE id = :id", undone=int(undo), id=found[0]["id"])
        work.reload()
        target = found[0]["target"]
        now = standing(work, target) if target in ("pick", "pricing") or target.count("/") == 2 else ""
        return work.finish(action, target, now=now)
