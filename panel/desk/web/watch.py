"""Watching runs: the list, one run with a lane for each reviewer, and its events as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import StreamingResponse

from panel.desk.types import Forbidden, NotFound, WrongState
from panel.desk.web.context import Changing, Desk, SignedIn, Web, page, signed_in
from panel.desk.web.runs import OVER, Job
from panel.pages.view import PERSONAS

router = APIRouter(prefix="/runs", dependencies=[Depends(signed_in)])

#: Seconds between looks at a run, and between signs of life where nothing happens.
LOOK, ALIVE = 0.15, 10.0

STEPS = {
    "waiting": "waiting for its turn",
    "loading": "loading the model",
    "started": "starting",
    "weigh_evidence": "weighed the evidence",
    "find_evidence": "looked up",
    "read_evidence": "read",
    "list_rivals": "looked at the rivals",
    "price": "worked out the price of",
    "final_answer": "gave its answer to be checked",
    "scored": "done",
    "reused": "kept from an earlier run",
    "unscored": "ended without a verdict",
}


def _job(web: Web, id: str) -> Job:
    job = web.runner.find(id)
    if job is None:
        raise NotFound("there is no such run; the desk remembers runs only while it is up")
    return job


@router.get("")
def runs(web: Desk, session: SignedIn) -> Response:
    return page("runs", session, here="/runs", jobs=web.runner.jobs())


@router.get("/{id}")
def one(web: Desk, session: SignedIn, id: str) -> Response:
    job = _job(web, id)
    events = list(job.events)
    lanes = {
        (dossier.slug, slug): [e for e in events if (e["tool"], e["persona"]) == (dossier.slug, slug)]
        for dossier in job.dossiers
        for slug in job.personas
    }
    return page(
        "run", session, here="/runs", job=job, lanes=lanes, seen=len(events), names=PERSONAS, steps=STEPS,
        over=job.status in OVER, mine=job.by.name == session.user or session.approves,
    )  # fmt: skip


@router.get("/{id}/events")
async def events(request: Request, web: Desk, id: str, seen: int = 0) -> Response:
    """Server-sent events from number `seen` on; the browser says by itself which it had when it comes back."""
    job = _job(web, id)
    last = request.headers.get("last-event-id", "")
    start = int(last) + 1 if last.isascii() and last.isdigit() and len(last) < 9 else max(0, seen)
    return StreamingResponse(_stream(web, job, start), media_type="text/event-stream")


async def _stream(web: Web, job: Job, place: int) -> AsyncIterator[str]:
    quiet = 0.0
    yield "retry: 1000\n\n"
    while not web.runner.closing.is_set():
        # the status first: what is told after it was read is sent below
        over = job.status in OVER and job.events[-1]["what"] == job.status
        for number, event in enumerate(job.events[place:], place):
            # JSON has no line ends, which would end the field
            yield f"id: {number}\ndata: {json.dumps(event | {'result': job.result})}\n\n"
            place, quiet = number + 1, 0.0
        if over:
            return
        await asyncio.sleep(LOOK)
        quiet += LOOK
        if quiet >= ALIVE:
            quiet = 0.0
            yield ": still here\n\n"


@router.post("/{id}/cancel")
def cancel(change: Changing, id: str) -> Response:
    job = _job(change.web, id)
    if job.by.name != change.session.user and not change.session.approves:
        raise Forbidden(f"this run is {job.by.name}’s")
    if not change.web.runner.cancel(job):
        raise WrongState("this run has begun, and cannot be stopped half-way")
    return change.answer({"done": "cancelled"}, then=f"/runs/{id}")
