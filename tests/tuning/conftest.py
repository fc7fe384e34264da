"""Judges whose pulls are told and not weighed, and tools whose verdicts can be worked out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from panel.engines.scripted import ScriptedEngine
from panel.gold import Case, Gold
from panel.prompts import Prompts
from panel.records import KINDS, PERSONA_SLUGS, Dossier, Evidence, Persona, Pull
from panel.tuning.effect import Judge


class Told(Judge):
    """Pulls toward ship by 2 nats for a fact that says +, toward skip for one that says −; the zero is at zero."""

    def pulls(self, persona: Persona, dossiers: Sequence[Sequence[Evidence]]) -> list[list[Pull]]:
        def pull(item: Evidence) -> Pull:
            return Pull(evidence=item.id, log_odds=2.0 if "+" in item.text else -2.0)

        return [[pull(item) for item in evidence] for evidence in dossiers]


@pytest.fixture
def told(prompts: Prompts, tmp_path: Path) -> Told:
    return Told(ScriptedEngine(lambda _: "", adapter_sha256="a" * 64), prompts)


@pytest.fixture
def drawn() -> Callable[..., list[Case]]:
    """Draws tools with `each` facts of every kind, + or − by a coin; `ships(rng, good)` says the verdict, where
    `good` counts the + less the − by kind."""

    def draw(
        seed: str, count: int, ships: Callable[[random.Random, dict[str, int]], bool], each: int = 1
    ) -> list[Case]:
        rng = random.Random(seed)  # noqa: S311
        cases = []
        for number in range(count):
            signs = [(kind, rng.choice("+-")) for kind in KINDS for _ in range(each)]
            evidence = tuple(
                Evidence.model_validate(
                    {"id": f"E{n}", "kind": kind, "text": f"{kind} {seed} {number} {n} {sign}", "source": "x"}
                )
                for n, (kind, sign) in enumerate(signs, 1)
            )
            good = {kind: sum(1 if s == "+" else -1 for k, s in signs if k == kind) for kind in KINDS}
            verdict = "ship" if ships(rng, good) else "skip"
            dossier = Dossier.model_validate(
                {
                    "schema": "dossier/1", "slug": f"t{number}", "name": f"T{number}", "category": "Tools",
                    "tagline": "A tool", "summary": "It has parts.", "entry_price": "Free",
                    "evidence": [item.model_dump() for item in evidence],
                }
            )  # fmt: skip
            cases.append(
                Case(
                    dossier,
                    Gold.model_validate({"schema": "gold/1", "verdicts": dict.fromkeys(PERSONA_SLUGS, verdict)}),
                )
            )
        return cases

    return draw
