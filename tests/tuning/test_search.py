"""A persona that was spoilt is mended, one that is right is left alone, and chance is not progress."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from panel.calibrate import fit
from panel.decide import decide
from panel.engines.scripted import ScriptedEngine
from panel.errors import SetupError
from panel.gold import Case
from panel.records import KINDS, Calibration, Candidates, Example, Persona
from panel.tuning.effect import effect
from panel.tuning.search import MIN_GAIN, _Weighed, better, moves, tune
from tests.tuning.conftest import Told

Draw = Callable[..., list[Case]]
Named = Callable[[str], Persona]
#: What verdicts rest on, in the tools that are drawn here; the rest says nothing of them.
COUNTS = ("capability", "docs", "license")
#: A few weights for each kind, so that a search is short.
WEIGHTS = dict.fromkeys((*COUNTS, "limitation", "support"), (0.0, 2.0))


def with_lens(persona: Persona, lens: dict[str, float], **fields: Any) -> Persona:
    return persona.model_copy(update={"lens": lens, "candidates": Candidates(lens=WEIGHTS)} | fields)  # type: ignore[arg-type]


def by_what_counts(rng: random.Random, good: dict[str, int]) -> bool:
    return sum(good[kind] for kind in COUNTS) > 0


def by_a_coin(rng: random.Random, good: dict[str, int]) -> bool:
    return rng.random() < 0.5


def cases(drawn: Draw, seed: int, ships: Any, dev: int = 11) -> dict[str, list[Case]]:
    """As many as there are of ours."""
    return {"search": drawn(f"search{seed}", 54, ships), "dev": drawn(f"dev{seed}", dev, ships)}


# ------------------------------------------------------------------------------------------------------ what it finds


def test_a_bad_lens_is_repaired(told: Told, drawn: Draw, persona: Named) -> None:
    """What counts weighs nothing, and the rest weighs: the search turns it around, and development bears it out."""
    spoilt = with_lens(persona("builder"), {kind: 0.0 if kind in COUNTS else 1.0 for kind in KINDS})
    parts = cases(drawn, 1, by_what_counts)
    found = tune(told, spoilt, **parts, rounds=6)
    assert found.confirmed
    assert {step.field for step in found.steps} >= {f"lens.{kind}" for kind in COUNTS}
    assert all(found.after.lens[kind] == 2.0 for kind in COUNTS)
    briers = [found.start, *(step.brier for step in found.steps)]
    assert all(after <= before - MIN_GAIN for before, after in itertools.pairwise(briers))
    assert found.dev is not None
    before, after = found.dev.right()
    assert after == 11
    assert before < 9
    test = effect(told, found.before, found.after, drawn("test", 15, by_what_counts))
    assert better(test)


def test_one_change_is_kept_where_one_is_allowed(told: Told, drawn: Draw, persona: Named) -> None:
    spoilt = with_lens(persona("builder"), {kind: 0.0 if kind in COUNTS else 1.0 for kind in KINDS})
    found = tune(told, spoilt, **cases(drawn, 1, by_what_counts), rounds=1)
    assert len(found.steps) == 1
    kind = found.steps[0].field.removeprefix("lens.")
    assert [k for k in KINDS if found.after.lens[k] != spoilt.lens[k]] == [kind]  # type: ignore[index]
    assert found.tried == sum(weight != spoilt.lens[k] for k, row in WEIGHTS.items() for weight in row)  # type: ignore[index]


def test_where_gold_is_a_coin_nothing_is_found(told: Told, drawn: Draw, persona: Named) -> None:
    """Searches bring the searched cases closer to gold; development bears none out. Many more: evals.tuning."""
    even = with_lens(persona("builder"), dict.fromkeys(KINDS, 1.0))
    runs = [tune(told, even, **cases(drawn, seed, by_a_coin), rounds=1) for seed in range(6)]
    assert sum(bool(run.steps) for run in runs) >= 1, "there was nothing to be misled by"
    assert not any(run.confirmed for run in runs)


def test_without_a_step_nothing_is_judged(told: Told, drawn: Draw, persona: Named) -> None:
    best = with_lens(persona("builder"), {kind: 2.0 if kind in COUNTS else 0.0 for kind in KINDS})
    found = tune(told, best, **cases(drawn, 1, by_what_counts))
    assert (found.steps, found.dev, found.confirmed) == ((), None, False)
    assert found.before == found.after


def test_what_is_reported_is_what_a_calibrated_persona_decides(told: Told, drawn: Draw, persona: Named) -> None:
    """The matrices of the search and `panel.decide` come to the same."""
    one = persona("futurist").model_copy(update={"calibration": Calibration()})
    tools = drawn("x", 24, by_what_counts, each=2)
    rows = told.pulls(one, [case.dossier.evidence for case in tools])
    fitted = one.model_copy(update={"calibration": fit(one, tools, rows)})
    chances = [decide(fitted, c.dossier.evidence, row)[1] for c, row in zip(tools, rows, strict=True)]
    brier = sum((p - (c.gold.verdicts["futurist"] == "ship")) ** 2 for p, c in zip(chances, tools, strict=True)) / 24
    assert _Weighed(told, one, tools).brier(one) == pytest.approx(brier, abs=2e-3)


def test_one_verdict_cannot_be_searched_by(told: Told, drawn: Draw, persona: Named) -> None:
    tools = drawn("x", 6, lambda *_: True)
    with pytest.raises(SetupError, match="the same verdict in all 6 cases"):
        tune(told, persona("builder"), search=tools, dev=tools)


# ------------------------------------------------------------------------------------------------------- what it tries


def test_without_candidates_every_weight_is_tried_larger_and_smaller(persona: Named) -> None:
    builder = persona("builder")
    found = list(moves(builder, tuned=True))
    assert {move.field for move in found} == {f"lens.{kind}" for kind in KINDS}
    assert [move.new for move in found if move.field == "lens.docs"] == ["0", "0.6", "0.9", "1.5", "1.8", "2.4"]
    assert all(move.persona != builder for move in found)


def test_the_candidates_of_the_file_are_tried_and_no_others(persona: Named) -> None:
    builder = persona("builder")
    known = Candidates(
        audience=("a programmer", builder.audience),
        lens={"docs": (0.5, 1.2)},
        examples=(
            Example(fact="It is fast.", label="good"),
            builder.examples[0],
            Example(fact="It is slow.", label="bad"),
        ),
    )
    one = builder.model_copy(update={"candidates": known})
    tuned = list(moves(one, tuned=True))
    assert [(move.field, move.new) for move in tuned] == [("lens.docs", "0.5"), ("audience", "a programmer")]
    untuned = list(moves(one, tuned=False))[2:]
    assert len(untuned) == len(builder.examples)  # each gives way to the one of its own label
    for place, move in enumerate(untuned):
        assert move.field == f"examples.{place + 1}"
        assert [e.label for e in move.persona.examples] == [e.label for e in builder.examples]
        assert move.persona.examples[place].fact in ("It is fast.", "It is slow.")


def test_an_audience_is_weighed_and_the_better_one_kept(
    drawn: Draw, persona: Named, prompts: Any, tmp_path: Any
) -> None:
    """This model understands one of the two readers only."""

    class Hearing(Told):
        def pulls(self, persona: Persona, dossiers: Any) -> Any:
            rows = super().pulls(persona, dossiers)
            if persona.audience == "a programmer":
                return rows
            return [[pull.model_copy(update={"log_odds": 1.0}) for pull in row] for row in rows]

    hearing = Hearing(ScriptedEngine(lambda _: ""), prompts)
    lens = {kind: 1.0 if kind in COUNTS else 0.0 for kind in KINDS}
    deaf = with_lens(persona("builder"), lens, candidates=Candidates(audience=("a programmer",), lens={"docs": (1.0,)}))
    found = tune(hearing, deaf, **cases(drawn, 3, by_what_counts))
    assert found.confirmed
    assert [(step.field, step.new) for step in found.steps] == [("audience", "a programmer")]
