"""What a sentence about a tool may name: the words of its dossier, and ordinary ones.

Names and numbers come from the dossier or from a persona's short list of terms. The grammar made here admits no
others, and `ungrounded` finds any that came another way (through an editor, an engine without grammars).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from panel.records import Dossier, Persona
from panel.requests import Grammar

# A word as people write it: letters and digits, with marks inside (WebAssembly, Apache-2.0, $20/month, 50+, C++).
_WORD = re.compile(r"[$€£]?[^\W_](?:[\w.,'’/&+%-]*[\w+%#])?")
_SENTENCE_END = re.compile(r"[.!?:;\"“”(]\s*$")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z'’-]*")

MAX_WORDS = 24

#: Stands before a quoted clause where a noun has to: "It holds its own through this: queries run in parallel."
NOUN_FOR_CLAUSE = "this: "
#: Number words are lower-case, and still numbers: they are admitted only where a dossier has them. "one" is also a
#: pronoun and stays out, "second" a moment.
NUMBER_WORDS = frozenset(
    "zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands "
    "million millions billion billions trillion dozen dozens twice thrice double doubled triple tripled half halves "
    "quarter quarters percent percentage third thirds fourth fifth sixth seventh eighth ninth tenth tenfold".split()
)


@dataclass(frozen=True)
class Grounds:
    """The vocabulary of one dossier.

    Attributes:
        names: capitalised names and numbers as the dossier writes them, longest first; a number keeps the word
            after it, so that "50 tools" cannot become "50 banks".
        words: its lower-case words.
        tokens: every single word of the dossier, as written, for checking.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    tokens: frozenset[str]


def dossier_texts(dossier: Dossier) -> list[str]:
    """Every text of the dossier that a reviewer may rely on."""
    texts = [dossier.name, dossier.tagline, dossier.summary, dossier.entry_price, dossier.category]
    texts += [dossier.license] if dossier.license else []
    texts += [item.text for item in dossier.evidence]
    texts += list(dossier.rivals)
    texts += [f"{p.plan}: {format_price(p.price, p.currency)} per {p.per}, {p.period}" for p in dossier.pricing]
    return texts


def format_price(amount: float, currency: str) -> str:
    """`20 USD` as the dossier's prices are written everywhere: $20, €4.50, 12 CHF, $0.002."""
    exact = Decimal(repr(round(amount, 6))).normalize()  # rounded: a sum may be 0.30000000000000004
    places = max(0, -int(exact.as_tuple().exponent))
    number = f"{exact:,.{2 if places == 1 else places}f}"
    symbol = {"USD": "$", "EUR": "€", "GBP": "£"}.get(currency)
    return f"{symbol}{number}" if symbol else f"{number} {currency}"


def grounds(
    dossier: Dossier, persona: Persona, ordinary: Collection[str], cites: Collection[str] | None = None
) -> Grounds:
    """What a beat of `persona` about `dossier` may name: all that the dossier does, or only what `cites` do.

    A word that is capitalised only because it starts a sentence is not a name: it counts as one if it stands
    capitalised elsewhere, or if its lower-case form is not among the `ordinary` words.
    """
    texts = dossier_texts(dossier)
    whole = {dossier.name, *dossier.rivals}
    if cites is not None:
        texts = [dossier.name, *(item.text for item in dossier.evidence if item.id in cites)]
        named = " ".join(texts)
        whole = {n for n in whole if n == dossier.name or re.search(rf"(?<!\w){re.escape(n)}(?!\w)", named)}
    names: set[str] = set(persona.terms) | whole
    words: set[str] = set()
    tokens: set[str] = set(persona.terms)
    openers: set[str] = set()
    for text in texts:
        found = list(_WORD.finditer(text))
        tokens.update(m.group() for m in found)
        run: list[re.Match[str]] = []
        for index, match in enumerate(found):
            word = match.group()
            starts_sentence = index == 0 or _SENTENCE_END.search(text[: match.start()]) is not None
            if _numeric(word):
                before = found[index - 1] if index and _joined(text, found[index - 1], match) else None
                if before is None or not _numeric(before.group()):
                    owner = _owner(text, before, word, ordinary) if before is not None else ""
                    names.add(f"{owner} {word}" if owner else _quantity(text, found, index))
            elif word != word.lower():
                plain_opener = starts_sentence and word == word.capitalize()
                (openers if plain_opener else names).add(word)
            elif len(word) > 1:
                words.add(word)
            # A run of capitalised words is one name: "Hugging Face", not "Hugging" alone.
            joins = run and text[run[-1].end() : match.start()] == " "
            if word[:1].isupper() and not starts_sentence:
                run = [*run, match] if joins else [match]
                if len(run) > 1:
                    names.add(text[run[0].start() : match.end()])
                    names.difference_update(m.group() for m in run)
            else:
                run = []
    names.update(o for o in openers if o.lower() not in ordinary and o.lower() not in words)
    names -= {part for name in whole if " " in name for part in name.split()} - whole
    return Grounds(tuple(sorted(names, key=lambda n: (-len(n), n))), tuple(sorted(words)), frozenset(tokens))


def _numeric(word: str) -> bool:
    return word.lower() in NUMBER_WORDS or re.search(r"\d", word) is not None


def _joined(text: str, one: re.Match[str], other: re.Match[str]) -> bool:
    return text[one.end() : other.start()] == " "


def _owner(text: str, before: re.Match[str], number: str, ordinary: Collection[str]) -> str:
    """The word that a version number belongs to (Apache 2.0, version 3), "" where the number counts something."""
    word = before.group()
    if word.lower() == "version":
        return "version"
    starts_sentence = before.start() == 0 or _SENTENCE_END.search(text[: before.start()]) is not None
    # "Sorting 40 million rows" counts, "Apache 2.0 covers" does not
    counts = starts_sentence and ("." not in number or word.lower() in ordinary)
    name = word[:1].isupper() and not counts
    return word if name else ""


def _quantity(text: str, found: list[re.Match[str]], index: int) -> str:
    """The number that starts at `index`, all of it, with the word after it: 2.3 million vectors."""
    last = index
    while last + 1 < len(found) and _numeric(found[last].group()) and _joined(text, found[last], found[last + 1]):
        last += 1
    opener = found[index].group()
    start = opener.lower() if opener.lower() in NUMBER_WORDS else opener
    return start + text[found[index].end() : found[last].end()]


def sentence_grammar(ground: Grounds, ordinary: Collection[str]) -> Grammar:
    """The rest of a sentence after its stem, ending in a full stop.

    Ordinary words are free (the engine says which those are: `ordinary_word`), everything else is from `ground`.
    There is no least number of words: a model made to go on ends in nonsense.
    """
    extra = [w for w in ground.words if w not in ordinary]
    return Grammar("words", json.dumps({"terms": [*ground.names, *extra], "max_words": MAX_WORDS}, ensure_ascii=False))


def wants_noun(stem: str) -> bool:
    """Whether a noun has to follow these opening words, and no clause can: "It holds its own through"."""
    return re.search(r"\b(?:with|over|through|by|under|given|to|is|are)\s*$", stem, re.IGNORECASE) is not None


def quotation_grammar(fact: str, names: Collection[str], stem: str = "") -> Grammar:
    """One sentence only: `fact` as the rest of one that starts with `stem`. Its first word is written small, unless it
    is a name; where the stem wants a noun, `NOUN_FOR_CLAUSE` comes first.
    """
    first = re.match(r"[^\W_][^\s,;:]*", fact)
    is_name = first is None or any(n.split()[0] == first.group() for n in names) or not _PLAIN.fullmatch(first.group())
    text = fact if is_name or fact[1:2].isupper() else fact[0].lower() + fact[1:]
    lead = f" {NOUN_FOR_CLAUSE}" if wants_noun(stem) else " "
    return Grammar("lark", f"start: {json.dumps(lead + text.rstrip('.!? ') + '.', ensure_ascii=False)}\n")


def ungrounded(text: str, ground: Grounds, allowed: Iterable[str] = ()) -> list[str]:
    """The capitalised names and numbers in `text` that the dossier does not have.

    The first word of a sentence may be capitalised. `allowed` are further texts that may be quoted (the stem).
    """
    return [match.group() for match in find_ungrounded(text, ground, allowed)]


def find_ungrounded(text: str, ground: Grounds, allowed: Iterable[str] = ()) -> list[re.Match[str]]:
    """`ungrounded`, with the place of each word in `text`."""
    known = set(ground.tokens) | {m.group() for a in allowed for m in _WORD.finditer(a)}
    lower = {t.lower() for t in known}
    missing = []
    for match in _WORD.finditer(text):
        word = match.group()
        if word == word.lower() and not re.search(r"\d", word) and word not in NUMBER_WORDS:
            continue
        starts_sentence = match.start() == 0 or re.search(r"[.!?]\s+$", text[: match.start()]) is not None
        number = word.lower() in NUMBER_WORDS
        opener = starts_sentence and not number and _PLAIN.fullmatch(word) and word[1:] == word[1:].lower()
        if word in known or opener or ((starts_sentence or number) and word.lower() in lower):
            continue
        missing.append(match)
    return missing
