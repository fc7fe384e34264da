"""The order of the stops: load → weigh → decide → draft → validate → merge → store → render.

This is the only module that knows all of them. Weighing, deciding, drafting and validating happen inside each
reviewer (`panel.reviewer`); all reviewers of a run share one engine, whose scheduler batches what they ask.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from panel.assets import asset_folder
from panel.calibrate import Entry, calibrated, calibration_key, fit, load_calibrations, save
from panel.distinct import distinct
from panel.dossier import load_dossier
from panel.engines.scheduler import Scheduler
from panel.errors import EngineError, MissingAnswers, SetupError
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
    called with: the ids that were read, the words that were looked up; of weighing, what came out (`E8 -1.4`).
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
class Reviewed:
    """What became of one dossier of a batch: its record, or the problem that kept it from having one."""

    path: Path
    outcome: Outcome | None
    problem: str = ""


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
        _refuse_twin(dossier, path, seen)
    return dossiers


def _refuse_twin(dossier: Dossier, path: Path, seen: dict[str, Path]) -> None:
    """Note where a slug comes from; SetupError where it has come up before."""
    if dossier.slug in seen:
        raise SetupError(
            f"the slug {dossier.slug!r} is also that of {seen[dossier.slug]}",
            path=path, field="slug", fix="give every tool a slug of its own",
        )  # fmt: skip
    seen[dossier.slug] = path


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
        SetupError: `out` cannot be written, or the engine's set-up is wrong.
        MissingAnswers: the engine is a replay, and lacks answers; every review was tried.
    """
    session = _Session(engine, prompts, Store(out), seed, loop, fresh, on_event)
    return session.write(dossiers, personas, session.reviews(dossiers, personas))


def review(
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
) -> dict[tuple[str, str], Review]:
    """The reviews that `compare` would make, by tool and persona, without a record of them; raises the same."""
    return _Session(engine, prompts, Store(out), seed, loop, fresh, on_event).reviews(dossiers, personas)


def batch(
    paths: Sequence[Path],
    personas: Sequence[Persona],
    prompts: Prompts,
    engine: Engine,
    *,
    out: Path,
    seed: int = 0,
    loop: Loop = "led",
    fresh: bool = False,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Iterator[Reviewed]:
    """Review any number of tools, each with a record of its own, as `compare` does for one.

    Dossiers are read as they come up and forgotten when their record is written, so that memory does not grow with
    their number. A dossier that is wrong is a problem of its own and the rest goes on.

    Yields:
        What became of each dossier, as it is finished.

    Raises:
        SetupError: `out` cannot be written.
        EngineError: no review at all could be made of some tools, for a reason that is not theirs.
    """
    session = _Session(engine, prompts, Store(out), seed, loop, fresh, on_event)
    seen: dict[str, Path] = {}
    waiting: list[tuple[Path, Dossier]] = []
    reviews: dict[tuple[str, str], Review] = {}
    todo: list[_Job] = []

    def finish(*, all_of_them: bool) -> Iterator[Reviewed]:
        """Make what is to do, in full batches unless `all_of_them`, and write the tools that are complete."""
        while len(todo) >= (1 if all_of_them else AT_ONCE):
            now, todo[:] = todo[:AT_ONCE], todo[AT_ONCE:]
            reviews.update(session.review(now))
        for path, dossier in list(waiting):
            keys = [(dossier.slug, persona.slug) for persona in personas]
            if all(key in reviews for key in keys):
                waiting.remove((path, dossier))
                yield Reviewed(path, session.write([dossier], personas, {key: reviews.pop(key) for key in keys}))

    for path in paths:
        try:
            dossier = load_dossier(path)
            _refuse_twin(dossier, path, seen)
        except SetupError as error:
            yield Reviewed(path, None, str(error))
            continue
        kept, jobs = session.kept(dossier, personas)
        reviews |= kept
        todo += jobs
        waiting.append((path, dossier))
        yield from finish(all_of_them=False)
    yield from finish(all_of_them=True)


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
    session = _Session(engine, prompts, Store(out), seed, loop, True, on_event)
    _, jobs = session.kept(dossier, [persona])
    return session.review(jobs)[dossier.slug, persona.slug]


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
            rows.append(weigh(engine, prompts, plain, case.dossier.evidence, tool=case.dossier.slug))
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


@dataclass(frozen=True)
class _Session:
    """What the reviews of one run have in common."""

    engine: Engine
    prompts: Prompts
    store: Store
    seed: int
    loop: Loop
    fresh: bool
    on_event: Callable[[Event], None]

    def kept(self, dossier: Dossier, personas: Sequence[Persona]) -> tuple[dict[tuple[str, str], Review], list[_Job]]:
        """The reviews that an earlier run has finished, by tool and persona, and what is still to do."""
        reviews: dict[tuple[str, str], Review] = {}
        todo: list[_Job] = []
        for persona in personas:
            made_with = provenance_of(self.engine, self.prompts, dossier, persona, self.seed, self.loop)
            key = review_key(made_with, self.loop)
            found = None if self.fresh else self.store.load_review(dossier.slug, persona.slug, key)
            if found is None:
                todo.append(_Job(dossier, persona, key))
            else:
                reviews[dossier.slug, persona.slug] = found
                self.on_event(Event(dossier.slug, persona.slug, "reused"))
        return reviews, todo

    def reviews(self, dossiers: Sequence[Dossier], personas: Sequence[Persona]) -> dict[tuple[str, str], Review]:
        """Every review of every tool, `AT_ONCE` at a time."""
        reviews: dict[tuple[str, str], Review] = {}
        todo: list[_Job] = []
        for dossier in dossiers:
            kept, jobs = self.kept(dossier, personas)
            reviews |= kept
            todo += jobs
        missing: list[MissingAnswers] = []
        for start in range(0, len(todo), AT_ONCE):
            try:
                reviews |= self.review(todo[start : start + AT_ONCE])
            except MissingAnswers as error:
                missing.append(error)
        if missing:
            raise MissingAnswers.together(missing)
        return reviews

    def review(self, jobs: Sequence[_Job]) -> dict[tuple[str, str], Review]:
        """One thread per review, all on one engine. Each review is stored the moment it is finished."""
        scheduler = Scheduler(self.engine, seats=len(jobs))
        reviews: dict[tuple[str, str], Review] = {}

        def work(job: _Job) -> None:
            tool, persona = job.dossier.slug, job.persona.slug

            def step(name: str, about: tuple[str, ...] = ()) -> None:
                self.on_event(Event(tool, persona, name, about))

            step("started")
            done = run_review(
                job.persona, job.dossier, scheduler, self.prompts, seed=self.seed, loop=self.loop, on_step=step,
            )  # fmt: skip
            # before the seat is left: whoever leaves last may have to run the others' next batch
            if done.review.status == "scored":
                self.store.save_review(tool, job.key, done.review, done.trace, now=_now())
            else:
                self.store.save_trace(tool, persona, job.key, done.trace)
            reviews[tool, persona] = done.review
            step(done.review.status)

        _side_by_side(scheduler, [partial(work, job) for job in jobs])
        if all(review.reason is not None and scheduler.failure is not None for review in reviews.values()):
            # nothing worked, and not because of what a model wrote: the set-up is to blame, not the reviewers
            raise EngineError(f"every review failed: {scheduler.failure}")
        return reviews

    def write(
        self, dossiers: Sequence[Dossier], personas: Sequence[Persona], reviews: Mapping[tuple[str, str], Review]
    ) -> Outcome:
        """Merge what the reviewers said, each in words of their own, and write the record and its pages."""

        def together(tasks: Sequence[Callable[[Engine], None]]) -> None:
            for start in range(0, len(tasks), AT_ONCE):
                some = tasks[start : start + AT_ONCE]
                scheduler = Scheduler(self.engine, seats=len(some))
                _side_by_side(scheduler, [partial(task, scheduler) for task in some])

        said = [(dossier, [reviews[dossier.slug, p.slug] for p in personas]) for dossier in dossiers]
        apart = distinct(said, {p.slug: p for p in personas}, self.prompts, together)
        by_tool = {dossier.slug: own for dossier, own in zip(dossiers, apart, strict=True)}
        record = merge(dossiers, by_tool, created=_now())
        return Outcome(record, write_pages(record, self.store.comparison_folder(record)))


def _side_by_side(scheduler: Scheduler, tasks: Sequence[Callable[[], None]]) -> None:
    """Run each task in a thread that holds a seat; raise what any of them raised, once all have ended."""
    failures: list[BaseException] = []

    def seated(task: Callable[[], None]) -> None:
        try:
            with scheduler.seat():
                task()
        except BaseException as error:  # a thread has nobody to raise to: the caller below raises it
            failures.append(error)

    threads = [threading.Thread(target=seated, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        scheduler.close()
        raise
    missing = [error for error in failures if isinstance(error, MissingAnswers)]
    if failures:
        raise failures[0] if len(missing) < len(failures) else MissingAnswers.together(missing)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
