"""The order of the stops: load → weigh → decide → draft → validate → merge → store → render.

This is the only module that knows all of them. Weighing, deciding, drafting and validating happen inside each
reviewer (`panel.reviewer`); all reviewers of a run share one engine, whose scheduler batches what they ask.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from panel.assets import asset_folder
from panel.calibrate import Entry, calibrated, calibration_key, fit, load_calibrations, save
from panel.dossier import load_dossier
from panel.engines.scheduler import Scheduler
from panel.errors import EngineError, SetupError
from panel.gold import Case
from panel.merge import merge
from panel.prompts import Prompts
from panel.records import Calibration, Comparison, Dossier, Persona, Review
from panel.render import write_pages
from panel.requests import Engine
from panel.reviewer import Loop, provenance_of, run_review
from panel.store import Store, review_key
from panel.weigh import weigh, weighing_of

#: Reviews worked on at the same time: two tools' worth, which fills a batch and bounds memory.
AT_ONCE = 8


@dataclass(frozen=True)
class Event:
    """Something that a person watching would like to know.

    `what` is the name of the tool that was called, or `started`, `reused`, `scored`, `unscored`; `about` what it was
    called with: the ids that were read, the words that were looked up.
    """

    tool: str
    persona: str
    what: str
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The record of a run, and the files it was written to (json, html, markdown)."""

    record: Comparison
    pages: dict[str, Path]


@dataclass(frozen=True)
class _Job:
    dossier: Dossier
    persona: Persona
    key: str


def load_dossiers(paths: Sequence[Path]) -> list[Dossier]:
    """Read every dossier; two of the same slug are refused.

    Raises:
        SetupError: a file is wrong, or a slug appears twice.
    """
    dossiers = [load_dossier(path) for path in paths]
    seen: dict[str, Path] = {}
    for dossier, path in zip(dossiers, paths, strict=True):
        if dossier.slug in seen:
            raise SetupError(
                f"the slug {dossier.slug!r} is also that of {seen[dossier.slug]}",
                path=path, field="slug", fix="compare two different tools",
            )  # fmt: skip
        seen[dossier.slug] = path
    return dossiers


def compare(
    dossiers: Sequence[Dossier],
    personas: Sequence[Persona],
    prompts: Prompts,
    engine: Engine,
    *,
    out: Path,
    seed: int = 0,
    loop: Loop = "led",
    fresh: bool = False,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Outcome:
    """Review every tool with every persona, and write the comparison under `out`.

    Reviews that an earlier run finished with the same inputs are reused, unless `fresh`. A review that fails is
    `unscored` and the rest goes on.

    Raises:
        SetupError: `out` cannot be written.
    """
    store = Store(out)
    reviews: dict[tuple[str, str], Review] = {}
    todo: list[_Job] = []
    for dossier in dossiers:
        for persona in personas:
            key = review_key(provenance_of(engine, prompts, dossier, persona, seed, loop), loop)
            found = None if fresh else store.load_review(dossier.slug, persona.slug, key)
            if found is not None:
                reviews[dossier.slug, persona.slug] = found
                on_event(Event(dossier.slug, persona.slug, "reused"))
            else:
                todo.append(_Job(dossier, persona, key))
    for start in range(0, len(todo), AT_ONCE):
        chunk = todo[start : start + AT_ONCE]
        reviews |= _review_side_by_side(chunk, engine, prompts, store, seed, loop, on_event)
    by_tool = {d.slug: [reviews[d.slug, p.slug] for p in personas] for d in dossiers}
    record = merge(dossiers, by_tool, created=_now())
    return Outcome(record, write_pages(record, store.comparison_folder(record)))


def review_again(
    dossier: Dossier,
    persona: Persona,
    prompts: Prompts,
    engine: Engine,
    *,
    out: Path,
    seed: int,
    loop: Loop = "led",
    on_event: Callable[[Event], None] = lambda _: None,
) -> Review:
    """One review made anew, whatever is kept; it is kept as well, but no record and no page is written.

    Raises:
        SetupError: `out` cannot be written.
        EngineError: the engine failed.
    """
    key = review_key(provenance_of(engine, prompts, dossier, persona, seed, loop), loop)
    jobs = [_Job(dossier, persona, key)]
    return _review_side_by_side(jobs, engine, prompts, Store(out), seed, loop, on_event)[dossier.slug, persona.slug]


def calibrate_for(
    personas: Sequence[Persona], prompts: Prompts, engine: Engine, folder: Path | None = None
) -> list[Persona]:
    """The personas with the calibrations that their folder has for this engine and model.

    Raises:
        SetupError: the file of calibrations is wrong.
    """
    known = load_calibrations(folder or asset_folder("personas"))
    return calibrated(personas, engine.info, known, lambda persona: weighing_of(prompts, persona, engine.info))


def calibrate(
    personas: Sequence[Persona],
    cases: Sequence[Case],
    prompts: Prompts,
    engine: Engine,
    folder: Path,
    *,
    on_case: Callable[[], None] = lambda: None,
) -> tuple[Path, list[Entry]]:
    """Fit a calibration for each persona on `cases`, and write them into the folder's file.

    Raises:
        SetupError: scikit-learn is missing, the cases have one verdict only, or the folder cannot be written.
    """
    entries = []
    for persona in personas:
        plain = persona.model_copy(update={"calibration": Calibration()})
        rows = []
        for case in cases:
            rows.append(weigh(engine, prompts, plain, case.dossier.evidence))
            on_case()
        info = engine.info
        key = calibration_key(persona, info, weighing_of(prompts, persona, info))
        fitted = fit(persona, cases, rows)
        entries.append(
            Entry(
                key=key,
                persona=persona.slug,
                model=info.model,
                engine=info.engine,
                cases=len(cases),
                calibration=fitted,
            )
        )
    return save(folder, entries), entries


def _review_side_by_side(
    jobs: Sequence[_Job],
    engine: Engine,
    prompts: Prompts,
    store: Store,
    seed: int,
    loop: Loop,
    on_event: Callable[[Event], None],
) -> dict[tuple[str, str], Review]:
    """One thread per review, all on one engine. Each review is stored the moment it is finished."""
    scheduler = Scheduler(engine, seats=len(jobs))
    reviews: dict[tuple[str, str], Review] = {}
    failures: list[BaseException] = []

    def work(job: _Job) -> None:
        tool, persona = job.dossier.slug, job.persona.slug

        def step(name: str, about: tuple[str, ...] = ()) -> None:
            on_event(Event(tool, persona, name, about))

        try:
            with scheduler.seat():
                step("started")
                done = run_review(job.persona, job.dossier, scheduler, prompts, seed=seed, loop=loop, on_step=step)
                # before the seat is left: whoever leaves last may have to run the others' next batch
                if done.review.status == "scored":
                    store.save_review(tool, job.key, done.review, done.trace, now=_now())
                else:
                    store.save_trace(tool, persona, job.key, done.trace)
                reviews[tool, persona] = done.review
                step(done.review.status)
        except BaseException as error:  # a thread has nobody to raise to: the caller below raises it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        scheduler.close()
        raise
    if failures:
        raise failures[0]
    if all(review.reason is not None and scheduler.failure is not None for review in reviews.values()):
        # nothing worked, and not because of what a model wrote: the set-up is to blame, not the reviewers
        raise EngineError(f"every review failed: {scheduler.failure}")
    return reviews


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
