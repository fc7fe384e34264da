"""A whole run on a scripted engine: eight reviews, what fails alone, what is kept, and nothing computed twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panel.calibrate import FILE, load_calibrations
from panel.engines.scripted import ScriptedEngine
from panel.errors import EngineError, SetupError
from panel.gold import Case, Gold
from panel.prompts import Prompts
from panel.records import PERSONA_SLUGS, Calibration, Comparison, Dossier, Persona, Review
from panel.requests import GenerateRequest
from panel.run import AT_ONCE, Event, Outcome, calibrate, calibrate_for, compare, load_dossiers
from tests import scripted as script

Compare = Callable[..., Outcome]
PAIRS = [(tool, persona) for tool in ("lanternfish", "bramble") for persona in PERSONA_SLUGS]


@pytest.fixture
def run(
    dossier: Dossier, other_dossier: Dossier, personas: tuple[Persona, ...], prompts: Prompts, tmp_path: Path
) -> Compare:
    """Compares the two dossiers of the tests, in a folder of the test."""

    def do(engine: ScriptedEngine | None = None, **options: Any) -> Outcome:
        dossiers = options.pop("dossiers", [dossier, other_dossier])
        panel = options.pop("personas", personas)
        engine = engine or script.scripted_engine(personas)
        return compare(dossiers, panel, prompts, engine, **({"out": tmp_path / "outputs"} | options))

    return do


@pytest.fixture
def journal(tmp_path: Path) -> Callable[[], list[tuple[str, str]]]:
    def read() -> list[tuple[str, str]]:
        path = tmp_path / "outputs" / "journal.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line["tool"], line["persona"]) for line in map(json.loads, lines)]

    return read


def reviews(outcome: Outcome) -> dict[tuple[str, str], Review]:
    return {(tool.slug, review.persona): review for tool in outcome.record.tools for review in tool.reviews}


def untimed(outcome: Outcome) -> Any:
    """The record without its times and its page numbers of the clock."""
    data = json.loads(outcome.record.model_dump_json(by_alias=True))
    del data["created"]
    for tool in data["tools"]:
        for review in tool["reviews"]:
            del review["provenance"]["seconds"]
    return data


def failing(*parts: str, error: Exception | None = None) -> ScriptedEngine:
    """The scripted engine, but it fails where a request's key holds one of `parts`."""

    def write(request: GenerateRequest) -> str:
        if any(part in request.key for part in parts):
            raise error or EngineError("the cable is out")
        return script.write(request)

    return script.scripted_engine(write=write)


# ----------------------------------------------------------------------------------------------------- a good run


def test_eight_reviews_and_three_pages(run: Compare, journal: Callable[[], Any], tmp_path: Path) -> None:
    events: list[Event] = []
    outcome = run(on_event=events.append)
    found = reviews(outcome)
    assert sorted(found) == sorted(PAIRS)
    assert {r.status for r in found.values()} == {"scored"}
    assert all(4 <= len(r.beats) <= 5 for r in found.values())
    assert sorted(journal()) == sorted(PAIRS)
    folder = tmp_path / "outputs" / "lanternfish-vs-bramble"
    assert outcome.pages == {name: folder / f"comparison.{end}" for name, end in
                             (("json", "json"), ("html", "html"), ("markdown", "md"))}  # fmt: skip
    assert Comparison.model_validate_json(outcome.pages["json"].read_bytes()) == outcome.record
    for pair in PAIRS:
        said = [event.what for event in events if (event.tool, event.persona) == pair]
        assert (said[0], said[1], said[-1]) == ("started", "weigh_evidence", "scored")


def test_verdicts_that_differ_make_a_pick(run: Compare, personas: tuple[Persona, ...]) -> None:
    """Two of four like both tools, so that neither is a favourite."""
    record = run(script.scripted_engine(personas, skips=["futurist", "business-buyer"])).record
    assert [tool.panel.percent for tool in record.tools] == [50, 50]
    assert record.pick.slug is None
    assert record.reviewer_split[0].decisions == {"lanternfish": "ship", "bramble": "ship"}
    assert record.reviewer_split[3].decisions == {"lanternfish": "skip", "bramble": "skip"}


def test_the_same_run_twice_gives_the_same_record(run: Compare) -> None:
    assert untimed(run()) == untimed(run(fresh=True))
    assert untimed(run(seed=1)) != untimed(run())


def test_all_reviews_of_a_step_are_asked_for_together(run: Compare) -> None:
    """The whole point of a scheduler: eight agents, and not eight times as many batches as one of them makes."""
    batches: list[int] = []
    engine = script.scripted_engine()
    real = engine.generate

    def generate(requests: Any) -> Any:
        batches.append(len({tuple(request.key.split("/")[1:3]) for request in requests}))
        return real(requests)

    engine.generate = generate  # type: ignore[method-assign]
    run(engine)
    assert batches[0] == 8
    assert len(batches) < 20


def test_more_tools_than_fit_at_once(run: Compare, dossier: Dossier, journal: Callable[[], Any]) -> None:
    dossiers = [dossier.model_copy(update={"slug": f"tool-{n}", "name": f"Tool {n}"}) for n in range(3)]
    assert len(dossiers) * 4 > AT_ONCE
    outcome = run(dossiers=dossiers)
    assert {r.status for r in reviews(outcome).values()} == {"scored"}
    assert len(journal()) == 12
    assert [tool.slug for tool in outcome.record.tools] == ["tool-0", "tool-1", "tool-2"]


@given(st.permutations(range(10)))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_the_evidence_cannot_change_a_verdict(
    run: Compare, dossier: Dossier, personas: tuple[Persona, ...], tmp_path: Path, order: list[int]
) -> None:
    """Through the whole run: p_ship to the last bit, whatever the order of the file."""

    def rate(prompt: str, candidate: str) -> float:
        # a different pull for each fact, of either sign
        return (sum(map(ord, script.last_fact(prompt))) % 13 - 6) / 3 if candidate == " good" else 0.0

    turned = dossier.model_copy(update={"evidence": tuple(dossier.evidence[i] for i in order)})
    chances = []
    for one in (dossier, turned):
        outcome = run(ScriptedEngine(script.write, rate), dossiers=[one], out=tmp_path / "order", fresh=True)
        chances.append([(r.decision, r.p_ship) for r in reviews(outcome).values()])
    assert chances[0] == chances[1]


# ------------------------------------------------------------------------------------------------------- failures


def test_a_review_that_fails_is_unscored_and_the_others_go_on(run: Compare, journal: Callable[[], Any]) -> None:
    outcome = run(failing("step/futurist/bramble/02"))
    found = reviews(outcome)
    failed = found.pop(("bramble", "futurist"))
    assert (failed.status, failed.decision, failed.reason) == ("unscored", None, "the cable is out")
    assert {r.status for r in found.values()} == {"scored"}
    bramble = outcome.record.tools[1].panel
    assert (bramble.ship, bramble.skip, bramble.unscored, bramble.percent) == (3, 0, 1, 100)
    assert outcome.record.reviewer_split[2].decisions == {"lanternfish": "ship", "bramble": "unscored"}
    assert ("bramble", "futurist") not in journal()
    assert len(journal()) == 7


def test_any_error_of_an_engine_is_one_reviews_own(run: Compare) -> None:
    """Not only those that an engine is meant to raise."""
    outcome = run(failing("draft/builder/lanternfish", error=ZeroDivisionError("division by zero")))
    found = reviews(outcome)
    assert found["lanternfish", "builder"].reason == "division by zero"
    assert sum(r.status == "scored" for r in found.values()) == 7


def test_what_failed_is_tried_again_and_what_was_finished_is_not(run: Compare, journal: Callable[[], Any]) -> None:
    run(failing("step/futurist/bramble"))
    engine = script.scripted_engine()
    events: list[Event] = []
    outcome = run(engine, on_event=events.append)
    assert {r.status for r in reviews(outcome).values()} == {"scored"}
    assert {request.key.split("/")[1:3][0] for request in engine.generated} == {"futurist"}
    assert [e for e in events if e.what == "reused"] == [Event(*pair, "reused") for pair in PAIRS
                                                         if pair != ("bramble", "futurist")]  # fmt: skip
    assert sorted(journal()) == sorted(PAIRS), "each of them once"


def test_an_unscored_review_leaves_its_trace(run: Compare, tmp_path: Path) -> None:
    run(failing("draft/futurist/bramble"))
    names = [path.name for path in (tmp_path / "outputs" / "reviews").glob("bramble.futurist.*")]
    assert len(names) == 1
    assert names[0].endswith(".trace.json")


def test_an_engine_that_can_do_nothing_is_an_error(run: Compare, tmp_path: Path) -> None:
    """Nobody wants a page of eight excuses."""
    with pytest.raises(EngineError, match="every review failed: the cable is out"):
        run(failing("step/"))
    assert not (tmp_path / "outputs" / "lanternfish-vs-bramble").exists()


def test_reviewers_that_all_fail_are_eight_unscored_reviews(run: Compare) -> None:
    """What a model writes is no fault of the engine."""
    engine = script.scripted_engine(write=lambda r: " zzz." if r.key.startswith("draft/") else script.write(r))
    outcome = run(engine)
    assert [tool.panel.unscored for tool in outcome.record.tools] == [4, 4]
    assert [tool.panel.percent for tool in outcome.record.tools] == [None, None]
    assert outcome.record.pick.slug is None
    assert outcome.pages["html"].exists()


def test_a_folder_that_cannot_be_written_is_an_error(run: Compare, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="Fix: choose a folder that you may write to"):
        run(out=tmp_path / "file")


# ---------------------------------------------------------------------------------------------------------- reuse


def test_nothing_is_computed_twice(run: Compare, journal: Callable[[], Any]) -> None:
    first = run()
    engine = script.scripted_engine()
    events: list[Event] = []
    second = run(engine, on_event=events.append)
    assert (engine.generated, engine.scored) == ([], [])
    assert [event.what for event in events] == ["reused"] * 8
    # To the second: a reused review is the one that was made.
    assert reviews(second) == reviews(first)
    assert len(journal()) == 8


def test_only_what_changed_is_computed_anew(
    run: Compare, dossier: Dossier, other_dossier: Dossier, personas: tuple[Persona, ...], journal: Callable[[], Any]
) -> None:
    run()
    engine = script.scripted_engine()
    changed = dossier.model_copy(update={"tagline": "Another tagline"})
    run(engine, dossiers=[changed, other_dossier])
    assert {request.key.split("/")[2] for request in engine.generated} == {"lanternfish"}
    assert len(journal()) == 8 + 4

    engine = script.scripted_engine()
    sharper = personas[1].model_copy(update={"voice": "Sharper."})
    run(engine, personas=(personas[0], sharper, *personas[2:]))
    assert {request.key.split("/")[1] for request in engine.generated} == {"competitor-analyst"}
    assert len(journal()) == 12 + 2


@pytest.mark.parametrize("other", [{"seed": 1}, {"loop": "free"}, {"fresh": True}])
def test_another_seed_or_loop_is_another_review(
    run: Compare, journal: Callable[[], Any], other: dict[str, Any]
) -> None:
    run()
    run(**other)
    assert len(journal()) == 16


def test_a_review_serves_every_comparison_of_its_tool(
    run: Compare, dossier: Dossier, journal: Callable[[], Any]
) -> None:
    run()
    outcome = run(dossiers=[dossier])
    assert [tool.slug for tool in outcome.record.tools] == ["lanternfish"]
    assert len(journal()) == 8


def test_a_review_that_was_spoilt_on_disk_is_made_again(
    run: Compare, journal: Callable[[], Any], tmp_path: Path
) -> None:
    run()
    (path,) = (p for p in (tmp_path / "outputs" / "reviews").glob("bramble.builder.*") if "trace" not in p.name)
    path.write_bytes(path.read_bytes()[:200])
    outcome = run()
    assert reviews(outcome)["bramble", "builder"].status == "scored"
    assert len(journal()) == 9


# ---------------------------------------------------------------------------------------------------- calibration


@pytest.fixture
def gold_cases(dossier: Dossier) -> list[Case]:
    """Four tools: two ship on the first seven facts of the tests' dossier, two are skipped on the last three."""
    cases = []
    for number, verdict in enumerate(("ship", "skip", "ship", "skip")):
        evidence = dossier.evidence[:7] if verdict == "ship" else dossier.evidence[7:]
        data = {"schema": "gold/1", "verdicts": dict.fromkeys(PERSONA_SLUGS, verdict)}
        tool = dossier.model_copy(update={"slug": f"tool-{number}", "evidence": evidence})
        cases.append(Case(tool, Gold.model_validate(data)))
    return cases


def likes(*facts: str) -> Callable[[str, str], float]:
    """Likes these facts by 2 nats, dislikes the others by as much, and has no opinion on the tool as such."""
    from panel.weigh import CONTENT_FREE

    def rate(prompt: str, candidate: str) -> float:
        fact = script.last_fact(prompt)
        return 0.0 if candidate != " good" or fact in CONTENT_FREE else 2.0 if fact in facts else -2.0

    return rate


def test_personas_are_calibrated_once_and_for_one_model(
    gold_cases: list[Case], personas: tuple[Persona, ...], prompts: Prompts, dossier: Dossier, tmp_path: Path
) -> None:
    engine = ScriptedEngine(script.write, likes(*(item.text for item in dossier.evidence[:7])))
    assert not any(persona.calibration.fitted for persona in calibrate_for(personas, prompts, engine, tmp_path))
    counted: list[None] = []
    path, entries = calibrate(personas, gold_cases, prompts, engine, tmp_path, on_case=lambda: counted.append(None))
    assert path == tmp_path / FILE
    assert set(load_calibrations(tmp_path).entries) == set(entries)
    assert [(one.persona, one.model, one.engine, one.cases) for one in entries] == [
        (slug, "scripted", "scripted", 4) for slug in PERSONA_SLUGS
    ]
    assert len(counted) == 4 * len(gold_cases)
    assert [persona.calibration for persona in calibrate_for(personas, prompts, engine, tmp_path)] == [
        one.calibration for one in entries
    ]
    assert all(one.calibration.fitted for one in entries)
    other = ScriptedEngine(script.write, adapter_sha256="1" * 64)
    assert not any(persona.calibration.fitted for persona in calibrate_for(personas, prompts, other, tmp_path))
    # a second time changes nothing, also where the personas have their calibrations by now
    text = path.read_text(encoding="utf-8")
    calibrate(calibrate_for(personas, prompts, engine, tmp_path), gold_cases, prompts, engine, tmp_path)
    assert path.read_text(encoding="utf-8") == text


def test_what_was_calibrated_decides_the_cases_right(
    run: Compare,
    gold_cases: list[Case],
    personas: tuple[Persona, ...],
    prompts: Prompts,
    dossier: Dossier,
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine(script.write, likes(*(item.text for item in dossier.evidence[:7])))
    calibrate(personas, gold_cases, prompts, engine, tmp_path)
    ready = calibrate_for(personas, prompts, engine, tmp_path)
    found = reviews(run(engine, personas=ready, dossiers=[case.dossier for case in gold_cases]))
    for case in gold_cases:
        for slug in PERSONA_SLUGS:
            assert found[case.dossier.slug, slug].decision == case.gold.verdicts[slug]
            assert found[case.dossier.slug, slug].provenance.calibrated


def test_a_review_says_whether_it_was_calibrated_and_is_made_anew_when_it_is(
    run: Compare, personas: tuple[Persona, ...], journal: Callable[[], Any]
) -> None:
    assert {review.provenance.calibrated for review in reviews(run()).values()} == {False}
    ready = [p.model_copy(update={"calibration": Calibration(fitted=True, intercept=0.1)}) for p in personas]
    assert {review.provenance.calibrated for review in reviews(run(personas=ready)).values()} == {True}
    assert len(journal()) == 16


def test_nothing_is_written_where_cases_teach_nothing(
    gold_cases: list[Case], personas: tuple[Persona, ...], prompts: Prompts, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match="builder has the same verdict in all 2 cases"):
        calibrate(personas, gold_cases[::2], prompts, script.scripted_engine(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_adapter_stands_in_the_record(run: Compare, journal: Callable[[], Any]) -> None:
    """With another adapter, it is another review."""
    run()
    tuned = run(script.scripted_engine(adapter_sha256="1" * 64))
    assert {review.provenance.adapter_sha256 for review in reviews(tuned).values()} == {"1" * 64}
    assert {review.status for review in reviews(tuned).values()} == {"scored"}
    assert len(journal()) == 16


# --------------------------------------------------------------------------------------------------------- Ctrl-C


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_keeps_what_is_finished(run: Compare, journal: Callable[[], Any]) -> None:
    """The buyer of one tool must write its beats again, and is not done when the others are; once one of these is,
    Ctrl-C is pressed in the midst of the next batch. What was finished is there, nothing new is begun, and the next
    run makes the rest, each once."""
    finished, ended, pressed = threading.Event(), threading.Semaphore(0), []

    def on_event(event: Event) -> None:
        if event.what == "scored":
            finished.set()
        if event.what in ("scored", "unscored"):
            ended.release()

    def write(request: GenerateRequest) -> str:
        if finished.is_set() and not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        if request.key.startswith("draft/business-buyer/lanternfish") and "/0/" in request.key:
            return " zzz."
        return script.write(request)

    with pytest.raises(KeyboardInterrupt):
        run(script.scripted_engine(write=write), on_event=on_event)
    for _ in PAIRS:  # reviews that were on their way to the disk may still reach it
        assert ended.acquire(timeout=5)
    kept = journal()
    assert 1 <= len(kept) < 8
    engine = script.scripted_engine()
    outcome = run(engine)
    assert {r.status for r in reviews(outcome).values()} == {"scored"}
    assert sorted(journal()) == sorted(PAIRS)
    made = {tuple(request.key.split("/")[1:3][::-1]) for request in engine.generated}
    assert made == set(PAIRS) - set(kept)


# -------------------------------------------------------------------------------------------------------- loading


def test_two_dossiers_of_one_slug_are_refused(dossier_file: Callable[..., Path]) -> None:
    one, two = dossier_file(name="one.yaml"), dossier_file(("A small analytical", "Another"), name="two.yaml")
    with pytest.raises(SetupError) as caught:
        load_dossiers([one, two])
    assert (caught.value.path, caught.value.field) == (two, "slug")
    assert f"the slug 'lanternfish' is also that of {one}" in str(caught.value)
    assert [d.slug for d in load_dossiers([one])] == ["lanternfish"]
