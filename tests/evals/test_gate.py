"""The gate: twelve planted regressions are caught by name, and nothing else rings."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from evals import gate
from evals.gate import bless, judge
from evals.promises import broken
from evals.stability import changes
from evals.stability.record import Cell, Stability, Subject, Trial
from evals.stability.run import run_stability, to_json
from evals.stability.verdict import Baseline, Gate
from panel.assets import asset_folder
from panel.engines.scripted import ScriptedEngine
from panel.errors import SetupError
from panel.gold import Case, Gold, load_case
from panel.personas import load_persona
from panel.prompts import Prompts
from panel.records import Calibration, Dossier, Persona
from panel.requests import GenerateRequest
from tests import scripted as script
from tests.evals.judges import alike, write_cases
from tests.evals.world import engine, judged, plant, world, write_probes

PATCH = pytest.MonkeyPatch
FIRST_WEIGHS_MORE = (
    "size_of(pull, deadband), pull > 0",
    "(1.5 if item.id == 'E1' else 1) * size_of(pull, deadband), pull > 0",
)
FEW = ["order", "rewording", "severe"]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return world()


@pytest.fixture(scope="module", autouse=True)
def probes(tmp_path_factory: pytest.TempPathFactory, cases: list[Case]) -> Iterator[Path]:
    folder = write_probes(tmp_path_factory.mktemp("probes"), cases)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes, "PROBES", folder)
        yield folder


@pytest.fixture(scope="module")
def blessed(tmp_path_factory: pytest.TempPathFactory, cases: list[Case]) -> Baseline:
    return bless(
        judged(tmp_path_factory.mktemp("baseline"), cases), who="A. Editor", why="the first", when="2026-01-02"
    )


def names(said: Gate, *, persona: str, probe: str) -> bool:
    """Whether a finding that counts, and says so, is of this persona under this probe."""
    return any(
        (f.persona, f.probe) == (persona, probe) and persona in f.sentence and probe in f.sentence
        for f in said.findings
        if f.counts == "regress"
    )


def with_persona(slug: str, **fields: object) -> list[Persona]:
    return [p.model_copy(update=fields) if p.slug == slug else p for p in alike()]


# ------------------------------------------------------------------------------------------- the twelve regressions


def test_an_unchanged_tree_passes(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    said = judge(judged(tmp_path, cases), blessed)
    assert (said.outcome, said.exit_code, said.findings, said.changes) == ("pass", 0, (), ())
    assert said.compared == said.identical > 1000
    assert said.sentence == f"Pass: All {said.compared} verdicts are those of the baseline."


def test_1_prose_emptied(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    """Nothing at all is refused by the loader; a full stop is found by the gate."""
    said = judge(judged(tmp_path, cases, personas=with_persona("futurist", voice="."), only=["order"]), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    assert names(said, persona="futurist", probe="prose")
    text = (asset_folder("personas") / "futurist.md").read_text(encoding="utf-8")
    path = tmp_path / "futurist.md"
    path.write_text(text[: text.rindex("---\n") + 4], encoding="utf-8")
    with pytest.raises(SetupError, match="no prose"):
        load_persona(path)


def test_2_labels_swapped(tmp_path: Path, cases: list[Case], blessed: Baseline, monkeypatch: PATCH) -> None:
    plant(monkeypatch, "panel.weigh", 'LABELS = (" good", " bad")', 'LABELS = (" bad", " good")')
    said = judge(judged(tmp_path, cases, only=FEW), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    for persona in ("builder", "competitor-analyst", "futurist", "business-buyer"):
        assert names(said, persona=persona, probe="gold")
    assert names(said, persona="all", probe="severe") or any(f.probe == "severe" for f in said.findings)


def test_3_an_example_made_wrong(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    first, *rest = alike()[0].examples
    wrong = first.model_copy(update={"label": "bad" if first.label == "good" else "good"})
    said = judge(judged(tmp_path, cases, personas=with_persona("builder", examples=(wrong, *rest)), only=FEW), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    assert names(said, persona="builder", probe="gold") or names(said, persona="builder", probe="brier")
    assert "the file of builder is not that of the baseline" in said.notes
    assert {change.persona for change in said.changes} == {"builder"}


def test_4_the_prior_dropped(tmp_path: Path, cases: list[Case], blessed: Baseline, monkeypatch: PATCH) -> None:
    plant(monkeypatch, "panel.weigh", "next(values) - prior - persona", "next(values) - persona")
    said = judge(judged(tmp_path, cases, only=FEW), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    for persona in alike():
        assert names(said, persona=persona.slug, probe="prior")
        assert names(said, persona=persona.slug, probe="gold")


def test_6_order_dependence_put_back(tmp_path: Path, cases: list[Case], blessed: Baseline, monkeypatch: PATCH) -> None:
    """The first piece of evidence weighs half as much again."""
    plant(monkeypatch, "panel.decide", *FIRST_WEIGHS_MORE)
    said = judge(judged(tmp_path, cases, only=["order", "rerun"]), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    assert names(said, persona="builder", probe="order")


def test_7_another_quantisation(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    said = judge(judged(tmp_path, cases, by=engine(model_sha256="9" * 64), only=["order"]), blessed)
    assert (said.outcome, said.exit_code) == ("not comparable", 5)
    assert "the model is another one (scripted 999999999999" in said.sentence
    assert "builder" in said.sentence
    assert "order" in said.sentence


def test_8_the_calibration_of_another_model(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    """Its numbers under this model's key, and no calibration at all."""
    other = Calibration(fitted=True, neutral=-0.3, deadband=0, intercept=3.5, strengths=1, weaknesses=1)
    said = judge(
        judged(tmp_path / "1", cases, personas=with_persona("business-buyer", calibration=other), only=FEW), blessed
    )
    assert (said.outcome, said.exit_code) == ("regress", 1)
    assert names(said, persona="business-buyer", probe="gold") or names(said, persona="business-buyer", probe="brier")
    assert "the calibration of business-buyer is not that of the baseline" in said.notes
    none = with_persona("business-buyer", calibration=Calibration())
    said = judge(judged(tmp_path / "2", cases, personas=none, only=FEW), blessed)
    assert names(said, persona="business-buyer", probe="calibration")


def test_9_evidence_truncated(tmp_path: Path, cases: list[Case], blessed: Baseline, monkeypatch: PATCH) -> None:
    """Facts are cut before they say whether anything works."""
    plant(monkeypatch, "panel.weigh", "fact=fact)\n\n\ndef weighing_of", "fact=fact[:16])\n\n\ndef weighing_of")
    said = judge(judged(tmp_path, cases, only=FEW), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    assert any(f.probe in ("gold", "brier") and f.counts == "regress" for f in said.findings)
    assert any(names(said, persona=persona.slug, probe="gold") for persona in alike())


def test_11_one_persona_copied_over_another(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    builder = alike()[0]
    fields = {name: getattr(builder, name) for name in ("audience", "lens", "examples", "voice", "beats", "terms")}
    said = judge(judged(tmp_path, cases, personas=with_persona("futurist", **fields), only=["order"]), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    assert names(said, persona="futurist", probe="copy")
    assert "copy of the builder" in said.sentence


def test_12_the_threshold_moved(tmp_path: Path, cases: list[Case], blessed: Baseline, monkeypatch: PATCH) -> None:
    plant(monkeypatch, "panel.decide", "p_ship >= 0.5", "p_ship >= 0.7")
    said = judge(judged(tmp_path, cases, only=FEW), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    assert any(names(said, persona=persona.slug, probe="threshold") for persona in alike())


# --------------------------------------------------------------------------------------- two of them need an agent


def varied(request: GenerateRequest) -> str:
    """What the scripted reviewer writes, with a word more for odd seeds."""
    said = script.write(request)
    return f"{said.removesuffix('.')} too." if request.grammar.kind == "words" and request.seed % 2 else said


@pytest.fixture
def live(tmp_path: Path, dossier: Dossier, personas: Sequence[Persona]) -> Callable[..., Stability]:
    """Whole reviews of the hand-written dossier."""
    gold = Gold.model_validate({"schema": "gold/1", "verdicts": {p.slug: "ship" for p in personas}})
    fitted = [p.model_copy(update={"calibration": Calibration(fitted=True)}) for p in personas]

    def run(folder: str, write: Callable[[GenerateRequest], str] = varied) -> Stability:
        by: ScriptedEngine = script.scripted_engine(personas, write=write)
        only = ["live", "same-seed", "rivals", "plans", "beats"]
        return run_stability(
            by, Prompts(), fitted, [Case(dossier, gold)], tmp_path / folder, seeds=2, draws=1, live=1, only=only
        )

    return run


def test_5_the_grammar_off_and_10_the_seed_ignored(live: Callable[..., Stability]) -> None:
    """Without a grammar a model says what it likes, and no call of a tool can be read. Who ignores the seed writes the
    same again. Who takes it from elsewhere writes something else with the same one."""
    first = live("first")
    strips = {(cell.persona, cell.probe): cell.strip for cell in first.cells}
    assert strips["builder", "live"] == "✓✓"
    assert strips["builder", "same-seed"] == "✓✓"
    assert strips["builder", "rivals"] == strips["builder", "plans"] == strips["builder", "beats"] == "✓"
    blessed = bless(first, who="A. Editor", why="the first")
    assert judge(live("again"), blessed).outcome == "pass"

    said = judge(live("free", lambda request: "I would ship it for $18.43."), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    assert names(said, persona="builder", probe="live")

    said = judge(live("deaf", script.write), blessed)
    assert (said.outcome, said.exit_code) == ("regress", 1)
    assert names(said, persona="builder", probe="live")
    assert "ignores its seed" in said.sentence

    toss = random.Random(0)  # noqa: S311

    def moody(request: GenerateRequest) -> str:
        said = script.write(request)
        return f"{said.removesuffix('.')} too." if request.grammar.kind == "words" and toss.random() < 0.5 else said

    said = judge(live("moody", moody), blessed)
    assert said.outcome == "regress"
    assert any(f.probe == "same-seed" and "same seed wrote another text" in f.sentence for f in said.findings)


# --------------------------------------------------------------------------------------------------- no wolf is cried


def test_reruns_raise_no_alarm(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    few = cases[::4]
    texts = set()
    for n in range(3):
        run = judged(tmp_path / str(n), few, only=FEW)
        texts.add(to_json(run))
        assert judge(run, blessed).exit_code == 0
    assert len(texts) == 1  # to the last byte


def test_harmless_edits_raise_no_alarm(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    """Cases in another order, in renamed folders, in YAML of another layout with comments; personas likewise."""
    few = cases[::4]
    calibration = alike()[0].calibration
    lens = alike()[0].lens
    for n in range(4):
        rng = random.Random(n)  # noqa: S311
        home = tmp_path / str(n)
        root = write_cases(home, train=[], dev=few, test=[])
        loaded = []
        for folder in rng.sample(sorted(root.iterdir()), len(few)):
            renamed = folder.rename(folder.with_name(f"{rng.choice('abc')}-{folder.name}"))
            for name in ("dossier.yaml", "gold.yaml"):
                data = yaml.safe_load((renamed / name).read_text(encoding="utf-8"))
                laid = yaml.safe_dump(data, sort_keys=rng.random() < 0.5, width=rng.choice((60, 100, 200)))
                (renamed / name).write_text(f"# speling {n}\n{laid}", encoding="utf-8")
            loaded.append(load_case(renamed))
        personas = []
        for persona in alike():
            text = (asset_folder("personas") / f"{persona.slug}.md").read_text(encoding="utf-8")
            path = home / f"{persona.slug}.md"
            path.write_text(
                text.replace("---\n", f"---\n# a coment, edit {n}\n", 1).rstrip() + "\n" * rng.randint(1, 4)
            )
            personas.append(load_persona(path).model_copy(update={"calibration": calibration, "lens": lens}))
        said = judge(judged(home / "out", loaded, personas=personas, only=FEW), blessed)
        assert (said.outcome, said.changes) == ("pass", ()), said.sentence
        shutil.rmtree(home)


def test_two_runs_that_are_equally_right_are_merely_different(blessed: Baseline) -> None:
    """One verdict lost and one gained, of the same persona, and no probe that holds less often."""
    run = blessed.run
    one, other = [s for s in run.subjects if s.persona == "builder" and s.decision == s.gold == "ship"][:2]
    said = judge(turned(run, [one]), bless(turned(blessed.run, [other]), who="A. Editor", why="to compare"))
    assert (said.outcome, said.exit_code) == ("pass", 0)
    assert "merely different" in said.sentence
    assert {(c.tool, c.right) for c in said.changes} == {(one.tool, "then"), (other.tool, "now")}


def turned(run: Stability, subjects: Sequence[Subject]) -> Stability:
    """A run in which these say the opposite, by a hair."""
    opposite = {"ship": {"decision": "skip", "p_ship": 0.49}, "skip": {"decision": "ship", "p_ship": 0.51}}
    own = {(s.tool, s.persona) for s in subjects}
    changed = tuple(
        s.model_copy(update=opposite[s.decision]) if (s.tool, s.persona) in own else s for s in run.subjects
    )
    return run.model_copy(update={"subjects": changed})


def test_a_loss_that_may_be_chance_is_inconclusive(blessed: Baseline) -> None:
    """Two verdicts of twenty: 2 · 0.5² is far from 0.05."""
    run = blessed.run
    lost = [s for s in run.subjects if s.persona == "builder" and s.decision == s.gold][:2]
    said = judge(turned(run, lost), blessed)
    assert (said.outcome, said.exit_code) == ("inconclusive", 3)
    assert "the builder is less right: 2 verdicts became wrong and 0 right" in said.sentence
    assert "may be chance" in said.sentence


# --------------------------------------------------------------------------------------------- baselines and cases


def test_other_cases_are_not_comparable_and_fewer_are(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    said = judge(judged(tmp_path / "1", cases[:3], only=["order"]), blessed)
    assert said.outcome == "pass"
    assert "17 of the baseline's 20 cases were not run" in said.notes
    item = cases[0].dossier.evidence[0].model_copy(update={"text": "Part 1 of it works."})
    dossier = cases[0].dossier.model_copy(update={"evidence": (item, *cases[0].dossier.evidence[1:])})
    said = judge(judged(tmp_path / "2", [Case(dossier, cases[0].gold)], only=["order"]), blessed)
    assert (said.outcome, said.exit_code) == ("not comparable", 5)
    assert "the case tool-00 is not what it was" in said.sentence


def test_a_baseline_that_breaks_its_promises_is_refused(tmp_path: Path, cases: list[Case], monkeypatch: PATCH) -> None:
    plant(monkeypatch, "panel.decide", *FIRST_WEIGHS_MORE)
    run = judged(tmp_path, cases[:4], only=["order"])
    with pytest.raises(SetupError, match="order"):
        bless(run, who="A", why="b")
    forced = Baseline(who="A", why="b", when="2026-01-02", sha256=gate.run_sha256(run), run=run)
    said = judge(run, forced)
    assert (said.outcome, said.exit_code) == ("unreliable baseline", 4)
    assert "A blessed on 2026-01-02 cannot be relied on" in said.sentence


def test_a_baseline_that_was_edited_is_unreliable(tmp_path: Path, cases: list[Case], blessed: Baseline) -> None:
    path = tmp_path / "baseline.json"
    gate.save(path, blessed, to_json(blessed.run))
    assert gate.load_baseline(path) == blessed
    run = judged(tmp_path / "run", cases[:3], only=["order"])
    assert judge(run, gate.load_baseline(path)).outcome == "pass"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["run"]["subjects"][0]["p_ship"] = 0.6
    path.write_text(json.dumps(data), encoding="utf-8")
    said = judge(run, gate.load_baseline(path))
    assert (said.outcome, said.exit_code) == ("unreliable baseline", 4)
    assert "changed after it was blessed" in said.sentence


def test_nobody_blesses_without_a_name_and_a_reason(blessed: Baseline) -> None:
    with pytest.raises(SetupError, match="answers for it"):
        bless(blessed.run, who=" ", why="b")
    assert (blessed.who, blessed.why, blessed.when) == ("A. Editor", "the first", "2026-01-02")


def test_unscored_trials_are_no_measure(blessed: Baseline) -> None:
    trial = Trial(label="a", decision="unscored", p_ship=None, held=False, flip=False, reason="no answer")
    cell = Cell(tool="tool-00", persona="builder", probe="hype", trials=(trial,))
    run = blessed.run.model_copy(update={"cells": (*blessed.run.cells, cell)})
    assert gate.unreliable(run) == ["1 of its trials are unscored"]


def test_an_example_may_be_corrected_but_not_turned(blessed: Baseline) -> None:
    """A label that went against the model's own weighing may be turned; one that agreed with it may not."""
    builder = next(one for one in blessed.run.examples if one.persona == "builder")
    turned = builder.model_copy(update={"label": "bad" if builder.label == "good" else "good"})

    def runs(log_odds: float) -> tuple[Stability, Stability]:
        then = blessed.run.model_copy(update={"examples": (builder.model_copy(update={"log_odds": log_odds}),)})
        return blessed.run.model_copy(update={"examples": (turned,)}), then

    sign = 1 if builder.label == "good" else -1
    assert [one.probe for one in broken(*runs(1.2 * sign))] == ["examples"]
    assert broken(*runs(-1.2 * sign)) == []


def test_a_calibration_that_is_not_the_models_own_is_named(blessed: Baseline) -> None:
    def run(*, own: bool, fitted: bool = True) -> Stability:
        about = blessed.run.about.personas["futurist"]
        calibration = about.calibration.model_copy(update={"fitted": fitted})
        changed = about.model_copy(update={"own": own, "calibration": calibration})
        personas = {**blessed.run.about.personas, "futurist": changed}
        return blessed.run.model_copy(update={"about": blessed.run.about.model_copy(update={"personas": personas})})

    (one,) = broken(run(own=False), run(own=True))
    assert (one.persona, one.probe) == ("futurist", "calibration")
    assert broken(run(own=True), run(own=True)) == broken(run(own=False), run(own=False)) == []


def test_what_says_nothing_pulls_nowhere(blessed: Baseline) -> None:
    assert set(blessed.run.nothing.values()) == {0.0}
    (one,) = broken(blessed.run.model_copy(update={"nothing": {"builder": 0.31, "futurist": 0.001}}))
    assert (one.persona, one.probe) == ("builder", "prior")
    assert "+0.31 nats" in one.sentence
