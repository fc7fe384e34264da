"""Reading cases: a dossier with what people think the right verdicts and signs are (`gold/1`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from panel.dossier import load_dossier
from panel.errors import SetupError
from panel.inputs import parse, read_text
from panel.records import PERSONA_SLUGS, Decision, Dossier, EvidenceId, PersonaSlug, Slug

Part = Literal["train", "calibration", "dev", "test"]


def _no_bool(value: object) -> object:
    """YAML reads `yes` as true, which is equal to 1."""
    if isinstance(value, bool):
        raise ValueError("a sign is -1, 0 or 1; write the number")
    return value


Sign = Annotated[Literal[-1, 0, 1], BeforeValidator(_no_bool)]


class Gold(BaseModel):
    """Verdicts by persona; signs (−1, 0, 1) by evidence and persona."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["gold/1"] = Field(alias="schema")
    verdicts: dict[PersonaSlug, Decision]
    pulls: dict[EvidenceId, dict[PersonaSlug, Sign]] = {}


class Split(BaseModel):
    """Which cases may be fitted on (train; calibration, which an adapter has not learned from), settings are chosen by
    (dev), figures are reported on (test), and none of these (unused)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[Slug, ...]
    calibration: tuple[Slug, ...] = ()
    dev: tuple[Slug, ...]
    test: tuple[Slug, ...]
    unused: tuple[Slug, ...] = ()

    @model_validator(mode="after")
    def _each_case_once(self) -> Split:
        listed = [*self.train, *self.calibration, *self.dev, *self.test, *self.unused]
        twice = sorted({slug for slug in listed if listed.count(slug) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is listed twice; name each case in one part")
        return self


@dataclass(frozen=True)
class Case:
    """One tool with its gold."""

    dossier: Dossier
    gold: Gold

    @property
    def clear(self) -> bool:
        """Whether all four personas have the same verdict."""
        return len(set(self.gold.verdicts.values())) == 1


def load_case(folder: Path) -> Case:
    """Read dossier.yaml and gold.yaml of a case folder.

    Raises:
        SetupError: names the file, the line, the field and the fix.
    """
    dossier = load_dossier(folder)
    path = folder / "gold.yaml"
    gold = parse(Gold, read_text(path, "gold file"), path)
    lacking = [slug for slug in PERSONA_SLUGS if slug not in gold.verdicts]
    if lacking:
        raise SetupError(f"no verdict of {lacking[0]}", path=path, field="verdicts", fix="give one for each persona")
    unknown = sorted(set(gold.pulls) - {item.id for item in dossier.evidence})
    if unknown:
        raise SetupError(
            f"{unknown[0]} is not in the dossier", path=path, field="pulls", fix="use the ids of dossier.yaml"
        )
    return Case(dossier, gold)


def load_cases(folder: Path, part: Part) -> list[Case]:
    """The cases of one part of `split.yaml`, which lies beside the folder of the cases, in the order listed there.

    Raises:
        SetupError: a file is missing or wrong.
    """
    path = folder.parent / "split.yaml"
    split = parse(Split, read_text(path, "split"), path)
    return [load_case(folder / name) for name in getattr(split, part)]
