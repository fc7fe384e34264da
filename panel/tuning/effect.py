"""What two versions of a persona say of the same cases: verdicts, probabilities, gold, and how firmly they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from panel.calibrate import calibration_key, fit
from panel.decide import decide
from panel.errors import SetupError
from panel.gold import Case
from panel.inputs import parse, read_text
from panel.prompts import Prompts
from panel.records import Calibration, Decision, Dossier, Evidence, EvidenceId, Persona, Pull, Slug, TextLine
from panel.requests import Engine
from panel.screen import readable
from panel.tuning.statistics import Interval, mcnemar, paired
from panel.weigh import weigh, weighing_of

_AT_ONCE = 96  # facts in one batch


class Rewordings(BaseModel):
    """The file `rewordings/1`: other words for each piece of a dossier's evidence, as many for each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["rewordings/1"] = Field(alias="schema")
    slug: Slug
    evidence: dict[EvidenceId, tuple[TextLine, ...]]


@dataclass(frozen=True)
class Cell:
    """One tool under both versions: p_ship, and how many of `rewordings` turn the verdict around."""

    tool: str
    gold: Decision
    before: float
    after: float
    rewordings: int = 0
    turned_before: int = 0
    turned_after: int = 0

    @property
    def flipped(self) -> bool:
        return (self.before >= 0.5) != (self.after >= 0.5)

    def right(self, p_ship: float) -> bool:
        return (p_ship >= 0.5) == (self.gold == "ship")

    def score(self, p_ship: float) -> float:
        """Brier's: the squared distance of p_ship from what gold says."""
        return (p_ship - (self.gold == "ship")) ** 2


@dataclass(frozen=True)
class Effect:
    """The cells of one persona, and what they come to; of every interval the items are the tools."""

    persona: str
    cells: tuple[Cell, ...]

    @property
    def flipped(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.flipped]

    @property
    def gained(self) -> list[Cell]:
        """Wrong before, right after."""
        return [cell for cell in self.flipped if cell.right(cell.after)]

    @property
    def lost(self) -> list[Cell]:
        return [cell for cell in self.flipped if cell.right(cell.before)]

    @property
    def p_value(self) -> float:
        return mcnemar(len(self.gained), len(self.lost))

    @property
    def largest(self) -> Cell:
        return max(self.cells, key=lambda cell: abs(cell.after - cell.before))

    def right(self) -> tuple[int, int]:
        """How many verdicts are right, before and after."""
        return sum(c.right(c.before) for c in self.cells), sum(c.right(c.after) for c in self.cells)

    def moved(self) -> Interval:
        return paired([cell.after - cell.before for cell in self.cells])

    def right_moved(self) -> Interval:
        """Change of the share of verdicts that are right; without width where no verdict flips: see `unseen`."""
        return paired([float(c.right(c.after)) - float(c.right(c.before)) for c in self.cells])

    def brier(self) -> tuple[float, float]:
        count = len(self.cells)
        return sum(c.score(c.before) for c in self.cells) / count, sum(c.score(c.after) for c in self.cells) / count

    def brier_moved(self) -> Interval:
        """Below zero is better."""
        return paired([cell.score(cell.after) - cell.score(cell.before) for cell in self.cells])

    def turned(self) -> tuple[int, int, int]:
        """Verdicts that a rewording turns around, before and after, and how many rewordings there are."""
        return (
            sum(c.turned_before for c in self.cells), sum(c.turned_after for c in self.cells),
            sum(c.rewordings for c in self.cells),
        )  # fmt: skip

    def turned_moved(self) -> Interval | None:
        """Change of the share of rewordings that turn a verdict around; below zero is better. None without any."""
        shares = [(c.turned_after - c.turned_before) / c.rewordings for c in self.cells if c.rewordings]
        return paired(shares) if shares else None

    def as_data(self) -> dict[str, Any]:
        """For machines: every figure that people are shown."""
        turned = self.turned_moved()
        return {
            "persona": self.persona,
            "tools": len(self.cells),
            "flipped": [
                {"tool": c.tool, "from": _decision(c.before), "to": _decision(c.after), "gold": c.gold}
                for c in self.flipped
            ],
            "p_ship": {"mean": asdict(self.moved()), "largest": {"tool": self.largest.tool, "before":
                       self.largest.before, "after": self.largest.after}},
            "right": {"before": self.right()[0], "after": self.right()[1], "gained": [c.tool for c in self.gained],
                      "lost": [c.tool for c in self.lost], "mcnemar_p": self.p_value,
                      "difference": asdict(self.right_moved())},
            "brier": {"before": self.brier()[0], "after": self.brier()[1], "difference": asdict(self.brier_moved())},
            "rewordings": {"before": self.turned()[0], "after": self.turned()[1], "of": self.turned()[2],
                           "difference": asdict(turned) if turned else None},
            "cells": [asdict(cell) for cell in self.cells],
        }  # fmt: skip


def _decision(p_ship: float) -> Decision:
    return "ship" if p_ship >= 0.5 else "skip"


@dataclass(frozen=True)
class Judge:
    """Weighs many dossiers in large batches; with an engine that keeps its answers no fact is weighed twice.

    `on_weighed` is told of the progress: persona, facts weighed, facts to weigh.
    """

    engine: Engine
    prompts: Prompts
    on_weighed: Callable[[str, int, int], None] = lambda *_: None

    def weighing(self, persona: Persona) -> str:
        return weighing_of(self.prompts, persona, self.engine.info)

    def key(self, persona: Persona) -> str:
        """The key that its calibration has on this engine."""
        return calibration_key(persona, self.engine.info, self.weighing(persona))

    def pulls(self, persona: Persona, dossiers: Sequence[Sequence[Evidence]]) -> list[list[Pull]]:
        """What the persona, with its calibration, thinks of each piece of evidence of each dossier."""
        facts = list({(item.kind, item.text): item for evidence in dossiers for item in evidence}.values())
        known: dict[tuple[str, str], Pull] = {}
        for start in range(0, len(facts), _AT_ONCE):
            chunk = facts[start : start + _AT_ONCE]
            numbered = [item.model_copy(update={"id": f"E{n}"}) for n, item in enumerate(chunk, 1)]
            weighed = weigh(self.engine, self.prompts, persona, numbered)
            known |= {(item.kind, item.text): pull for item, pull in zip(chunk, weighed, strict=True)}
            self.on_weighed(persona.slug, len(known), len(facts))
        return [
            [known[item.kind, item.text].model_copy(update={"evidence": item.id}) for item in evidence]
            for evidence in dossiers
        ]

    def p_ships(self, persona: Persona, dossiers: Sequence[Dossier]) -> list[float]:
        """p_ship of each dossier, as a review comes to it."""
        rows = self.pulls(persona, [dossier.evidence for dossier in dossiers])
        return [decide(persona, readable(d).evidence, row)[1] for d, row in zip(dossiers, rows, strict=True)]

    def fitted(self, persona: Persona, cases: Sequence[Case]) -> Persona:
        """The persona with a calibration fitted on `cases`, as `review-panel personas calibrate` does.

        Raises:
            SetupError: scikit-learn is missing, or the cases have one verdict only.
        """
        plain = persona.model_copy(update={"calibration": Calibration()})
        rows = self.pulls(plain, [case.dossier.evidence for case in cases])
        return persona.model_copy(update={"calibration": fit(plain, cases, rows)})


def effect(
    judge: Judge,
    before: Persona,
    after: Persona,
    cases: Sequence[Case],
    reworded: Sequence[Sequence[Dossier]] = (),
) -> Effect:
    """What both versions, with the calibrations that they have, say of `cases`.

    Args:
        reworded: for each case the same dossier in other words; none is nothing to be turned around by.
    """
    versions = [[case.dossier, *others] for case, others in zip(cases, reworded or [()] * len(cases), strict=True)]
    flat = [dossier for group in versions for dossier in group]
    columns = [iter(judge.p_ships(persona, flat)) for persona in (before, after)]
    cells = []
    for case, group in zip(cases, versions, strict=True):
        (first, *firsts), (second, *seconds) = ([next(column) for _ in group] for column in columns)
        cells.append(
            Cell(
                case.dossier.slug,
                case.gold.verdicts[before.slug],
                first,
                second,
                rewordings=len(firsts),
                turned_before=sum((p >= 0.5) != (first >= 0.5) for p in firsts),
                turned_after=sum((p >= 0.5) != (second >= 0.5) for p in seconds),
            )
        )
    return Effect(before.slug, tuple(cells))


def load_rewordings(folder: Path, cases: Sequence[Case]) -> list[list[Dossier]]:
    """For each case its dossier in the other words that `folder`/<slug>.yaml has for it; none where there is no file.

    Raises:
        SetupError: a file is wrong, or lacks words for a piece of evidence.
    """
    found: list[list[Dossier]] = []
    for case in cases:
        path = folder / f"{case.dossier.slug}.yaml"
        if not path.is_file():
            found.append([])
            continue
        texts = parse(Rewordings, read_text(path, "file of rewordings"), path).evidence
        lacking = [item.id for item in case.dossier.evidence if not texts.get(item.id)]
        if lacking:
            raise SetupError(
                f"no other words for {lacking[0]}", path=path, field="evidence", fix="give some for every piece"
            )
        count = min(len(texts[item.id]) for item in case.dossier.evidence)
        found.append([_reworded(case.dossier, texts, k) for k in range(count)])
    return found


def _reworded(dossier: Dossier, texts: dict[str, tuple[str, ...]], k: int) -> Dossier:
    evidence = tuple(item.model_copy(update={"text": texts[item.id][k]}) for item in dossier.evidence)
    return dossier.model_copy(update={"evidence": evidence})
