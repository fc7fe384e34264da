"""Putting a change into a persona's file: the values that differ, and nothing else of how the file is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from panel.errors import SetupError
from panel.personas import parse_persona, persona_sha256
from panel.records import Persona


def rewritten(text: str, after: Persona, path: Path) -> str:
    """The `text` of a persona's file with the audience, the lens and the examples of `after`.

    Comments, order and layout stay as they are. `path` is what messages call the file.

    Raises:
        SetupError: the file is no persona, or what must change is not written there as one plain value.
    """
    before = parse_persona(text, path)
    start = text.index("\n") + 1  # behind the first ---
    front = text[start : text.index("\n---", start - 1)]
    edits = sorted(_edits(yaml.compose(front, yaml.SafeLoader), before, after), reverse=True)
    for first, last, value in edits:
        front = front[:first] + value + front[last:]
    result = text[:start] + front + text[start + len(text[start : text.index("\n---", start - 1)]) :]
    if persona_sha256(parse_persona(result, path)) != persona_sha256(_as_in_file(before, after)):
        raise SetupError(
            "the change cannot be written into this file as it is laid out",
            path=path, fix="write each value of the lens, the audience and each example on one line",
        )  # fmt: skip
    return result


def _as_in_file(before: Persona, after: Persona) -> Persona:
    """`before` with what a search may change."""
    fields = {name: getattr(after, name) for name in ("audience", "lens", "examples")}
    return before.model_copy(update=fields)


def _edits(root: Any, before: Persona, after: Persona) -> Iterator[tuple[int, int, str]]:
    """What to put where: from, to (characters of the front matter), and the new text."""
    if after.audience != before.audience:
        yield _edit(_child(root, "audience"), after.audience)
    for kind, weight in after.lens.items():
        if weight != before.lens[kind]:
            yield _edit(_child(_child(root, "lens"), kind), weight)
    for node, old, new in zip(_child(root, "examples").value, before.examples, after.examples, strict=True):
        if new.fact != old.fact:
            yield _edit(_child(node, "fact"), new.fact)
        if new.label != old.label:
            yield _edit(_child(node, "label"), new.label)


def _edit(node: Any, value: str | float) -> tuple[int, int, str]:
    # a printable line in JSON's quotes is YAML too, also inside brackets
    said = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else f"{value:g}"
    # a folded or literal text ends behind its last line break
    return node.start_mark.index, node.end_mark.index, said + ("\n" if node.style in ("|", ">") else "")


def _child(node: Any, name: str) -> Any:
    return next(value for key, value in node.value if key.value == name)
