"""Many tools on a scripted engine: one record each, what is wrong alone, what is kept, and nothing held for long."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from panel.dossier import find_dossiers
from panel.engines.scripted import ScriptedEngine
from panel.errors import EngineError, SetupError
from panel.prompts import Prompts
from panel.records import PERSONA_SLUGS, Comparison, Dossier, Persona
from panel.requests import GenerateRequest
from panel.run import AT_ONCE, Event, Reviewed, batch, compare, load_dossiers
from tests import scripted as script

Run = Callable[..., Iterator[Reviewed]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five tools: three files and two case folders."""
    found = tmp_path / "tools"
    for n in range(5):
        text = script.DOSSIER.replace("lanternfish", f"tool-{n}").replace("Lanternfish 1.2", f"Tool {n}")
        path = found / f"t{n}.yaml" if n < 3 else found / f"t{n}" / "dossier.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return found


@pytest.fixture
def run(folder: Path, personas: tuple[Persona, ...], prompts: Prompts, tmp_path: Path) -> Run:
    def do(engine: ScriptedEngine | None = None, **options: Any) -> Iterator[Reviewed]:
        engine = engine or script.scripted_engine(personas)
        return batch(find_dossiers(folder), personas, prompts, engine, **({"out": tmp_path / "outputs"} | options))

    return do


def records(found: list[Reviewed]) -> dict[str, Comparison]:
    return {one.path.stem: one.outcome.record for one in found if one.outcome}


def test_dossiers_are_found_by_name(folder: Path) -> None:
    (folder / ".hidden.yaml").write_text("x", encoding="utf-8")
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    (folder / "empty").mkdir()
    assert [path.name for path in find_dossiers(folder)] == ["t0.yaml", "t1.yaml", "t2.yaml", "t3", "t4"]


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_dossiers_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SetupError) as refused:
        find_dossiers(tmp_path / name)
    assert (refused.value.path, bool(refused.value.fix)) == (tmp_path / name, True)


def test_every_tool_has_the_record_that_it_would_have_alone(
    run: Run, folder: Path, personas: tuple[Persona, ...], prompts: Prompts, tmp_path: Path
) -> None:
    found = records(list(run()))
    assert sorted(found) == ["t0", "t1", "t2", "t3", "t4"]
    engine = script.scripted_engine(personas)
    for name, record in found.items():
        path = next(p for p in find_dossiers(folder) if p.stem == name)
        alone = compare(load_dossiers([path]), personas, prompts, engine, out=tmp_path / "alone").record
        assert [r.model_copy(update={"provenance": None}) for r in record.tools[0].reviews] == [
            r.model_copy(update={"provenance": None}) for r in alone.tools[0].reviews
        ]
        stored = tmp_path / "outputs" / record.tools[0].slug / "comparison.json"
        assert Comparison.model_validate_json(stored.read_bytes()) == record


def test_a_wrong_dossier_and_a_twin_are_problems_of_their_own(run: Run, folder: Path) -> None:
    (folder / "t1.yaml").write_text("schema: dossier/1\nslug: [", encoding="utf-8")
    (folder / "t2.yaml").write_text((folder / "t0.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    found = {one.path.name: one for one in run()}
    assert sorted(records(list(found.values()))) == ["t0", "t3", "t4"]
    assert "t1.yaml" in found["t1.yaml"].problem
    assert "the slug 'tool-0' is also that of" in found["t2.yaml"].problem


def test_a_review_that_fails_is_unscored_and_the_rest_goes_on(run: Run) -> None:
    def write(request: GenerateRequest) -> str:
        if "/tool-1/" in request.key and "futurist" in request.key:
            raise EngineError("the cable is out")
        return script.write(request)

    found = records(list(run(script.scripted_engine(write=write))))
    unscored = {(n, r.persona) for n, record in found.items() for r in record.tools[0].reviews if r.status != "scored"}
    assert unscored == {("t1", "futurist")}


def test_an_engine_that_is_broken_ends_it(run: Run) -> None:
    def write(request: GenerateRequest) -> str:
        raise EngineError("the cable is out")

    with pytest.raises(EngineError, match="the cable is out"):
        list(run(script.scripted_engine(write=write)))


def test_what_is_finished_is_not_made_again(run: Run, tmp_path: Path) -> None:
    """Stopped after the second tool; the next run makes what is missing, and only that."""
    started = run()
    first = [next(started), next(started)]
    started.close()
    made = (tmp_path / "outputs" / "journal.jsonl").read_text().splitlines()
    events: list[Event] = []
    again = list(run(on_event=events.append))
    assert len(again) == 5
    assert sum(event.what == "reused" for event in events) == len(made) >= 2 * len(PERSONA_SLUGS)
    assert sum(event.what == "scored" for event in events) == 5 * len(PERSONA_SLUGS) - len(made)
    for one in first:
        twin = next(other for other in again if other.path == one.path)
        assert one.outcome is not None
        assert twin.outcome is not None
        assert twin.outcome.record.tools == one.outcome.record.tools
    lines = [json.loads(line) for line in (tmp_path / "outputs" / "journal.jsonl").read_text().splitlines()]
    assert len({(line["tool"], line["persona"]) for line in lines}) == len(lines) == 5 * len(PERSONA_SLUGS)


def test_batches_are_full_and_no_larger(run: Run, personas: tuple[Persona, ...]) -> None:
    """Five tools make twenty reviews: two batches of eight, and one of four; each weighs in one call."""
    engine = script.scripted_engine(personas)
    sizes: list[int] = []
    score = engine.score

    def counted(requests: Any) -> Any:
        if requests[0].key.startswith("weigh/"):
            sizes.append(len(requests))
        return score(requests)

    engine.score = counted  # type: ignore[method-assign]
    list(run(engine))
    per_review = max(sizes) // AT_ONCE
    assert sizes == [AT_ONCE * per_review, AT_ONCE * per_review, 4 * per_review]


def test_dossiers_are_forgotten_when_their_record_is_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    alive: weakref.WeakSet[Dossier] = weakref.WeakSet()
    most = 0
    from panel import run as module

    real = module.load_dossier

    def loaded(path: Path) -> Dossier:
        nonlocal most
        gc.collect()
        found = real(path)
        alive.add(found)
        most = max(most, len(alive))
        return found

    monkeypatch.setattr(module, "load_dossier", loaded)
    assert sum(1 for _ in run()) == 5
    assert most <= 3, "two that were just reviewed, and the next one"
