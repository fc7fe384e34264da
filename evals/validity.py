"""Is a review valid? One judge for everyone's, on its text alone.

It shares no code with `panel.validate` and `panel.grounding`, which our own reviews are made to pass. Two levels:

    well-formed   the text holds a JSON object with a decision and, for every beat, some text and a list of ids that
                  the dossier has
    grounded      and every beat cites evidence, no name or number comes from outside the dossier (evals/grounded.py),
                  nothing runs in a loop, and no two beats are the same

The first asks nothing that a JSON schema does not give, and forgives text around the JSON and beats as a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evals.grounded import Count, check
from panel.records import Dossier, Persona

#: A phrase of up to eight words, three times in a row.
_AGAIN = re.compile(r"(\b\w+(?:\W+\w+){0,7}?)(?:\W+\1\b){2}", re.IGNORECASE)
#: A text of a dozen words or more in which less than half are different ones.
_MIN_WORDS, _MIN_DIFFERENT = 12, 0.5
_LONGEST_WORD = 60


@dataclass(frozen=True)
class Verdict:
    """`faults` says what a review lacks, the first of them what it failed at."""

    well_formed: bool
    grounded: bool
    faults: tuple[str, ...] = ()


def judge(text: str, dossier: Dossier, words: set[str], persona: Persona) -> Verdict:
    """Judge one review.

    Args:
        words: those of the dossier, as `evals.grounded.dossier_words` reads them from its file.
    """
    said = parsed(text)
    if said is None:
        return Verdict(False, False, ("no JSON object",))
    faults = []
    if str(said.get("decision")).lower() not in ("ship", "skip"):
        faults.append("no decision")
    beats = _beats(said.get("beats"))
    ids = {item.id for item in dossier.evidence}
    for spec in persona.beats:
        beat = beats.get(spec.name)
        if beat is None or not isinstance(beat.get("text"), str) or not beat["text"].strip():
            faults.append("a beat is missing or empty")
        elif not isinstance(beat.get("cites"), list) or not all(cite in ids for cite in map(str, beat["cites"])):
            faults.append("a beat cites what there is not")
    if faults:
        return Verdict(False, False, tuple(dict.fromkeys(faults)))
    texts = [beats[spec.name]["text"] for spec in persona.beats]
    if not all(beats[spec.name]["cites"] for spec in persona.beats):
        faults.append("a beat cites nothing")
    if any(is_loop(one) for one in texts):
        faults.append("a text in a loop")
    if len({" ".join(one.lower().split()) for one in texts}) < len(texts):
        faults.append("the same beat twice")
    count = Count()
    for one in texts:
        check(one, words, persona, count, "")
    if count.missing:
        faults.append("a name or number from outside the dossier")
    return Verdict(True, not faults, tuple(faults))


def parsed(text: str) -> dict[str, Any] | None:
    """The JSON object in `text`: all of it, or from the first { to the last }."""
    for candidate in (text, text[text.find("{") : text.rfind("}") + 1]):
        try:
            found = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _beats(found: Any) -> Mapping[str, dict[str, Any]]:
    """Beats by name, from an object or from a list of objects with a name."""
    if isinstance(found, list):
        found = {str(beat.get("name")): beat for beat in found if isinstance(beat, dict)}
    return {name: beat for name, beat in found.items() if isinstance(beat, dict)} if isinstance(found, dict) else {}


def is_loop(text: str) -> bool:
    """Whether a model got stuck in `text`: one phrase again and again, few different words, or a word without end."""
    words = text.lower().split()
    few = len(words) >= _MIN_WORDS and len(set(words)) < _MIN_DIFFERENT * len(words)
    return few or max(map(len, words), default=0) > _LONGEST_WORD or _AGAIN.search(text) is not None
