"""The ordinary words that a reviewer may use: those of the texts that were written for this project.

    python -m evals.words          writes panel/ordinary_words.txt

A model's vocabulary has pieces of words ("happ", "compat") that look like words to a grammar. A lower-case word is
ordinary if it stands in the train cases, the training texts or the personas, each of which people have read. What a
dossier says may be used beside these in any case.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from evals.shared import CASES, note
from panel.files import write_atomic
from panel.gold import load_cases
from panel.grounding import NUMBER_WORDS
from panel.personas import load_personas

ADAPTER = CASES.parent / "adapter"
TARGET = Path(__file__).resolve().parents[1] / "panel" / "ordinary_words.txt"
_WORD = re.compile(r"(?<![\w'’-])[a-z]+(?![\w'’-])")


def texts() -> list[str]:
    """Everything that the words are taken from."""
    found = []
    for case in load_cases(CASES, "train"):
        dossier = case.dossier
        found += [dossier.tagline, dossier.summary, *(item.text for item in dossier.evidence)]
    for name, field in (("facts", "text"), ("beats", "text")):
        with (ADAPTER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            found += [row[field] for row in csv.DictReader(file)]
    for persona in load_personas():
        found.append(persona.voice)
        for beat in persona.beats:
            found += [beat.question, beat.silent, *(stem for stems in beat.stem.values() for stem in stems)]
    return found


def ordinary_words() -> list[str]:
    """Sorted; numbers are not among them, and of single letters only "a"."""
    words = {word for text in texts() for word in _WORD.findall(text)}
    return sorted(word for word in words if word not in NUMBER_WORDS and (len(word) > 1 or word == "a"))


def main() -> None:
    words = ordinary_words()
    write_atomic(TARGET, "\n".join(words) + "\n")
    note(f"{len(words)} words written to {TARGET.name}")


if __name__ == "__main__":
    main()
