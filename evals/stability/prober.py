"""Verdicts on any dossier: weighing looks at one fact at a time, so a changed dossier is put together from pulls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evals.bank import Bank
from evals.stability.changes import Change, Variant
from panel.decide import decide
from panel.gold import Case
from panel.prompts import Prompts
from panel.records import Decision, Dossier, Evidence, Persona, Pull
from panel.requests import Engine
from panel.screen import readable, screen
from panel.weigh import weigh


class Prober:
    """What the personas say of any dossier, from a bank of pulls."""

    def __init__(self, bank: Bank, personas: Sequence[Persona], cases: Sequence[Case]) -> None:
        self.bank, self.personas, self.cases = bank, personas, cases
        self._read: dict[str, str] = {}  # a fact as it is screened: the same few stand in thousands of dossiers
        bank.load(item for case in cases for item in case.dossier.evidence)

    def p_ship(self, persona: Persona, evidence: Sequence[Evidence]) -> float:
        return self.judge(persona, evidence)[1]

    def judge(self, persona: Persona, evidence: Sequence[Evidence]) -> tuple[Decision, float]:
        numbered = [item.model_copy(update={"id": f"E{n}"}) for n, item in enumerate(evidence, 1)]
        pulls = self.bank.pulls(persona, numbered)
        read = [item.model_copy(update={"text": self._screened(item.text)}) for item in numbered]
        return decide(persona, [item for item in read if item.text], pulls)

    def _screened(self, text: str) -> str:
        if text not in self._read:
            self._read[text] = screen(text).fact
        return self._read[text]

    def variants(self, change: Change) -> Iterator[tuple[Persona, Case, Variant]]:
        """Every variant of every case, with each persona that it concerns; what is new in them is weighed first."""
        found = [(case, variant) for case in self.cases for variant in change(case)]
        self.bank.load(item for _, variant in found for item in (*variant.before, *variant.after))
        for case, variant in found:
            for persona in self.personas:
                if persona.slug in variant.personas:
                    yield persona, case, variant


def as_written(
    engine: Engine, prompts: Prompts, persona: Persona, dossier: Dossier
) -> tuple[Decision, float, list[Pull]]:
    """The verdict as a review comes to it: the evidence weighed together, in its order, and decided on."""
    pulls = weigh(engine, prompts, persona, dossier.evidence, tool=dossier.slug)
    decision, p_ship = decide(persona, readable(dossier).evidence, pulls)
    return decision, p_ship, pulls
