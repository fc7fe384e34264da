"""What the text of a persona says differently: field by field, and word by word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from panel.records import Persona

#: What a field reaches. The lens weighs pulls and `audience` makes them; examples are shown to models that have no
#: adapter; the rest is read when a review is written.
Reach = Literal["verdict", "verdict without an adapter", "quote", "nothing"]
_REACH: dict[str, Reach] = {
    "audience": "verdict",
    "lens": "verdict",
    "examples": "verdict without an adapter",
    "candidates": "nothing",
    "name": "nothing",
}


@dataclass(frozen=True)
class Change:
    """One field that differs (`lens.docs`, `beats.primitive.stem.ship`, `voice`); "" where a side lacks it."""

    field: str
    before: str
    after: str

    @property
    def reach(self) -> Reach:
        return _REACH.get(self.field.split(".")[0], "quote")


@dataclass(frozen=True)
class Words:
    """A run of words of both texts, with the white space that follows them there.

    `changed` says that they are not the same words; "" where a text has none here.
    """

    before: str
    after: str
    changed: bool


def changes(before: Persona, after: Persona) -> list[Change]:
    """The fields that differ, in the order of the record; calibrations belong to a model and are left out."""
    left, right = (_plain(persona) for persona in (before, after))
    return [Change(*found) for field in left for found in _walk(field, left[field], right[field])]


def word_changes(before: str, after: str) -> list[Words]:
    """Both texts as runs of words, which put together are the texts; white space alone is no change."""
    left, right = (re.findall(r"\S+\s*|\s+", text) for text in (before, after))
    bare_left, bare_right = ([word.strip() for word in words] for words in (left, right))
    matcher = difflib.SequenceMatcher(None, bare_left, bare_right, autojunk=False)
    return [Words("".join(left[a:b]), "".join(right[c:d]), tag != "equal") for tag, a, b, c, d in matcher.get_opcodes()]


def _plain(persona: Persona) -> dict[str, Any]:
    data = persona.model_dump(mode="json", exclude={"schema_", "slug", "calibration"})
    data["beats"] = {beat["name"]: beat for beat in data["beats"]}
    return data


def _walk(field: str, before: Any, after: Any) -> Iterator[tuple[str, str, str]]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _walk(f"{field}.{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _walk_lists(field, before, after)
    else:
        yield field, _said(before), _said(after)


def _walk_lists(field: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[str, str, str]]:
    """Item by item, where items that moved because one was put in before them are no change. Counted from 1."""
    matcher = difflib.SequenceMatcher(None, [_said(x) for x in before], [_said(x) for x in after], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            continue
        for k in range(max(b - a, d - c)):
            left, right = (before[a + k] if a + k < b else None), (after[c + k] if c + k < d else None)
            place = a + k + 1 if left is not None else c + k + 1
            yield f"{field}.{place}", _said(left), _said(right)


def _said(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, dict) and set(value) == {"fact", "label"}:
        return f"{value['label']}: {value['fact']}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_said(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_said(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
