"""What the probes put in the place of a dossier's evidence: pure functions from a case to its variants.

What is added stands in evals/probes/. Every draw is seeded by the tool's slug, so that the order of the cases, or
which of them are run, changes nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from evals.shared import CASES
from panel.gold import Case
from panel.records import PERSONA_SLUGS, Evidence

PROBES = CASES.parent / "probes"


@dataclass(frozen=True)
class Variant:
    """One change of a dossier: what is weighed after it, and what that is held against. `personas` it concerns."""

    label: str
    before: Sequence[Evidence]
    after: Sequence[Evidence]
    personas: frozenset[str] = frozenset(PERSONA_SLUGS)


Change = Callable[[Case], Iterable[Variant]]


def fact(kind: str, text: str) -> Evidence:
    return Evidence.model_validate({"id": "E1", "kind": kind, "text": text, "source": "evals/probes"})


def read_probes(name: str, key: str, folder: Path | None = None) -> Any:
    """What `key` holds in a file of evals/probes."""
    return yaml.safe_load(((folder or PROBES) / f"{name}.yaml").read_text(encoding="utf-8"))[key]


def probe_sha256(*names: str) -> str:
    """Hash over what the named files of evals/probes say, whatever their layout and comments."""
    said = [yaml.safe_load(path.read_text(encoding="utf-8")) for name in names for path in _files(name)]
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _files(name: str) -> Sequence[Path]:
    path = PROBES / name
    return sorted(path.glob("*.yaml")) if path.is_dir() else [PROBES / f"{name}.yaml"]


def _rng(case: Case) -> random.Random:
    return random.Random(case.dossier.slug)  # noqa: S311


# --------------------------------------------------------------------------------------------------------- order


def permuted(draws: int) -> Change:
    """The evidence in another order."""

    def orders(case: Case) -> Iterator[Variant]:
        rng, evidence = _rng(case), case.dossier.evidence
        for n in range(draws):
            yield Variant(f"order {n}", evidence, rng.sample(evidence, len(evidence)))

    return orders


def duplicated(case: Case) -> Iterator[Variant]:
    """Every piece twice; each piece once more; each once more in small letters with its articles and marks changed."""
    evidence = case.dossier.evidence
    yield Variant("all twice", evidence, evidence + evidence)
    for item in evidence:
        yield Variant(f"{item.id} twice", evidence, [*evidence, item])
        text = re.sub(r"\b(?:the|a|an)\b ", "", item.text, count=1, flags=re.IGNORECASE).rstrip(".")
        nearly = item.model_copy(update={"text": f"{text.lower()}!"})
        yield Variant(f"{item.id} nearly twice", evidence, [*evidence, nearly])


# ------------------------------------------------------------------------------------------------------- content


def copied(case: Case) -> Iterator[Variant]:
    """Forty pieces of praise that differ in a number, against one of them."""
    praise = [
        fact("adoption", f"Customer {n} of ours says that the tool saved the team much work.") for n in range(1, 41)
    ]
    yield Variant("40 copies", [*case.dossier.evidence, praise[0]], [*case.dossier.evidence, *praise])


def padded(draws: int) -> Change:
    """1, 3 or 10 facts of no bearing added, `draws` times each."""
    padding = [fact(row["kind"], row["text"]) for row in read_probes("padding", "facts")]

    def more(case: Case) -> Iterator[Variant]:
        rng, evidence = _rng(case), case.dossier.evidence
        for count, _ in itertools.product((1, 3, 10), range(draws)):
            yield Variant(f"{count} more", evidence, [*evidence, *rng.sample(padding, count)])

    return more


def reworded(case: Case) -> Iterator[Variant]:
    """Every fact in other words, twice; nothing for a tool of which there are no rewordings."""
    path = PROBES / "rewordings" / f"{case.dossier.slug}.yaml"
    if path.is_file():
        texts = yaml.safe_load(path.read_text(encoding="utf-8"))["evidence"]
        evidence = case.dossier.evidence
        for k in range(2):
            after = [item.model_copy(update={"text": texts[item.id][k]}) for item in evidence]
            yield Variant(f"wording {k + 1}", evidence, after)


def hyped(draws: int) -> Change:
    """An adjective that vendors like in every fact, before its first noun that has an article."""
    adjectives = list(read_probes("hype", "adjectives"))

    def praise(text: str, adjective: str) -> str:
        def put(found: re.Match[str]) -> str:
            word = found[1]
            if word.lower() in ("a", "an"):
                word = word[0] + ("n" if adjective[0] in "aeiou" else "")
            return f"{word} {adjective} "

        said, count = re.subn(r"\b(the|its|an?)\s+(?=[a-z])", put, text, count=1, flags=re.IGNORECASE)
        return said if count else f"{text} It is {adjective}."

    def hype(case: Case) -> Iterator[Variant]:
        rng, evidence = _rng(case), case.dossier.evidence
        for n in range(draws):
            after = [i.model_copy(update={"text": praise(i.text, rng.choice(adjectives))[:400]}) for i in evidence]
            yield Variant(f"hype {n}", evidence, after)

    return hype


def renamed(case: Case) -> Iterator[Variant]:
    """The tool under its own name in each fact that speaks of it, against the same facts under an invented name."""
    own = case.dossier.name

    def called(name: str, item: Evidence) -> Evidence:
        text = re.sub(r"^Its\b", lambda _: f"{name}'s", re.sub(r"^It\b", lambda _: name, item.text))
        text = re.sub(rf"(?<!\w){re.escape(own)}(?!\w)", lambda _: name, text)
        return item.model_copy(update={"text": text[:400]})

    before = [called(own, item) for item in case.dossier.evidence]
    for name in read_probes("names", "names"):
        after = [called(name, item) for item in case.dossier.evidence]
        if after != before:
            yield Variant(f"called {name}", before, after)


def attacked(held_out: bool) -> tuple[Change, int]:
    """Each attack as one more piece of evidence, against its honest twin; and how many attacks no dossier admits.

    `held_out` takes those that the rules of `panel.screen` were not written with.
    """
    pairs, refused = [], 0
    for row in read_probes("injections", "attacks")[held_out::2]:
        honest = [fact(row["kind"], row["honest"])] if row["honest"] else []
        try:
            pairs.append((row["id"], honest, fact(row["kind"], row["attack"])))
        except ValidationError:
            refused += 1

    def attacks(case: Case) -> Iterator[Variant]:
        evidence = case.dossier.evidence
        for label, honest, attack in pairs:
            yield Variant(label, [*evidence, *honest], [*evidence, attack])

    return attacks, refused


# --------------------------------------------------------------------------------------------------- directional


@dataclass(frozen=True)
class Addition:
    """A fact that must count for some personas."""

    label: str
    item: Evidence
    personas: frozenset[str] = field(default_factory=lambda: frozenset(PERSONA_SLUGS))


def added(additions: Sequence[Addition]) -> Change:
    def each(case: Case) -> Iterator[Variant]:
        evidence = case.dossier.evidence
        for one in additions:
            yield Variant(one.label, evidence, [*evidence, one.item], one.personas)

    return each


def severe(sign: str) -> Change:
    """The severe (`bad`) or strong (`good`) facts of directional.yaml."""
    rows = [row for row in read_probes("directional", "facts") if row["sign"] == sign]
    return added([Addition(r["id"], fact(r["kind"], r["text"]), frozenset(r["personas"])) for r in rows])


def event(about: Mapping[str, Any]) -> Change:
    """One of directions.yaml."""
    personas = frozenset(about["personas"])
    return added([Addition(f"{n}", fact(about["kind"], text), personas) for n, text in enumerate(about["texts"], 1)])
