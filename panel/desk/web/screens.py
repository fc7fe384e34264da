"""The screens that only show: the queue, one item, its history, the page as readers get it, statistics."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse

from panel.desk.types import STATES, QueueFilter, State
from panel.desk.web.context import Desk, SignedIn, page, signed_in
from panel.desk.web.review_view import history_lines, review_view
from panel.pages.view import PERSONAS
from panel.pages.words import label
from panel.render import to_html

router = APIRouter(dependencies=[Depends(signed_in)])

PER_PAGE = 50
ONLY = {
    "": "Everything", "unscored": "Unscored", "flagged": "Flagged", "ungrounded": "Ungrounded", "split": "Split",
    "flips": "Known to flip", "edited": "Edited",
}  # fmt: skip

#: What a screen says after a form was sent without our script; anything else in the address says nothing.
DONE = {
    "saved": "Saved.", "undone": "Undone.", "redone": "Done again.", "overruled": "The verdict is yours now.",
    "reinstated": "The reviewer’s own verdict stands again.", "accepted": "The new version is in use.",
    "declined": "Put away.", "confirmed": "The fact is in the dossier now.", "waived": "Waived.",
    "approved": "Approved.", "reopened": "Open for changes again.", "published": "Published.",
    "withdrawn": "Withdrawn. A tombstone is in its place.", "claimed": "It is yours.", "released": "Given back.",
}  # fmt: skip


@router.get("/")
def queue(
    web: Desk,
    session: SignedIn,
    q: Annotated[str, Query(max_length=200)] = "",
    state: str = "",
    only: str = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
) -> Response:
    """What waits, what needs a person most first."""
    states: tuple[State, ...] = (state,) if state in STATES else ()
    wanted = only if only in ONLY else ""
    show = QueueFilter(states=states, query=q, only=wanted)  # type: ignore[arg-type]
    found = web.store.queue(show, offset=(page_number - 1) * PER_PAGE, limit=PER_PAGE)
    return page(
        "queue", session, here="/", found=found, q=q, state=state if states else "", only=wanted, states=STATES,
        onlys=ONLY, number=page_number, last=max(1, -(-found.total // PER_PAGE)), first=(page_number - 1) * PER_PAGE,
    )  # fmt: skip


@router.get("/items/{slug}")
def item(web: Desk, session: SignedIn, slug: str, done: str = "") -> Response:
    """The review screen."""
    found = web.store.item(slug)
    return page(
        "review", session, item=found, view=review_view(found), done=DONE.get(done, ""),
        running=web.runner.of_item(slug), approves=session.approves,
        others=found.row.owner is not None and found.row.owner != session.user,
    )  # fmt: skip


@router.get("/items/{slug}/revision")
def revision(web: Desk, session: SignedIn, slug: str) -> Response:
    """Which revision stands, and who made it: an open screen asks now and then."""
    found = web.store.history(slug, limit=1)
    by = found[0].by if found else ""
    row = web.store.item(slug).row
    return JSONResponse({"revision": row.revision, "state": row.state, "by": by, "mine": by == session.user})


@router.get("/items/{slug}/difference")
def difference(web: Desk, slug: str, target: Annotated[str, Query(max_length=400)]) -> Response:
    """The machine's draft against the text as it stands, by words."""
    pieces = web.store.difference(slug, target)
    return JSONResponse([{"op": piece.op, "text": piece.text} for piece in pieces])


@router.get("/items/{slug}/preview")
def preview(web: Desk, slug: str) -> Response:
    """The page as readers would get it, under a policy that admits its one style sheet and no script."""
    text = to_html(web.store.item(slug).record)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256((style[1] if style else "").encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
    return HTMLResponse(text, headers={"content-security-policy": policy})


@router.get("/items/{slug}/history")
def item_history(
    web: Desk, session: SignedIn, slug: str, before: Annotated[int | None, Query(ge=1, le=2**53)] = None
) -> Response:
    row = web.store.item(slug).row
    events = web.store.history(slug, limit=100, before=before)
    return page("history", session, row=row, lines=history_lines(events), more=_more(events))


@router.get("/history")
def history(
    web: Desk, session: SignedIn, before: Annotated[int | None, Query(ge=1, le=2**53)] = None
) -> Response:  # fmt: skip
    """Everything that anybody did, the newest first."""
    events = web.store.history(None, limit=100, before=before)
    return page("history", session, here="/history", row=None, lines=history_lines(events), more=_more(events))


def _more(events: tuple[object, ...]) -> int | None:
    return getattr(events[-1], "id", None) if len(events) == 100 else None


@router.get("/statistics")
def statistics(web: Desk, session: SignedIn) -> Response:
    """How often each persona was corrected, and for what."""
    rows = [
        (PERSONAS[found.persona][0], found, [(label(name), count) for name, count in found.beats_edited.items()])
        for found in web.store.feedback()
    ]
    return page("statistics", session, here="/statistics", rows=rows)


@router.get("/exports/{name}")
def export(web: Desk, name: str) -> Response:
    """What editors did, for who trains or measures the panel: `gold.zip` and `draft-against-final.csv`."""
    import io
    import tempfile
    import zipfile
    from pathlib import Path

    if name not in ("gold.zip", "draft-against-final.csv"):
        return RedirectResponse("/statistics", 303)
    with tempfile.TemporaryDirectory() as folder:
        paths = web.store.export(Path(folder))
        if name.endswith(".csv"):
            data, kind = paths[name].read_bytes(), "text/csv; charset=utf-8"
        else:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for inside, path in sorted(paths.items()):
                    # no clock in it: the same work gives the same bytes
                    archive.writestr(zipfile.ZipInfo(inside, (1980, 1, 1, 0, 0, 0)), path.read_bytes())
            data, kind = packed.getvalue(), "application/zip"
    return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})
