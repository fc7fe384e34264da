"""What the desk runs: one engine, opened once and kept; one run at a time; what watchers see of it.

A run is a comparison of dossiers or one review made anew. Its events are kept while the desk is up, so that a page
that is opened late, or that lost its connection, gets all of them.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from panel.desk import DeskStore
from panel.desk.types import User
from panel.engines.cached import CachedEngine
from panel.errors import DraftError, PanelError, SetupError
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.records import PERSONA_SLUGS, Dossier, Persona
from panel.requests import Engine

if TYPE_CHECKING:
    from panel.reviewer import Loop
    from panel.run import Event

log = logging.getLogger(__name__)

#: Runs that may wait; more is a mistake, or somebody who wishes the desk ill.
MAX_WAITING = 50
#: Runs that are remembered once they are over.
MAX_KEPT = 200

#: Opens the engine; what it is given is to be called before a model is loaded.
Opens = Callable[[Callable[[], None]], Engine]

Status = Literal["waiting", "running", "done", "failed", "cancelled"]
OVER: tuple[Status, ...] = ("done", "failed", "cancelled")


@dataclass
class Job:
    """One run. `events` only grows; `result` is the slug of the item that it made or that it belongs to.

    `persona` is set where one review is made anew (of the item `item`), else all four review every dossier.
    """

    id: str
    by: User
    dossiers: tuple[Dossier, ...]
    item: str = ""
    persona: str = ""
    at: str = ""
    status: Status = "waiting"
    result: str = ""
    problem: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def title(self) -> str:
        return " vs ".join(dossier.name for dossier in self.dossiers)

    @property
    def personas(self) -> tuple[str, ...]:
        return (self.persona,) if self.persona else PERSONA_SLUGS


class Runner:
    """The queue of runs and the thread that works it off.

    Args:
        opens: opens the engine; called when the first run starts, once. The engine is kept until the desk is closed.
        fresh: whether stored reviews are passed over.
    """

    def __init__(
        self,
        store: DeskStore,
        outputs: Path,
        opens: Opens,
        *,
        personas: Path | None = None,
        prompts: Path | None = None,
        seed: int = 0,
        loop: Loop = "led",
        fresh: bool = False,
    ) -> None:
        self._store, self._outputs, self._opens = store, outputs, opens
        self._folder, self._prompts = personas, Prompts(prompts)
        self._seed, self._loop, self._fresh = seed, loop, fresh
        self._personas = load_personas(personas)
        self._engine: Engine | None = None
        self._loads_for: Job | None = None
        self._jobs: dict[str, Job] = {}
        self._waiting: queue.Queue[Job | None] = queue.Queue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.closing = threading.Event()

    # ---------------------------------------------------------------------------------------------- from outside

    def start(self) -> None:
        # daemon: a run cannot be stopped half-way, and what it has finished is on the disk
        self._thread = threading.Thread(target=self._work, name="runs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more runs are begun; watchers are let go. The run that is on is left to end or to die with us."""
        self.closing.set()
        self._waiting.put(None)

    def compare(self, dossiers: Sequence[Dossier], by: User) -> Job:
        """Queue a panel on one tool or more. Raises SetupError where too many wait already."""
        return self._queue(Job(secrets.token_hex(6), by, tuple(dossiers)))

    def again(self, item: str, dossier: Dossier, persona: str, by: User) -> Job:
        """Queue one review of an item, to be made anew with another seed. Raises SetupError as `compare`."""
        return self._queue(Job(secrets.token_hex(6), by, (dossier,), item=item, persona=persona))

    def _queue(self, job: Job) -> Job:
        job.at = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock:
            if sum(other.status == "waiting" for other in self._jobs.values()) >= MAX_WAITING:
                raise SetupError(f"{MAX_WAITING} runs are waiting", fix="wait until some of them are done")
            over = [key for key, other in self._jobs.items() if other.status in OVER]
            for key in over[: max(0, len(over) - MAX_KEPT)]:
                del self._jobs[key]
            self._jobs[job.id] = job
        self._tell(job, what="waiting")
        self._waiting.put(job)
        return job

    def cancel(self, job: Job) -> bool:
        """Take a run that still waits out of the queue; false where it has begun."""
        with self._lock:
            if job.status != "waiting":
                return False
            job.status = "cancelled"
        self._tell(job, what="cancelled")
        return True

    def find(self, id: str) -> Job | None:
        return self._jobs.get(id)

    def jobs(self) -> list[Job]:
        """The newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def of_item(self, item: str) -> list[Job]:
        """Runs for `item` that are not over."""
        return [job for job in self.jobs() if job.item == item and job.status not in OVER]

    # ------------------------------------------------------------------------------------------------ in the thread

    def _tell(self, job: Job, *, what: str, tool: str = "", persona: str = "", about: Sequence[str] = ()) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        job.events.append({"what": what, "tool": tool, "persona": persona, "about": list(about), "at": at})

    def _work(self) -> None:
        while not self.closing.is_set():
            job = self._waiting.get()
            if job is None:
                break
            with self._lock:
                if job.status != "waiting":
                    continue
                job.status = "running"
            try:
                self._run(job)
            except PanelError as error:
                self._end(job, "failed", str(error))
            except Exception as error:  # one run that breaks must not take the others with it
                log.exception("run %s failed", job.id)
                self._end(job, "failed", f"something unexpected happened ({type(error).__name__})")
        self._let_go()

    def _let_go(self) -> None:
        """Close the file of answers; the model stays loaded."""
        if isinstance(self._engine, CachedEngine):
            self._engine.close()

    def _loading(self) -> None:
        if self._loads_for is not None:
            self._tell(self._loads_for, what="loading")

    def _open(self, job: Job) -> Engine:
        if isinstance(self._engine, CachedEngine) and self._engine.failed:
            # whoever mends the set-up need not start the desk again
            self._let_go()
            self._engine = None
        self._loads_for = job
        if self._engine is None:
            self._engine = self._opens(self._loading)
        return self._engine

    def _end(self, job: Job, status: Status, problem: str = "") -> None:
        job.problem = problem
        job.status = status
        self._tell(job, what=status, about=[problem] if problem else [])

    def _run(self, job: Job) -> None:
        engine = self._open(job)
        from panel import run  # smolagents comes with it, and takes its time

        personas = run.calibrate_for(self._personas, self._prompts, engine, self._folder)

        def event(happened: Event) -> None:
            self._tell(
                job, what=happened.what, tool=happened.tool, persona=happened.persona, about=happened.about
            )  # fmt: skip

        if job.persona:
            self._again(job, next(p for p in personas if p.slug == job.persona), engine, event)
        else:
            done = run.compare(
                job.dossiers, personas, self._prompts, engine,
                out=self._outputs, seed=self._seed, loop=self._loop, fresh=self._fresh, on_event=event,
            )  # fmt: skip
            self._store.sync()
            job.result = done.pages["json"].parent.name  # which is the item's slug, see `panel.desk.sync`
        self._end(job, "done")

    def _again(self, job: Job, persona: Persona, engine: Engine, event: Callable[[Event], None]) -> None:
        from panel import run

        (dossier,) = job.dossiers
        target = f"{dossier.slug}/{persona.slug}"
        item = self._store.item(job.item)
        known = [offer.review for offer in item.offers.get(target, ())]
        known += [r for t in item.draft.tools for r in t.reviews if (t.slug, r.persona) == (dossier.slug, persona.slug)]
        # a seed that no version has had: the same one would give the same review
        seed = max((review.provenance.seed for review in known), default=0) + 1
        review = run.review_again(
            dossier, persona, self._prompts, engine,
            out=self._outputs, seed=seed, loop=self._loop, on_event=event,
        )  # fmt: skip
        if review.status == "unscored":
            raise DraftError([f"this try ended without a verdict: {review.reason}"])
        self._store.offer(job.item, review, dossier.slug, user=job.by, note=f"seed {seed}")
        job.result = job.item
