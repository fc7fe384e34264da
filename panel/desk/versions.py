"""Verdicts that are overruled, and reviews that are regenerated, accepted and declined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from panel.desk.document import Document, find_review, machine_reviews, review_target
from panel.desk.edits import line, text_value
from panel.desk.reading import Context, head, load, offers_of, record_event, run
from panel.desk.types import (
    MAX_REASON,
    FieldError,
    NotFound,
    Offer,
    Saved,
    User,
    WrongState,
)
from panel.desk.work import EDITABLE, changing
from panel.records import Decision, Review, strip_unprintable

_MAX_REVIEW = 1 << 18  # bytes of a regenerated review


def overrule(
    context: Context, slug: str, tool: str, persona: str, decision: Decision | None, reason: str,
    *, revision: int, user: User,
) -> Saved:  # fmt: skip
    why = line(reason, "reason", MAX_REASON, empty=decision is None)
    if decision not in ("ship", "skip", None):
        raise FieldError("a verdict is ship or skip", field="decision", fix="choose one of the two")
    with changing(context, slug, user, revision, verb="overruled") as work:
        find_review(work.document.base, tool, persona)
        machine = next(
            m for t, m in machine_reviews(work.document) if (t.slug, m.persona) == (tool, persona)
        )  # fmt: skip
        target = review_target(tool, persona)
        if decision is not None and decision == machine.decision:
            raise FieldError(f"the reviewer says {decision} itself", field="decision", fix="nothing is to be overruled")
        work.put(f"verdict:{target}", None if decision is None else {"decision": decision, "reason": why})
        says = decision or "as the reviewer"
        return work.finish(
            "overrule", target, decision=says, machine=machine.decision or "unscored", reason=why, now=says
        )


def offer(context: Context, slug: str, review: Review, tool: str, *, user: User, note: str) -> Offer:
    words = line(note, "note", MAX_REASON, empty=True)
    text = review.model_dump_json()
    if len(text) > _MAX_REVIEW:
        raise FieldError("this review is too large to keep", field="review", fix="regenerate it")
    with context.database.write() as connection:
        item = head(connection, slug)
        document = load(context, connection, item)
        original = find_review(document.base, tool, review.persona)
        target = review_target(tool, review.persona)
        keep_offer(context, connection, item, document, target, original, review, by=user.name, note=words)
        return offers_of(connection, item["id"], document.marks)[target][-1]


def keep_offer(
    context: Context, connection: Connection, item: Mapping[str, Any], document: Document, target: str,
    original: Review, review: Review, *, by: str, note: str,
) -> None:  # fmt: skip
    """Keep `review` as the next version; before the second one, the `original` as the first."""
    known = document.offers.get(target, ())
    insert = (
        "INSERT INTO offers (item, target, version, state, by, at, note, review) "
        "VALUES (:item, :target, :version, :state, :by, :at, :note, :review)"
    )
    place = {"item": item["id"], "target": target}
    if not known:
        first = {"by": "panel", "at": item["created"], "version": 1, "state": "used", "note": "as first drafted"}
        run(connection, insert, **place, **first, review=original.model_dump_json())
    version = max(len(known), 1) + 1
    run(
        connection, insert, **place, version=version, state="open", by=by, at=context.clock(), note=note,
        review=review.model_dump_json(),
    )  # fmt: skip
    record_event(
        context, connection, by, "offer", item=item["id"], revision=item["revision"], target=target,
        version=version, decision=review.decision or "unscored",
    )  # fmt: skip


def accept(
    context: Context, slug: str, number: int, beats: Sequence[str] | None, *, revision: int, user: User
) -> Saved:
    with changing(context, slug, user, revision, verb="edited") as work:
        chosen = next((o for each in work.document.offers.values() for o in each if o.id == number), None)
        if chosen is None:
            raise NotFound(f"there is no version {number} in this item")
        if chosen.review.status != "scored":
            raise WrongState("this version is unscored; there is nothing in it to accept")
        target = chosen.target
        if beats is None:
            for key in [key for key in work.document.marks if key.startswith(f"text:{target}/")]:
                work.put(key, None)
            work.put(f"use:{target}", {"offer": number} if chosen.version > 1 else None)
            state = "used"
        else:
            for name in dict.fromkeys(beats):
                offered = next((beat for beat in chosen.review.beats if beat.name == name), None)
                if offered is None:
                    raise NotFound(f"there is no beat {strip_unprintable(name)[:40]!r} in this version")
                value = text_value(work, f"{target}/{name}", offered.text, offered.cites)
                work.put(f"text:{target}/{name}", value and {**value, "offer": number})
            state = "open" if chosen.state == "open" else "used"
        run(work.connection, "UPDATE offers SET state = :state WHERE id = :id", state=state, id=number)
        work.reload()
        return work.finish("accept", target, version=chosen.version, beats=list(beats) if beats is not None else "all")


def decline(context: Context, slug: str, number: int, *, user: User) -> Offer:
    with changing(context, slug, user, None, EDITABLE, verb="edited") as work:
        chosen = next((o for each in work.document.offers.values() for o in each if o.id == number), None)
        if chosen is None:
            raise NotFound(f"there is no version {number} in this item")
        if chosen.state != "open":
            raise WrongState(f"this version is {chosen.state}, and cannot be declined")
        run(work.connection, "UPDATE offers SET state = 'declined' WHERE id = :id", id=number)
        record_event(
            context, work.connection, user.name, "decline", item=work.item["id"], revision=work.item["revision"],
            target=chosen.target, version=chosen.version,
        )  # fmt: skip
        after = offers_of(work.connection, work.item["id"], work.document.marks)
        return next(o for o in after[chosen.target] if o.id == number)
