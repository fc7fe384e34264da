"""The records of a run and of the gate: they survive their own JSON, and a later field is no fault."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from evals.stability.record import Cell, Stability, Trial
from evals.stability.verdict import EXIT_CODES, Gate
from tests.evals.stability_example import example, example_gate


def test_records_survive_their_own_json() -> None:
    for record in (example(), example_gate()):
        text = record.model_dump_json(by_alias=True)
        assert type(record).model_validate_json(text) == record
        assert json.loads(text)["schema"] == ("stability/1" if isinstance(record, Stability) else "gate/1")


def test_a_later_version_may_add_fields_and_none_may_go() -> None:
    data = example().model_dump(by_alias=True)
    assert Stability.model_validate(data | {"later": 1}).about == example().about
    with pytest.raises(ValidationError, match="cells"):
        Stability.model_validate({key: value for key, value in data.items() if key != "cells"})


def test_a_strip_has_one_mark_for_each_trial() -> None:
    def trial(decision: str, held: bool) -> Trial:
        return Trial.model_validate({"label": "", "decision": decision, "p_ship": None, "held": held, "flip": False})

    trials = (trial("ship", True), trial("skip", False), trial("unscored", False))
    cell = Cell(tool="t", persona="builder", probe="order", trials=trials)
    assert cell.strip == "✓✗–"


def test_every_outcome_has_an_exit_code_of_its_own_and_none_that_of_set_up_errors() -> None:
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES) == 6
    assert 2 not in EXIT_CODES.values()
    assert EXIT_CODES["pass"] == 0
    assert isinstance(example_gate(), Gate)
