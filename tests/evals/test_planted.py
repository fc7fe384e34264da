"""Planted regressions and harmless edits, on judges whose opinions are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import panel.engines
from evals import harmless, planted
from evals.gate import bless
from evals.planting import planted as planting
from evals.stability import changes, identity
from evals.stability import prober as user
from evals.stability.kept import Kept, recording, replaying
from evals.stability.run import run_stability
from evals.stability.verdict import Baseline, Gate
from panel.decide import decide
from panel.engines.identity import Identity
from panel.errors import SetupError
from panel.gold import Case
from panel.prompts import Prompts
from panel.records import Persona
from panel.requests import GenerateRequest, Grammar, Message
from tests.evals.judges import alike, write_cases
from tests.evals.world import engine, world, write_probes

ONLY = ["order", "severe"]


def same_lens(personas: Sequence[Persona], *_: object) -> list[Persona]:
    """As `calibrate_for` would: the calibration and the lens of the scripted world."""
    told = {"calibration": alike()[0].calibration, "lens": alike()[0].lens}
    return [persona.model_copy(update=told) for persona in personas]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return world(20)


@pytest.fixture(autouse=True)
def probes(tmp_path: Path, cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    by = engine()
    monkeypatch.setattr(changes, "PROBES", write_probes(tmp_path / "probes", cases))
    monkeypatch.setattr(panel.engines, "find_engine", lambda name, model: (Identity(by.info, {}), lambda: by))
    for module in (planted, harmless, identity):
        monkeypatch.setattr(module, "calibrate_for", same_lens)


def blessed(folder: Path, cases: Sequence[Case]) -> Baseline:
    with recording(folder / "answers.jsonl", "scripted", "small", folder) as source:
        made = run_stability(
            source.engine(),
            Prompts(),
            alike(),
            cases,
            folder / "work",
            seeds=2,
            draws=2,
            only=ONLY,
            again=source.engine,
        )
    return bless(made, who="A. Editor", why="the first")


def test_what_needs_no_agent_is_caught_by_name(tmp_path: Path, cases: list[Case]) -> None:
    baseline = blessed(tmp_path, cases)
    said: dict[str, Gate] = {}
    with recording(tmp_path / "more.jsonl", "scripted", "small", tmp_path) as kept:
        for plant in planted.PLANTS:
            # the first three ask agents or another model; a scripted model has no calibration of its own to lose
            if plant.name not in ("grammar", "seed", "quantisation", "calibration"):
                said[plant.name] = planted.gate_of(plant, kept, baseline, cases, tmp_path)
    plants = {plant.name: plant for plant in planted.PLANTS}
    assert [name for name, gate in said.items() if not plants[name].caught(gate)] == []
    assert "copy of the builder" in said["copy"].sentence


def test_to_be_caught_takes_the_outcome_and_both_names() -> None:
    plant = planted.PLANTS[0]
    gate = {"exit_code": 1, "sentence": "the futurist has lost its prose (prose)"}
    assert plant.caught(Gate(outcome="regress", **gate))
    assert not plant.caught(Gate(outcome="inconclusive", **gate))
    assert not plant.caught(Gate(outcome="regress", exit_code=1, sentence="the builder has lost its prose"))
    with pytest.raises(SetupError, match="choose from prose, labels"):
        list(planted.chosen(["prosa"]))
    assert len(planted.PLANTS) == len({p.name for p in planted.PLANTS}) == 12


def test_the_engines_of_two_of_them() -> None:
    request = GenerateRequest("draft/builder/a", (Message("user", "hello"),), Grammar("words", "{}"), seed=7)
    assert planted.Free(engine()).change(request).grammar == planted.ANYTHING
    assert planted.Deaf(engine()).change(request).seed == 0
    assert planted.Deaf(engine()).change(request).grammar == request.grammar


def test_what_was_planted_is_pulled_out_again() -> None:
    persona = alike()[0]
    with planting("panel.decide", "p_ship >= 0.5", "p_ship >= 0.7"):
        assert user.decide is not decide
        assert user.decide(persona, [], [])[0] == "skip"
    assert user.decide is decide
    assert user.decide(persona, [], [])[0] == "ship"
    with pytest.raises(LookupError, match="0 times"), planting("panel.decide", "no such line", ""):
        pass


def test_harmless_edits_ring_no_bell(tmp_path: Path, cases: list[Case]) -> None:
    few = cases[:5]
    baseline = blessed(tmp_path, few)
    root = write_cases(tmp_path / "tree", train=[], dev=few, test=[])
    folders = harmless.ordered(baseline, root)
    assert [folder.name for folder in folders] == [case.dossier.slug for case in few]
    texts = set()
    with replaying(tmp_path / "answers.jsonl", "scripted", "small") as kept:
        for n in range(3):
            edited = harmless.edit(tmp_path / f"edit {n}", folders, 0, n)
            said, text = harmless.again(kept, baseline, edited, tmp_path / f"edit {n}", ONLY)
            assert (said.outcome, said.changes) == ("pass", ()), said.sentence
            texts.add(text)
        rerun: tuple[Gate, str] = harmless.again(kept, baseline, few, None, ONLY)
    assert rerun[0].outcome == "pass"
    assert len(texts) == 3  # the prompts' hash tells them apart, and nothing else does
    said, _ = again_with_harm(
        kept_path=tmp_path / "answers.jsonl", baseline=baseline, folders=folders, tree=tmp_path / "harm"
    )
    assert said.outcome == "missing answers"


def again_with_harm(*, kept_path: Path, baseline: Baseline, folders: Sequence[Path], tree: Path) -> tuple[Gate, str]:
    """An edit that is not harmless: a word more in what is weighed."""
    edited = harmless.edit(tree, folders, 0, 0)
    path = tree / "prompts" / "weigh.j2"
    path.write_text(
        path.read_text(encoding="utf-8").replace("Fact: {{ fact }}", "Fact (new): {{ fact }}"), encoding="utf-8"
    )
    with replaying(kept_path, "scripted", "small") as kept:
        return harmless.again(kept, baseline, edited, tree, ONLY)


def test_a_kept_model_is_needed_for_nothing_that_is_known(tmp_path: Path, cases: list[Case]) -> None:
    blessed(tmp_path, cases[:2])
    with replaying(tmp_path / "answers.jsonl", "scripted", "small") as kept:
        assert isinstance(kept, Kept)
        assert not kept.engine().opened
