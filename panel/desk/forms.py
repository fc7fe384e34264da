"""A dossier out of a form's fields, with every problem beside its field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from panel.desk.types import FormProblem
from panel.inputs import explain
from panel.records import Dossier, strip_unprintable

_MAX_FIELD, _MAX_ROWS = 10_000, 200
_LISTS = {"evidence": ("kind", "text", "source"), "pricing": ("plan", "price")}


def build_dossier(form: Mapping[str, Any]) -> tuple[Dossier | None, tuple[FormProblem, ...]]:
    """A valid dossier, or everything that is wrong with the form.

    Args:
        form: the fields of dossier/1. Values may be text (a price "12.50"); optional fields may be empty; rows of
            `evidence` and `pricing` in which nothing is filled in are passed over; `rivals` may be one text with
            commas. Evidence without an id gets the next one.
    """
    data: dict[str, Any] = {"schema": "dossier/1"}
    rows: dict[str, list[int]] = {}
    for name, value in form.items():
        if name in _LISTS:
            filled = _filled(name, value)
            rows[name] = [place for place, _ in filled]
            data[name] = [row for _, row in filled]
        elif name == "rivals" and isinstance(value, str):
            data[name] = [rival.strip() for rival in value[:_MAX_FIELD].split(",") if rival.strip()]
        elif name != "schema" and value not in ("", None):
            data[str(name)[:60]] = _bounded(value)
    _number(data.get("evidence", []))
    try:
        return Dossier.model_validate(data), ()
    except ValidationError as error:
        problems = error.errors(include_url=False)
        inside = {problem["loc"][0] for problem in problems if len(problem["loc"]) > 1}
        # a list is also called too short for want of the rows that are wrong, which are told one by one
        told = (p for p in problems if p["type"] != "too_short" or p["loc"][0] not in inside)
        found = (explain(problem, Dossier) for problem in told)
        return None, tuple(
            FormProblem(strip_unprintable(_in_form(field, rows)), strip_unprintable(message), strip_unprintable(fix))
            for field, message, fix in found
        )


def _filled(name: str, value: Any) -> list[tuple[int, Any]]:
    """The rows that hold something, each with its place in the form."""
    listed = list(value)[: _MAX_ROWS + 1] if isinstance(value, list | tuple) else []
    found: list[tuple[int, Any]] = []
    for place, row in enumerate(listed):
        if not isinstance(row, Mapping):
            found.append((place, row))
        elif any(row.get(field) not in ("", None) for field in _LISTS[name]):
            kept = {str(field)[:60]: _bounded(each) for field, each in row.items() if each not in ("", None)}
            found.append((place, kept))
    return found


def _bounded(value: Any) -> Any:
    # what is longer than any field may be is refused by its length, without being looked through
    return value[: _MAX_FIELD + 1] if isinstance(value, str) else value


def _number(evidence: list[Any]) -> None:
    taken = {row.get("id") for row in evidence if isinstance(row, dict)}
    number = 0
    for row in evidence:
        if isinstance(row, dict) and "id" not in row:
            number += 1
            while f"E{number}" in taken:
                number += 1
            row["id"] = f"E{number}"


def _in_form(field: str, rows: Mapping[str, list[int]]) -> str:
    """`field` with the number of the form's row in place of the dossier's."""
    name, _, rest = field.partition(".")
    place, dot, last = rest.partition(".")
    if name in rows and place.isdigit() and int(place) < len(rows[name]):
        return f"{name}.{rows[name][int(place)]}{dot}{last}"
    return field
