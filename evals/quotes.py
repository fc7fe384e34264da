"""How good are the drafted beats: grounded, in real words, not repeated, and backed by what they cite?

    python -m evals.quotes --draft         drafts every case into --out (resumes), then counts
    python -m evals.quotes                 counts what is there

The checks share no code with the decoder and the validator: names and numbers by evals.grounded, words by the English
dictionary of pyspellchecker, support by the share of a beat's longer words whose first five letters stand in what it
cites. Of the cases, most were trained or tuned on: --part test counts those alone that were not.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from evals.grounded import Count, Quote, count_quotes
from evals.intervals import wilson
from evals.shared import CASES, note, read_json, report, run
from panel.errors import SetupError
from panel.gold import Part, load_cases
from panel.personas import load_personas
from panel.records import Dossier, Persona

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
DRAFTS = Path("outputs/evals/quotes")
#: Share of a beat's longer words that must stand in what it cites.
BACKED = 0.5


@dataclass(frozen=True)
class Drafted:
    """One beat of a stored review; `rest` is what follows the persona's opening words."""

    tool: str
    persona: str
    name: str
    text: str
    rest: str
    cites: tuple[str, ...]
    verbatim: bool


@dataclass
class Tally:
    """What was counted over the beats."""

    reviews: int = 0
    unscored: int = 0
    beats: int = 0
    silent: int = 0
    verbatim: int = 0
    nonsense: list[str] = field(default_factory=list)
    degenerate: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    unbacked: list[str] = field(default_factory=list)


def opening(persona: Persona) -> re.Pattern[str]:
    """Matches any of the persona's stems, whatever stands for their placeholders."""
    stems = [stem for beat in persona.beats for either in beat.stem.values() for stem in either]
    patterns = (re.sub(r"\\\{\w+\\\}", ".+?", re.escape(stem)) for stem in sorted(stems, key=len, reverse=True))
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


def backed(beat: Drafted, dossier: Dossier, persona: Persona) -> bool:
    """Whether the beat's cited evidence has its longer words, and all of its names and numbers."""
    cited = [item.text for item in dossier.evidence if item.id in beat.cites]
    known = {word[:5] for text in cited for word in re.findall(r"[^\W\d_]{4,}", text.lower())}
    words = re.findall(r"[^\W\d_]{4,}", beat.rest.lower())
    marked = {name.rstrip(".,") for name in re.findall(r"\b(?:[A-Z][\w.+-]*|\$?\d[\w.,%]*)", beat.rest)}
    allowed = {word.strip(".,;:()'’") for text in (*cited, dossier.name, *persona.terms) for word in text.split()}
    allowed |= {part for word in allowed for part in re.split(r"[-/'’]", word)}
    share = sum(word[:5] in known for word in words) / len(words) if words else 0.0
    return bool(cited) and share >= BACKED and marked <= allowed


def degenerate(text: str) -> bool:
    """A word twice in a row, or a run of three words twice."""
    words = re.findall(r"[\w'-]+", text.lower())
    runs = Counter(zip(words, words[1:], words[2:], strict=False))
    return any(a == b for a, b in pairwise(words)) or any(n > 1 for n in runs.values())


def tally(reviews: list[tuple[str, dict[str, Any]]], cases: dict[str, Dossier]) -> Tally:
    """Count over reviews, each with the slug of its tool."""
    from spellchecker import SpellChecker

    dictionary = SpellChecker()
    personas = {persona.slug: persona for persona in load_personas()}
    openings = {slug: opening(persona) for slug, persona in personas.items()}
    count = Tally()
    drafted: list[Drafted] = []
    for tool, review in reviews:
        count.reviews += 1
        count.unscored += review["status"] != "scored"
        for beat in review["beats"]:
            count.beats += 1
            if beat.get("silent"):
                count.silent += 1
                continue
            head = openings[review["persona"]].match(beat["text"])
            rest = beat["text"][head.end() if head else 0 :].strip()
            drafted.append(
                Drafted(
                    tool,
                    review["persona"],
                    beat["name"],
                    beat["text"],
                    rest,
                    tuple(beat["cites"]),
                    bool(beat.get("verbatim")),
                )
            )
    said = Counter(beat.rest.lower() for beat in drafted)
    for beat in drafted:
        dossier, persona = cases[beat.tool], personas[beat.persona]  # type: ignore[index]
        where = f"{beat.tool} {beat.persona} {beat.name}: {beat.text}"
        count.verbatim += beat.verbatim
        own = set(re.findall(r"[\w'-]+", dossier.model_dump_json().lower()))
        words = [w for w in re.findall(r"(?<![\w'’-])[a-z]+(?![\w'’-])", beat.rest) if w not in own]
        unknown = dictionary.unknown(words)
        if unknown:
            count.nonsense.append(f"{', '.join(sorted(unknown))} in {where}")
        if degenerate(beat.rest):
            count.degenerate.append(where)
        if said[beat.rest.lower()] > 1:
            count.repeated.append(where)
        if not backed(beat, dossier, persona):
            count.unbacked.append(where)
    return count


def stored(folder: Path, tools: set[str]) -> list[tuple[str, dict[str, Any]]]:
    """Every review of `tools` in the records under `folder`, unscored too, with its tool; of each tool the last."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*/comparison.json"), key=lambda path: path.stat().st_mtime):
        record = read_json(path) or {"tools": []}
        found.update({tool["slug"]: tool["reviews"] for tool in record["tools"] if tool["slug"] in tools})
    return [(tool, review) for tool, reviews in sorted(found.items()) for review in reviews]


def draft(cases: list[Dossier], out: Path, engine: str, model: str) -> None:
    """Review every case, two at a time, as `review-panel compare` does."""
    from panel import run as panel_run
    from panel.engines import open_cached
    from panel.prompts import Prompts

    opened = open_cached(engine, model)
    prompts = Prompts()
    personas = panel_run.calibrate_for(load_personas(), prompts, opened)
    for start in range(0, len(cases), 2):
        pair = cases[start : start + 2]
        note(f"{start + len(pair)}/{len(cases)} {', '.join(d.slug for d in pair)}")
        panel_run.compare(pair, personas, prompts, opened, out=out)


@app.command()
def main(
    part: Annotated[str, typer.Option(help="all, train, dev or test.")] = "all",
    run_first: Annotated[bool, typer.Option("--draft", help="Draft what is missing first.")] = False,
    engine: str = "openvino",
    model: str = "embedded",
    out: Annotated[Path, typer.Option(help="Where reviews are kept.")] = DRAFTS,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Count what is wrong with drafted beats."""
    if part not in ("all", *get_args(Part)):
        raise SetupError(f"unknown part {part!r}", field="--part", fix="choose all, train, dev or test")
    parts: tuple[Any, ...] = get_args(Part) if part == "all" else (part,)
    cases = {case.dossier.slug: case.dossier for one in parts for case in load_cases(CASES, one)}
    if run_first:
        draft(list(cases.values()), out, engine, model)
    reviews = stored(out, set(cases))
    count = tally(reviews, cases)
    quotes = [
        Quote(tool, tool, r["persona"], r["provenance"]["seed"], r["quote"], r["provenance"]["dossier_sha256"])
        for tool, r in reviews
        if r["status"] == "scored"
    ]
    ground: Count = count_quotes(quotes, CASES)
    written = count.beats - count.silent
    faulty = wilson(len(set(count.degenerate) | set(count.repeated)), written)
    supported = wilson(written - len(count.unbacked), written)
    rows = [
        ["reviews (unscored)", f"{count.reviews} ({count.unscored})"],
        ["beats (of them silent, word for word)", f"{count.beats} ({count.silent}, {count.verbatim})"],
        ["names, numbers", f"{ground.names}, {ground.numbers}"],
        ["from outside the dossier", str(len(ground.missing))],
        ["beats with a word that no dictionary has", str(len(count.nonsense))],
        ["degenerate or repeated", f"{faulty.value:.1%} ({faulty.low:.1%}–{faulty.high:.1%})"],
        ["backed by what they cite", f"{supported.value:.1%} ({supported.low:.1%}–{supported.high:.1%})"],
    ]
    details = [*ground.missing, *count.nonsense, *count.degenerate, *count.repeated[:20], *count.unbacked[:20]]
    result = {
        "part": part,
        **asdict(count),
        "missing": ground.missing,
        "names": ground.names,
        "numbers": ground.numbers,
    }
    report(result, rows, details, as_json=as_json)


if __name__ == "__main__":
    run(app)
