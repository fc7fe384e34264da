"""Boasts: words that praise and say nothing that could be checked.

A vendor's "game-changing" in front of every noun is no evidence, and must not weigh. Before a fact is weighed these
words are taken out of it (`without_boasts`); a sentence that holds nothing else is no fact (`only_boasts`). The words
stand in boasts.txt; those that may state a fact ("fast", "secure", "first") do not. Pages and quotes keep the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def _sections() -> dict[str, list[str]]:
    """The entries of boasts.txt under each of its headings."""
    found: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("boasts.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            entries = found.setdefault(line.strip("# "), [])
        elif line.strip():
            entries.append(line.strip())
    return found


def _any_of(entries: Iterable[str]) -> str:
    return "|".join(re.escape(entry) for entry in sorted(entries, key=lambda entry: (-len(entry), entry)))


_WORDS = _sections()
_BOAST = (
    r"(?:(?:truly|really|simply|absolutely|utterly|quite|very|most) )?"
    rf"(?<![\w-])(?:{_any_of([*_WORDS['adjectives'], *_WORDS['adverbs']])})(?![\w-])"
)
#: No more than six in a row: what is longer is taken out in parts, and no text can make the search slow.
_BOASTS = rf"{_BOAST}(?:(?:,? and |, ?| ){_BOAST}){{0,5}}"
#: After these a boast stood by itself: "so lovely that", "coveted by".
_NO_NOUN = r"(?:that|by|to|in|on|of|and|or|but|than|for|when|while|if|as|at|with|from|enough|is|are|was|were)\b"
#: One boast or several before the word that they praise: "a truly stunning, world-class parser".
_BEFORE = re.compile(rf"(, )?{_BOASTS} (?=[^\W_])(?!{_NO_NOUN})", re.IGNORECASE)
#: "Amazing:" and "Stunning, world-class:" before what a sentence says.
_LEAD = re.compile(rf"^{_BOASTS}\s*[:–—-]\s*(\w)", re.IGNORECASE)
#: "No elegant way to undo" denies the way, not its elegance alone, and must not become "no way".
_DENIED = re.compile(
    r"(?:\b(?:no|not|never|without|neither|nor|hardly|less|least|few|any)|n['’]t)\s+(?:an?\s+|the\s+)?$", re.I
)
_SENTENCE_END = re.compile(r"[.!?:]\s+$")
_ARTICLE = re.compile(r"\b(an?)( )\x00(?=(\w))", re.IGNORECASE)
#: Praise where nothing else is said: "simply the best, everyone agrees".
_SUPERLATIVES = frozenset({"best", "greatest"})
#: Words that a sentence may have beside boasts, and still say nothing.
_EMPTY = frozenset(
    "a an the this that these it its it's is are was be been has have in of to for from at by on with without and "
    "or but so as than just simply really truly very ever every most more much all any one ones no nothing nobody "
    "everyone everybody anyone everything here there we you they i them us will can would could best better "
    "greatest good great nice sheer pure absolute total thing things way ways word words world beyond agrees agree "
    "comes come close like what how such too our your their out ten".split()
)
_PRAISE = re.compile(
    rf"(?<![\w-])(?:{_any_of(entry for entries in _WORDS.values() for entry in entries)})(?![\w-])", re.IGNORECASE
)


def without_boasts(text: str) -> str:
    """`text` without the boasts that stand before another word; what is left is a sentence still.

    A capitalised word within a sentence is a name and stays ("Stunning Labs"), and so does what is denied ("no elegant
    way").
    """

    def drop(found: re.Match[str]) -> str:
        if _DENIED.search(led[: found.start()]):
            return found.group()
        boast = found.group().removeprefix(", ")
        if not boast[0].isupper():
            return " \x00" if found[1] else "\x00"
        starts = found.start() == 0 or _SENTENCE_END.search(led[: found.start()]) is not None
        return "\x00\x01" if starts else found.group()

    led = _LEAD.sub(lambda found: found[1].upper(), text)
    plain = _BEFORE.sub(drop, led)
    if "\x00" not in plain:
        return plain
    plain = _ARTICLE.sub(lambda m: m[1][0] + ("n" if m[3].lower() in "aeiou" else "") + m[2], plain)
    return re.sub(r"\x00\x01(\w)", lambda m: m[1].upper(), plain).replace("\x00", "")


def only_boasts(sentence: str) -> bool:
    """Whether a sentence praises and says nothing: a boast or a superlative, and no word that could be a fact."""
    rest, boasts = _PRAISE.subn(" ", sentence.replace("’", "'"))
    words = set(re.findall(r"[\w'-]+", rest.lower()))
    return (boasts > 0 or not words.isdisjoint(_SUPERLATIVES)) and words <= _EMPTY
