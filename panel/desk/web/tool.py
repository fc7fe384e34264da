"""The form for a new tool: a dossier by hand or from a pasted text, the rival, and the start of the panel."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Depends, Response
from starlette.responses import JSONResponse, RedirectResponse

from panel.desk import build_dossier, candidates
from panel.desk.types import FieldError, FormProblem, NotFound
from panel.desk.web.context import Change, Changing, Desk, SignedIn, page, signed_in
from panel.records import KINDS, Dossier

router = APIRouter(dependencies=[Depends(signed_in)])

TEXTS = ("name", "slug", "category", "tagline", "summary", "entry_price", "license")
PLAN = ("plan", "price", "currency", "per", "period")
FACT = ("id", "kind", "text", "source")
PERIODS = ("once", "month", "year")
#: Rows that a form may have; a dossier takes as many.
MAX_FACTS, MAX_PLANS = 200, 20

_ROW = re.compile(r"(evidence|pricing)\.(\d{1,4})\.([a-z]+)")


def _rows(change: Change) -> dict[str, list[dict[str, str]]]:
    """The numbered rows of the form, in their order, as people sent them."""
    found: dict[str, dict[int, dict[str, str]]] = {"evidence": {}, "pricing": {}}
    for name in dict.fromkeys(change.form):
        match = _ROW.fullmatch(name)
        if match and match[3] in (*FACT, *PLAN, "keep"):
            found[match[1]].setdefault(int(match[2]), {})[match[3]] = change.text(name)
    if len(found["evidence"]) > MAX_FACTS + 50 or len(found["pricing"]) > MAX_PLANS + 5:
        raise FieldError("these are too many rows", field="evidence", fix=f"keep at most {MAX_FACTS} facts")
    return {kind: [row for _, row in sorted(rows.items())] for kind, rows in found.items()}


def _values(change: Change) -> dict[str, Any]:
    """The form as it is shown again."""
    values: dict[str, Any] = {name: change.text(name) for name in TEXTS}
    values |= {"rivals": change.text("rivals"), "rival": change.text("rival"), "paste": change.text("paste")}
    values |= {"ship": change.text("ship"), "total": change.text("total"), "source": change.text("source")}
    return values | _rows(change)


def _blank() -> dict[str, Any]:
    empty = dict.fromkeys((*TEXTS, "rivals", "rival", "paste", "ship", "total", "source"), "")
    return {**empty, "evidence": [_fact()], "pricing": []}


def _fact(id: str = "E1", kind: str = "capability", text: str = "", source: str = "") -> dict[str, str]:
    return {"id": id, "kind": kind, "text": text, "source": source, "keep": "1"}


def _built(values: dict[str, Any]) -> tuple[Dossier | None, tuple[FormProblem, ...]]:
    """The dossier of the form without what was dropped; problems name the rows as the form numbers them."""
    kept = [
        place for place, row in enumerate(values["evidence"])
        if row.get("keep") == "1" and (row.get("text", "").strip() or row.get("source", "").strip())
    ]  # fmt: skip
    plans = [place for place, row in enumerate(values["pricing"]) if row.get("plan", "").strip()]
    data: dict[str, Any] = {"schema": "dossier/1"} | {name: values[name] for name in TEXTS}
    data["license"] = values["license"].strip() or None
    data["rivals"] = [line.strip() for line in values["rivals"].split("\n") if line.strip()]
    data["community"] = {"ship": values["ship"].strip() or "0", "total": values["total"].strip() or "0"}
    data["evidence"] = [{name: values["evidence"][place].get(name, "") for name in FACT} for place in kept]
    data["pricing"] = [{name: values["pricing"][place].get(name, "") for name in PLAN} for place in plans]
    dossier, problems = build_dossier(data)
    if any(p.field.startswith("evidence.") for p in problems):  # a row that is wrong does not count as a row either
        problems = tuple(p for p in problems if p.field != "evidence")
    return dossier, tuple(FormProblem(_placed(p.field, kept, plans), p.problem, p.fix) for p in problems)


def _placed(field: str, kept: list[int], plans: list[int]) -> str:
    match = re.fullmatch(r"(evidence|pricing)\.(\d+)(\..*)?", field)
    if not match:
        return {"community.ship": "ship", "community.total": "total", "community": "ship"}.get(field, field)
    places = kept if match[1] == "evidence" else plans
    place = int(match[2])
    return f"{match[1]}.{places[place] if place < len(places) else place}{match[3] or ''}"


def _next_id(values: dict[str, Any]) -> int:
    taken = [int(row["id"][1:]) for row in values["evidence"] if re.fullmatch(r"E[1-9]\d{0,2}", row.get("id", ""))]
    written = [row for row in values["evidence"] if row.get("text", "").strip()]
    return max(taken, default=0) + 1 if written else 1


def _form(
    web: Desk, session: Any, values: dict[str, Any], problems: tuple[FormProblem, ...] = (), *, status: int = 200,
    notes: tuple[str, ...] = (),
) -> Response:  # fmt: skip
    by_field: dict[str, str] = {}
    for problem in problems:
        by_field.setdefault(problem.field, f"{problem.problem}. {problem.fix[:1].upper()}{problem.fix[1:]}.")
    return page(
        "new", session, status=status, here="/new", values=values, problems=by_field, notes=notes, kinds=KINDS,
        periods=PERIODS, tools=web.store.known_tools(),
    )  # fmt: skip


@router.get("/new")
def new(web: Desk, session: SignedIn) -> Response:
    return _form(web, session, _blank())


@router.post("/new")
def sent(change: Changing) -> Response:
    """What the button says: cut the pasted text, add an empty row, or start the panel."""
    values = _values(change)
    do = change.text("do")
    if do == "paste":
        first = _next_id(values)
        cut = candidates(values["paste"], first_id=first)
        values["evidence"] = [row for row in values["evidence"] if row.get("text", "").strip()]
        values["evidence"] += [_fact(c.id, c.kind, c.text, values["source"]) for c in cut.candidates]
        values["paste"] = ""
        left = len(cut.dropped)
        notes = [f"{len(cut.candidates)} facts found, {left} sentence{'s' if left != 1 else ''} left out."]
        notes += ["The text was longer than what is read; paste the rest afterwards."] if cut.truncated else []
        return _form(change.web, change.session, values, notes=tuple(notes))
    if do == "fact":
        values["evidence"].append(_fact(f"E{_next_id(values)}"))
        return _form(change.web, change.session, values)
    if do == "plan":
        values["pricing"].append({"currency": "USD", "per": "seat", "period": "month"})
        return _form(change.web, change.session, values)
    return _start(change, values)


def _start(change: Change, values: dict[str, Any]) -> Response:
    dossier, problems = _built(values)
    if dossier is not None and values["rival"] == dossier.slug:
        problems = (FormProblem("rival", "this is the tool itself", "choose another"),)
    if dossier is None or problems:
        return _form(change.web, change.session, values, problems, status=422)
    dossiers = [dossier]
    if values["rival"]:
        dossiers.append(_known(change, values["rival"]))
    change.store.keep_dossier(dossier, user=change.user, note="written at the desk")
    job = change.web.runner.compare(dossiers, change.user)
    return RedirectResponse(f"/runs/{job.id}", 303)


def _known(change: Change, slug: str) -> Dossier:
    if slug not in dict(change.store.known_tools()):
        raise NotFound("there is no such rival")
    return change.store.dossier_versions(slug)[-1].dossier


@router.post("/new/check")
def check(change: Changing) -> Response:
    """Everything that is wrong with the form as it stands."""
    values = _values(change)
    dossier, problems = _built(values)
    if values["rival"] and values["rival"] == values["slug"]:
        problems = (*problems, FormProblem("rival", "this is the tool itself", "choose another"))
    known = values["slug"] in dict(change.store.known_tools())
    told = [{"field": p.field, "problem": p.problem, "fix": p.fix} for p in problems]
    return JSONResponse({"problems": told, "known": known, "whole": dossier is not None and not problems})


@router.post("/new/candidates")
def cut(change: Changing) -> Response:
    """A pasted text, cut into proposed facts."""
    found = candidates(change.text("paste"), first_id=max(1, min(999, change.number("first"))))
    return JSONResponse(
        {
            "candidates": [{"id": c.id, "kind": c.kind, "text": c.text} for c in found.candidates],
            "dropped": [{"text": text[:200], "why": why} for text, why in found.dropped],
            "truncated": found.truncated,
        }
    )
