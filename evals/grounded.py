"""Does every name and number of every quote stand in its dossier? Counts them in stored records and reviews.

    python -m evals.grounded outputs/evals/tool-calls      every record and review below a folder
    python -m evals.grounded outputs/a-vs-b/comparison.json

This shares no code with `panel.grounding`, which the drafts are written under: it splits texts at spaces and strips
punctuation. A token with a capital or a digit, or that is a number word, must stand in the dossier, letter for
letter, or be one of the persona's terms. Ids, sources and comments of a dossier do not count as its text. The first
word of a sentence may have its capital for that reason alone; the command lists which words passed that way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from evals.shared import CASES, read_json, report, run
from panel.errors import SetupError
from panel.records import Persona, PersonaSlug

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

# What stands around a word; $, €, £, %, + and # belong to it.
_AROUND = ".,:;!?\"'“”‘’«»()[]{}<>*_…~≈/|=&-"
_SPLIT = re.compile(r"[\s—–]+")
_POSSESSIVE = re.compile(r"['’]s$")
# "one" is also a pronoun, "second" and "third" are also ordinals: left out.
_NUMBER_WORD = re.compile(
    r"(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|billion|trillion|dozen|half|twice)s?"
    r"(?:-\w+)?",
    re.IGNORECASE,
)
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}


@dataclass
class Count:
    """What was looked at, and what was not found."""

    quotes: int = 0
    names: int = 0
    numbers: int = 0
    missing: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    openers: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Quote:
    """One quote of a stored review, and where it is from."""

    where: str
    tool: str
    persona: PersonaSlug
    seed: int
    text: str
    dossier_sha256: str


def tokens(text: str) -> Iterator[tuple[str, bool]]:
    """The words of `text` without the punctuation around them, and whether each one starts a sentence."""
    starts = True
    for chunk in _SPLIT.split(text):
        word = _POSSESSIVE.sub("", chunk.strip(_AROUND))
        if word:
            yield word, starts
            starts = False
        if re.search(r"[.!?][\"'”’)]*$", chunk):
            starts = True


def dossier_words(dossier: dict[str, Any]) -> set[str]:
    """Every word of the dossier's text, as written."""
    lines = ("name", "tagline", "summary", "category", "entry_price", "license")
    texts = [str(dossier.get(key) or "") for key in lines]
    texts += [str(rival) for rival in dossier.get("rivals") or ()]
    texts += [str(item["text"]) for item in dossier["evidence"]]
    for plan in dossier.get("pricing") or ():
        amount, currency = float(plan["price"]), str(plan.get("currency", "USD"))
        figures = {f"{amount:g}", f"{amount:,.0f}" if amount == int(amount) else f"{amount:,.2f}"}
        texts += [str(plan["plan"]), str(plan.get("per", "")), currency, *figures]
        texts += [_SYMBOLS[currency] + figure for figure in figures if currency in _SYMBOLS]
    return {word for text in texts for word, _ in tokens(text)}


def check(text: str, words: set[str], persona: Persona, count: Count, where: str) -> None:
    """Count the names and numbers of one quote, and note those that are neither in `words` nor terms of the persona.

    The persona's stems, which beats start with, and what it says where a dossier is silent excuse only what stands as
    it does there: a first word, and a number word after the same word ("first ten").
    """
    known = words | {word for term in persona.terms for word, _ in tokens(term)}
    lower = {part for word in known for part in (word.lower(), *word.lower().split("-"))}
    said = [text for beat in persona.beats for text in (*chain(*beat.stem.values()), beat.silent)]
    stems = [[word for word, _ in tokens(text)] for text in said]
    firsts = {stem[0] for stem in stems if stem}
    pairs = {(a.lower(), b.lower()) for stem in stems for a, b in pairwise(stem)}
    count.quotes += 1
    previous = ""
    for word, starts in tokens(text):
        pair, previous = (previous, word.lower()), word.lower()
        is_number = any(c.isdigit() for c in word)
        if is_number or _NUMBER_WORD.fullmatch(word):
            count.numbers += 1
            # a number in digits is written in one way, a number in words may start a sentence
            found = word in known if is_number else word.lower() in lower or pair in pairs
        elif word != word.lower():
            if starts and word in firsts:
                continue
            if starts and word not in known and word == word.capitalize():
                count.openers[word] += 1
                continue
            count.names += 1
            found = word in known
        else:
            continue
        if not found:
            count.missing.append(f"{where}: {word!r} in {text!r}")


def quotes_in(paths: Sequence[Path]) -> list[Quote]:
    """Every quote of the records and reviews under `paths`; one that a record and a review both hold counts once.

    Raises:
        SetupError: a path is missing, or a file named by itself holds neither.
    """
    found: dict[tuple[str, str, int, str], Quote] = {}
    for path in paths:
        if not path.exists():
            raise SetupError("there is no such file or folder", path=path, fix="run a comparison first")
        for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
            data = read_json(file)
            pairs: list[tuple[str, dict[str, Any]]] = []
            if isinstance(data, dict) and str(data.get("schema", "")).startswith("comparison/"):
                pairs = [(tool["slug"], review) for tool in data["tools"] for review in tool["reviews"]]
            elif isinstance(data, dict) and {"persona", "quote", "provenance"} <= set(data):
                pairs = [(file.name.split(".")[0], data)]
            elif file == path:
                raise SetupError("this is neither a record nor a review", path=path, fix="name a comparison.json")
            for tool, review in pairs:
                if review["status"] != "scored":
                    continue
                made = review["provenance"]
                quote = Quote(str(file), tool, review["persona"], made["seed"], review["quote"], made["dossier_sha256"])
                found.setdefault((tool, quote.persona, quote.seed, quote.text), quote)
    return list(found.values())


def count_quotes(quotes: Sequence[Quote], cases: Path) -> Count:
    """Hold every quote against the dossier of its tool in `cases`.

    A quote from another version of the dossier cannot be judged; it is listed as stale.

    Raises:
        SetupError: there is no dossier of a tool.
    """
    from panel.dossier import dossier_sha256, load_dossier
    from panel.personas import load_personas

    personas = {persona.slug: persona for persona in load_personas()}
    read: dict[str, tuple[str, set[str]]] = {}
    count = Count()
    for quote in quotes:
        if quote.tool not in read:
            path = cases / quote.tool / "dossier.yaml"
            # loading it the project's way is for its hash alone
            sha256 = dossier_sha256(load_dossier(path))
            read[quote.tool] = sha256, dossier_words(yaml.safe_load(path.read_text(encoding="utf-8")))
        sha256, words = read[quote.tool]
        if sha256 != quote.dossier_sha256:
            count.stale.append(f"{quote.where}: {quote.tool} has another dossier now")
            continue
        check(quote.text, words, personas[quote.persona], count, f"{quote.tool} {quote.persona} seed {quote.seed}")
    return count


@app.command(epilog="Example: python -m evals.grounded outputs/evals/tool-calls")
def main(
    paths: Annotated[list[Path], typer.Argument(help="Records, reviews, or folders of them.", show_default=False)],
    cases: Annotated[Path, typer.Option(help="Folder of case folders.", show_default="evals/cases")] = CASES,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Count names and numbers of quotes that their dossier does not have. Exit code 1 if there is one, or no quote."""
    count = count_quotes(quotes_in(paths), cases)
    rows = [
        ["quotes", str(count.quotes)],
        ["names", str(count.names)],
        ["numbers", str(count.numbers)],
        ["missing from the dossier", str(len(count.missing))],
        ["not judged: dossier changed", str(len(count.stale))],
    ]
    openers = ", ".join(f"{word} {n}" for word, n in count.openers.most_common())
    details = [*count.missing, *count.stale, f"capitals at the start of a sentence: {openers or 'none'}"]
    report(asdict(count), rows, details, as_json=as_json)
    if count.missing or count.stale or not count.quotes:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
