"""What people do to an item: every change of an item that comes in over HTTP is here, and passes `changing`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Response

from panel.desk.types import Checked, FieldError, Forbidden, NotFound, Published, Saved, WrongState
from panel.desk.web.context import Change, Changing, signed_in
from panel.records import PERSONA_SLUGS, Decision

router = APIRouter(prefix="/items/{slug}", dependencies=[Depends(signed_in)])


def _checked(checked: Checked) -> dict[str, Any]:
    spans = [{"start": s.start, "end": s.end, "text": s.text, "why": s.why, "level": s.level} for s in checked.spans]
    return {"spans": spans, "problems": list(checked.problems)}


def _done(change: Change, slug: str, saved: Saved | Published, done: str) -> Response:
    data: dict[str, Any] = {"revision": saved.revision, "done": done}
    if isinstance(saved, Saved):
        data |= {
            "state": saved.state, "target": saved.target, "text": saved.text, "cites": list(saved.cites),
            "open": saved.open_blockers, "can_undo": saved.can_undo, "can_redo": saved.can_redo,
            **_checked(saved.checked),
        }  # fmt: skip
    return change.answer(data, then=f"/items/{quote(slug, safe='')}?done={done}")


def _cites(change: Change) -> list[str] | None:
    """The ids of the field `cites`, however they are set apart; None where the form has no such field."""
    return change.text("cites").replace(",", " ").split() if "cites" in change.form else None


def _persona(change: Change) -> str:
    persona = change.text("persona")
    if persona not in PERSONA_SLUGS:
        raise NotFound("there is no such reviewer")
    return persona


@router.post("/check")
def check(change: Changing, slug: str) -> Response:
    """What the grounding rules say of a text that is being typed; nothing is written."""
    found = change.store.check(slug, change.text("target"), change.text("text"), _cites(change))
    return change.answer(_checked(found), then=f"/items/{quote(slug, safe='')}")


@router.post("/save")
def save(change: Changing, slug: str) -> Response:
    saved = change.store.save(
        slug, change.text("target"), change.text("text"), revision=change.revision, user=change.user,
        cites=_cites(change), same_step=change.text("same_step") == "1",
    )  # fmt: skip
    return _done(change, slug, saved, "saved")


@router.post("/undo")
def undo(change: Changing, slug: str) -> Response:
    return _done(change, slug, change.store.undo(slug, revision=change.revision, user=change.user), "undone")


@router.post("/redo")
def redo(change: Changing, slug: str) -> Response:
    return _done(change, slug, change.store.redo(slug, revision=change.revision, user=change.user), "redone")


@router.post("/overrule")
def overrule(change: Changing, slug: str) -> Response:
    choices: dict[str, Decision | None] = {"ship": "ship", "skip": "skip", "": None}
    given = change.text("decision")
    if given not in choices:
        raise FieldError("choose ship or skip", field="decision", fix="pick one of the two")
    saved = change.store.overrule(
        slug, change.text("tool"), _persona(change), choices[given], change.text("reason"),
        revision=change.revision, user=change.user,
    )  # fmt: skip
    return _done(change, slug, saved, "overruled" if given else "reinstated")


@router.post("/regenerate")
def regenerate(change: Changing, slug: str) -> Response:
    """Queue one review to be made anew; the page of the run shows it, and the item offers what comes out."""
    tool, persona = change.text("tool"), _persona(change)
    found = change.store.item(slug)
    if tool not in found.dossiers:
        raise NotFound("there is no such tool in this item")
    version = found.dossiers[tool]
    if version is None:
        raise FieldError("the record holds no dossier to review again", field="tool", fix="run the panel again")
    if found.row.owner not in (None, change.user.name):
        raise Forbidden(f"{found.row.owner} is at work on this")
    if found.row.state not in ("draft", "in review"):
        raise WrongState(f"this is {found.row.state}; open it for changes first")
    job = change.web.runner.again(slug, version.dossier, persona, change.user)
    return change.answer({"run": job.id}, then=f"/runs/{job.id}")


@router.post("/accept")
def accept(change: Changing, slug: str) -> Response:
    """Use an offered version: whole, or (`part` is 1) the sentences that are ticked."""
    beats = change.given("beat") if change.text("part") == "1" else None
    if beats is not None and not beats:
        raise FieldError("no sentence is ticked", field="beat", fix="tick one, or take the whole version")
    saved = change.store.accept(
        slug, change.number("offer"), revision=change.revision, user=change.user, beats=beats
    )  # fmt: skip
    return _done(change, slug, saved, "accepted")


@router.post("/decline")
def decline(change: Changing, slug: str) -> Response:
    change.store.decline(slug, change.number("offer"), user=change.user)
    return change.answer({"done": "declined"}, then=f"/items/{quote(slug, safe='')}?done=declined")


@router.post("/confirm")
def confirm(change: Changing, slug: str) -> Response:
    saved = change.store.confirm(
        slug, change.text("tool"), change.text("fact"), change.text("source"), change.text("kind"),
        revision=change.revision, user=change.user, target=change.text("target"),
    )  # fmt: skip
    return _done(change, slug, saved, "confirmed")


@router.post("/waive")
def waive(change: Changing, slug: str) -> Response:
    saved = change.store.waive(
        slug, change.text("key"), change.text("reason"), revision=change.revision, user=change.user
    )  # fmt: skip
    return _done(change, slug, saved, "waived")


@router.post("/approve")
def approve(change: Changing, slug: str) -> Response:
    return _done(change, slug, change.store.approve(slug, revision=change.revision, user=change.user), "approved")


@router.post("/reopen")
def reopen(change: Changing, slug: str) -> Response:
    return _done(change, slug, change.store.reopen(slug, revision=change.revision, user=change.user), "reopened")


@router.post("/publish")
def publish(change: Changing, slug: str) -> Response:
    return _done(change, slug, change.store.publish(slug, revision=change.revision, user=change.user), "published")


@router.post("/withdraw")
def withdraw(change: Changing, slug: str) -> Response:
    saved = change.store.withdraw(slug, change.text("reason"), revision=change.revision, user=change.user)
    return _done(change, slug, saved, "withdrawn")


@router.post("/claim")
def claim(change: Changing, slug: str) -> Response:
    found = change.store.claim(slug, change.user, take_over=change.text("take_over") == "1")
    return change.answer({"revision": found.row.revision}, then=f"/items/{quote(slug, safe='')}?done=claimed")


@router.post("/release")
def release(change: Changing, slug: str) -> Response:
    change.store.release(slug, change.user)
    return change.answer({"done": "released"}, then=f"/items/{quote(slug, safe='')}?done=released")
