"""Flip rates from a stability record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from panel.desk.flips import flip_rates
from panel.errors import SetupError


def cell(tool: str, probe: str, *trials: tuple[str, bool]) -> dict[str, Any]:
    made = [
        {"label": "x", "decision": decision, "p_ship": 0.5, "held": True, "flip": flip} for decision, flip in trials
    ]
    return {"tool": tool, "persona": "builder", "probe": probe, "trials": made}


def test_only_scored_trials_that_should_move_nothing_count(tmp_path: Path) -> None:
    record = {
        "schema": "stability/1",
        "probes": [{"name": "order", "expects": "same"}, {"name": "worse", "expects": "lower"}],
        "cells": [
            # 1 of 4 scored trials flips; the fifth is unscored
            cell("kite", "order", ("ship", False), ("skip", True), ("unscored", True)),
            cell("kite", "order", ("ship", False), ("ship", False)),
            cell("kite", "worse", ("skip", True)),
            cell("aider", "worse", ("skip", True)),
        ],
    }
    path = tmp_path / "stability.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    assert flip_rates(path) == {"kite": 0.25}
    path.write_text(json.dumps({**record, "schema": "gold/1"}), encoding="utf-8")
    with pytest.raises(SetupError, match="not known here"):
        flip_rates(path)
