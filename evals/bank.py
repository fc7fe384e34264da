"""Pulls of many facts, each computed once: weighing looks at one fact at a time, so a fact's pull is its own.

The measurements ask for thousands of dossiers that share their facts (permuted, padded, reworded, attacked). A bank
weighs every fact once per persona with `panel.weigh`, before calibration, and keeps the pulls under --out.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from panel.engines.scheduler import Scheduler
from panel.errors import MissingAnswers
from panel.files import write_atomic
from panel.prompts import Prompts
from panel.records import Calibration, Evidence, Persona, Pull
from panel.requests import Engine
from panel.weigh import weigh, weighing_of

_AT_ONCE = 48


class Bank:
    """Pulls before calibration, by persona and fact.

    Args:
        out: folder that pulls are kept in, one file per engine, model, prompt and persona.
        about: sets these pulls apart from others that such a file would hold: weighed again, or in another way.
        on_weighed: told how many pulls of one `load` have been made, and of how many.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: Prompts,
        personas: Sequence[Persona],
        out: Path,
        *,
        about: str = "",
        on_weighed: Callable[[int, int], None] | None = None,
    ) -> None:
        self._engine, self._prompts, self._out, self._about = engine, prompts, out, about
        self._on_weighed = on_weighed or _show
        self._personas = [p.model_copy(update={"calibration": Calibration()}) for p in personas]
        self._known: dict[str, dict[str, Pull]] = {}
        for persona in self._personas:
            path = self._path(persona)
            kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            self._known[persona.slug] = {key: Pull.model_validate(value) for key, value in kept.items()}

    def missing(self, evidence: Iterable[Evidence]) -> int:
        """How many pulls `load` would have to ask for."""
        keys = {_key(item) for item in evidence}
        return sum(len(keys - known.keys()) for known in self._known.values())

    def load(self, evidence: Iterable[Evidence]) -> None:
        """Weigh what is not known yet. Each chunk is kept at once, so that a stopped run goes on from there.

        Raises:
            MissingAnswers: the engine is a replay, and lacks answers; all chunks were tried.
        """
        wanted = {_key(item): item for item in evidence}
        missing = [item for key, item in wanted.items() if any(key not in known for known in self._known.values())]
        of, done = self.missing(missing), 0
        lacking: list[MissingAnswers] = []
        for start in range(0, len(missing), _AT_ONCE):
            for persona, items, found in self._weigh(missing[start : start + _AT_ONCE]):
                if isinstance(found, MissingAnswers):  # a replay: what else it lacks is named at once
                    lacking.append(found)
                    continue
                known = self._known[persona.slug]
                known.update((_key(item), pull) for item, pull in zip(items, found, strict=True))
                text = json.dumps({key: pull.model_dump() for key, pull in known.items()})
                write_atomic(self._path(persona), text + "\n")
                done += len(items)
                self._on_weighed(done, of)
        if lacking:
            raise MissingAnswers.together(lacking)

    def _weigh(self, chunk: Sequence[Evidence]) -> list[tuple[Persona, list[Evidence], list[Pull] | MissingAnswers]]:
        """What each persona lacks of a chunk, and its pulls; all ask at once, so that a fact is read once for them."""
        lacks = [(p, [item for item in chunk if _key(item) not in self._known[p.slug]]) for p in self._personas]
        tasks = [(persona, items) for persona, items in lacks if items]
        scheduler = Scheduler(self._engine, seats=len(tasks))

        def one(persona: Persona, items: Sequence[Evidence]) -> list[Pull] | MissingAnswers:
            numbered = [item.model_copy(update={"id": f"E{n}"}) for n, item in enumerate(items, 1)]
            with scheduler.seat():
                try:
                    return weigh(scheduler, self._prompts, persona, numbered)
                except MissingAnswers as error:
                    return error

        with ThreadPoolExecutor(len(tasks)) as pool:
            asked = [pool.submit(one, persona, items) for persona, items in tasks]
        return [(persona, items, future.result()) for (persona, items), future in zip(tasks, asked, strict=True)]

    def pulls(self, persona: Persona, evidence: Sequence[Evidence]) -> list[Pull]:
        """What `weigh` would say of `evidence`, with the persona's calibration."""
        neutral = persona.calibration.neutral
        found = []
        for item in evidence:
            pull = self._known[persona.slug][_key(item)]
            # nothing was weighed where the screen left nothing
            value = round(pull.log_odds - neutral, 3) if pull.weighed else 0.0
            found.append(pull.model_copy(update={"evidence": item.id, "log_odds": value + 0.0}))
        return found

    def _path(self, persona: Persona) -> Path:
        info = self._engine.info
        about = [asdict(info), weighing_of(self._prompts, persona, info), *([self._about] if self._about else [])]
        return self._out / f"{persona.slug}.{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}.json"


def _show(done: int, of: int) -> None:
    """Progress on one line, which is wiped when all is done."""
    print(f"\rweighing {done}/{of} ", end="", file=sys.stderr)
    if done == of:
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)


def _key(item: Evidence) -> str:
    return hashlib.sha256(f"{item.kind}\n{item.text}".encode()).hexdigest()[:16]
