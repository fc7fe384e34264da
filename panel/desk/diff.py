"""Two texts compared by words."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Literal

from panel.desk.types import Piece


def by_words(old: str, new: str) -> tuple[Piece, ...]:
    """The pieces that lead from `old` to `new`: `same` and `gone` make up the one, `same` and `new` the other.

    Spaces belong to the word before them, so that the pieces put together are the texts, to the last character.
    """
    a, b = (re.findall(r"\s*\S+\s*|\s+", text) for text in (old, new))
    pieces: list[Piece] = []

    def add(op: Literal["same", "gone", "new"], words: list[str]) -> None:
        if words:
            pieces.append(Piece(op, "".join(words)))

    for op, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if op == "equal":
            add("same", a[i:j])
        else:
            add("gone", a[i:j])
            add("new", b[k:m])
    return tuple(pieces)
