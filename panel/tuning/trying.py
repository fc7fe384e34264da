"""One persona on a few tools, again and again while its file is edited; only what an edit changes is computed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panel.engines.cached import CachedEngine
from panel.errors import PanelError, SetupError
from panel.inputs import read_text
from panel.prompts import Prompts
from panel.records import Dossier, Persona, Review
from panel.run import calibrate_for, review

#: Seconds between two looks at a file; what two looks find the same is no half of a save.
LOOK_EVERY = 0.2
#: Nats by which a pull must move to be shown.
MIN_PULL = 0.05


@dataclass(frozen=True)
class Tried:
    """The reviews of one version of the persona, by tool.

    `borrowed` says that the version has no calibration of its own, and was judged with that of the version before it.
    `computed` and `kept` count the model's answers; reviews that an earlier run had finished ask for none.
    """

    persona: Persona
    reviews: dict[str, Review]
    borrowed: bool
    computed: int
    kept: int
    seconds: float


class Bench:
    """A model that stays loaded, and the tools that a persona is tried on.

    Args:
        folder: of the persona files, with their calibrations.
        out: where finished reviews are kept, so that an edit that is taken back costs nothing.
        how: `seed`, `loop` and `fresh` of `panel.run.review`.
    """

    def __init__(
        self, engine: CachedEngine, prompts: Prompts, dossiers: Sequence[Dossier], folder: Path, out: Path, **how: Any
    ) -> None:
        self._engine, self._prompts, self._dossiers, self._folder = engine, prompts, dossiers, folder
        self._how = {"out": out, **how}

    def load_ahead(self) -> threading.Thread:
        """Load the model while a person edits; where that fails, the first review that needs it says so."""

        def load() -> None:
            with contextlib.suppress(PanelError):  # the engine keeps the failure, and raises it when it is asked
                self._engine.load()

        thread = threading.Thread(target=load, daemon=True)
        thread.start()
        return thread

    def try_out(self, persona: Persona, like: Tried | None = None) -> Tried:
        """Review every tool; a version without a calibration of its own takes that of `like`.

        Raises:
            SetupError: the file of calibrations is wrong, or `out` cannot be written.
            EngineError: the model could make no review at all.
        """
        (own,) = calibrate_for([persona], self._prompts, self._engine, self._folder)
        borrowed = not own.calibration.fitted and like is not None and like.persona.calibration.fitted
        if borrowed and like is not None:
            own = own.model_copy(update={"calibration": like.persona.calibration})
        before, started = self._engine.total(), time.monotonic()
        found = review(self._dossiers, [own], self._prompts, self._engine, **self._how)
        now = self._engine.total()
        return Tried(
            own,
            {tool: one for (tool, _), one in found.items()},
            borrowed,
            now.computed - before.computed,
            now.kept - before.kept,
            time.monotonic() - started,
        )


def moved_pulls(before: Review, after: Review) -> list[tuple[str, float, float]]:
    """Evidence, pull before and pull after (nats) where it moved by `MIN_PULL` or more, the largest move first."""
    known = {pull.evidence: pull.log_odds for pull in before.pulls}
    pairs = [(p.evidence, known[p.evidence], p.log_odds) for p in after.pulls if p.evidence in known]
    return sorted((p for p in pairs if abs(p[2] - p[1]) >= MIN_PULL), key=lambda p: -abs(p[2] - p[1]))


def saves(path: Path, last: str, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[str | SetupError]:
    """The text of the file each time another one has been saved, or why it cannot be read; never ends by itself.

    The file is looked at, since what watches a file system differs from one to the next and misses network folders.
    A save that changes nothing is none. Editors that write a new file and rename it are seen like any other.

    Args:
        last: the text that is known already.
        sleep: waits for so many seconds.
    """
    known = seen = None
    while True:
        sleep(LOOK_EVERY)
        before, seen = seen, _stamp(path)
        if seen is None or seen == known or seen != before:
            continue  # gone for a moment while an editor renames; as it was; or still being written
        known = seen
        try:
            text = read_text(path, "persona file")
        except SetupError as error:
            yield error
            continue
        if text != last:
            last = text
            yield text


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
