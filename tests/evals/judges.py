"""Judges whose every opinion is known, and tools for them to judge: what a measurement must find can be worked out.

A judge is a `ScriptedEngine` that thinks of a fact what a function says, and nothing of facts without content. The
facts are told by their words: "works" is good for everyone, "fails" bad, "pleases builder" good for the builder alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from evals.stability.changes import PROBES, read_probes
from panel.engines.scripted import ScriptedEngine
from panel.gold import Case, Gold
from panel.personas import load_personas
from panel.records import KINDS, PERSONA_SLUGS, Calibration, Dossier, Evidence, Persona
from panel.weigh import CONTENT_FREE
from tests.scripted import last_fact

#: fact, persona's slug → nats toward ship
Opinion = Callable[[str, str], float]


def judge(opinion: Opinion, **options: Any) -> ScriptedEngine:
    """The engine; `options` are those of `ScriptedEngine`."""
    audiences = {persona.audience: persona.slug for persona in load_personas()}
    # a judge knows its readers by their other names too
    audiences |= {said: slug for slug, ways in read_probes("audiences", "audiences", PROBES).items() for said in ways}

    def rate(prompt: str, candidate: str) -> float:
        fact = last_fact(prompt)
        if candidate != " good" or fact in CONTENT_FREE:
            return 0.0
        (slug,) = (slug for audience, slug in audiences.items() if prompt.endswith(f"For {audience}, this is"))
        return opinion(fact, slug)

    return ScriptedEngine(lambda request: "", rate, **options)


def perfect(fact: str, slug: str) -> float:
    """What gold says, at 2 nats."""
    if "pleases" in fact:
        return 2.0 if f"pleases {slug}" in fact else -2.0
    return 2.0 * ("works" in fact) - 2.0 * ("fails" in fact)


def contrary(fact: str, slug: str) -> float:
    return -perfect(fact, slug)


def constant(fact: str, slug: str) -> float:
    return 0.0


def coin(fact: str, slug: str) -> float:
    """Heads or tails by the words and the reader, of a size that is drawn as well: between −2 and 2 nats."""
    drawn = int.from_bytes(hashlib.sha256(f"{slug} {fact}".encode()).digest()[:4], "big")
    return drawn / 2**30 - 2.0


def alike(*, intercept: float = 0.0) -> tuple[Persona, ...]:
    """The personas with one lens for all of them and a calibration that adds `intercept`: 1 nat is 1 nat."""
    lens = dict.fromkeys(KINDS, 1.0)
    calibration = Calibration(fitted=True, neutral=0, deadband=0, intercept=intercept, strengths=1, weaknesses=1)
    return tuple(p.model_copy(update={"lens": lens, "calibration": calibration}) for p in load_personas())


def fact(text: str, id: str = "E1", kind: str = "capability") -> Evidence:
    return Evidence.model_validate({"id": id, "kind": kind, "text": text, "source": "tests"})


def tool(slug: str, *words: str) -> Case:
    """A tool of one fact for each of `words`, "Part 1 <words>.", with the signs that `perfect` has of them, and the
    verdict ship where there are more good ones than bad ones."""
    evidence = [fact(f"Part {n} {said}.", f"E{n}") for n, said in enumerate(words, 1)]
    dossier = Dossier.model_validate(
        {
            "schema": "dossier/1", "slug": slug, "name": slug.title(), "category": "Tools",
            "tagline": "A tool of parts", "summary": "It has parts.",
            "entry_price": "Free", "evidence": [item.model_dump() for item in evidence],
        }
    )  # fmt: skip
    signs = {item.id: {s: round(perfect(item.text, s) / 2) for s in PERSONA_SLUGS} for item in evidence}
    sums = {slug: sum(signs[item.id][slug] for item in evidence) for slug in PERSONA_SLUGS}
    verdicts = {slug: "ship" if total > 0 else "skip" for slug, total in sums.items()}
    return Case(dossier, Gold.model_validate({"schema": "gold/1", "verdicts": verdicts, "pulls": signs}))


#: Two that all four ship, one that none does, one that is for the builder alone; numbers keep their facts apart.
GOOD = tool("good", *(f"of kind {n} works well" for n in "abcd"))
FINE = tool("fine", *(f"of make {n} works well" for n in "efg"), "of make h often fails")
POOR = tool("poor", *(f"of sort {n} often fails" for n in "ijk"), "of sort l works well")
SPLIT = tool("split", *(f"of type {n} pleases builder" for n in "mno"))
TOOLS = (GOOD, FINE, POOR, SPLIT)


def write_cases(folder: Path, **parts: Sequence[Case]) -> Path:
    """Case folders in `folder`/cases and the split beside them. Returns the folder of the cases."""
    for case in {case.dossier.slug: case for cases in parts.values() for case in cases}.values():
        home = folder / "cases" / case.dossier.slug
        home.mkdir(parents=True)
        dossier = case.dossier.model_dump(mode="json", by_alias=True, exclude_none=True)
        (home / "dossier.yaml").write_text(yaml.safe_dump(dossier), encoding="utf-8")
        (home / "gold.yaml").write_text(yaml.safe_dump(case.gold.model_dump(by_alias=True)), encoding="utf-8")
    split = {part: [case.dossier.slug for case in cases] for part, cases in parts.items()}
    (folder / "split.yaml").write_text(yaml.safe_dump(split), encoding="utf-8")
    return folder / "cases"
