"""Flip rates out of a stability record (`stability/1`), which the desk reads as a file: it knows nothing of evals."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from panel.inputs import parse_json


class _Probe(BaseModel):
    name: str
    expects: str


class _Trial(BaseModel):
    decision: str
    flip: bool


class _Cell(BaseModel):
    tool: str
    probe: str
    trials: tuple[_Trial, ...]


class _Stability(BaseModel):
    schema_: Literal["stability/1"] = Field(alias="schema")
    probes: tuple[_Probe, ...]
    cells: tuple[_Cell, ...]


def flip_rates(path: Path) -> dict[str, float]:
    """By tool, the share of scored trials that changed a verdict, of those that should not have changed it.

    Raises:
        SetupError: the file is missing, or no such record.
    """
    record = parse_json(_Stability, path, "stability record")
    still = {probe.name for probe in record.probes if probe.expects == "same"}
    flips: dict[str, list[bool]] = defaultdict(list)
    for cell in record.cells:
        if cell.probe in still:
            flips[cell.tool] += [trial.flip for trial in cell.trials if trial.decision != "unscored"]
    return {tool: sum(found) / len(found) for tool, found in flips.items() if found}
