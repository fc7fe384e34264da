"""What every probe stands on: the engine, the prompts, the personas, the cases, and where answers are kept."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evals.bank import Bank
from evals.stability.changes import fact
from evals.stability.identity import case_sha256
from evals.stability.prober import Prober, as_written
from evals.stability.record import Labelled, Subject, Verdict
from panel.errors import MissingAnswers
from panel.files import write_atomic
from panel.gold import Case
from panel.personas import persona_sha256
from panel.prompts import Prompts
from panel.records import Calibration, Persona, PersonaSlug
from panel.requests import Engine
from panel.weigh import CONTENT_FREE


class Progress:
    """Says on standard error what is being done and about how long the rest of it will take."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._what, self._total, self._done, self._started = "", 0, 0, time.monotonic()

    def begin(self, what: str, total: int) -> None:
        """A new stretch of work of `total` units."""
        self.end()
        self._what, self._total, self._done, self._started = what, total, 0, time.monotonic()

    def advance(self, units: int = 1) -> None:
        self._done += units
        if self._quiet or not self._total:
            return
        spent = time.monotonic() - self._started
        left = spent / max(self._done, 1) * max(self._total - self._done, 0)
        about = f"about {left / 60:.0f} min left" if left >= 90 else f"about {left:.0f} s left"
        print(f"\r{self._what}: {self._done} of {self._total}, {about}    ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if not self._quiet and self._done:
            print("\r" + " " * 78 + "\r", end="", file=sys.stderr, flush=True)
        self._total = self._done = 0


@dataclass
class Ground:
    """`out` keeps the answers of this code, model and personas; a stopped run goes on from there. `again` gives the
    engine for a rerun by its name; only an engine that keeps its answers needs one of its own for that."""

    engine: Engine
    prompts: Prompts
    personas: Sequence[Persona]
    cases: Sequence[Case]
    out: Path
    again: Callable[[str], Engine] | None = None
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))
    _prober: Prober | None = None
    _loaded: int = 0

    def bank(self, about: str = "", *, engine: Engine | None = None, personas: Sequence[Persona] | None = None) -> Bank:
        return Bank(
            engine or self.engine,
            self.prompts,
            personas or self.personas,
            self.out / "pulls",
            about=about,
            on_weighed=self._weighed,
        )

    def _weighed(self, done: int, of: int) -> None:
        """The bank counts what is done of one load; progress wants what is new."""
        self.progress.advance(done - self._loaded)
        self._loaded = done if done < of else 0

    def rerun(self, label: str) -> Engine:
        """The engine, for asking what was asked before."""
        return self.engine if self.again is None else self.again(label)

    @property
    def prober(self) -> Prober:
        """The panel as it is, from one bank."""
        if self._prober is None:
            bank = self.bank()
            self.progress.begin("weighing the cases", bank.missing(e for c in self.cases for e in c.dossier.evidence))
            self._prober = Prober(bank, self.personas, self.cases)
            self.progress.end()
        return self._prober

    def subjects(self) -> dict[tuple[str, PersonaSlug], Subject]:
        """The verdict of each persona on each tool as it is written, as a review comes to it.

        Raises:
            MissingAnswers: the engine is a replay, and lacks answers; all tools were tried.
        """
        found = {}
        lacking: list[MissingAnswers] = []
        path = self.out / "subjects.json"
        kept: dict[str, dict[str, object]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.progress.begin("verdicts as written", len(self.cases) * len(self.personas))
        for case in self.cases:
            fresh = False
            for persona in self.personas:
                slug = case.dossier.slug
                key = f"{slug}/{case_sha256(case)}/{persona.slug}/{persona_sha256(persona)}/{self.prompts.sha256}"
                if key not in kept:
                    try:
                        decision, p_ship, pulls = as_written(self.engine, self.prompts, persona, case.dossier)
                    except MissingAnswers as error:
                        lacking.append(error)
                        continue
                    kept[key] = {
                        "decision": decision,
                        "p_ship": p_ship,
                        "pulls": {pull.evidence: pull.log_odds for pull in pulls},
                    }
                    fresh = True
                gold = case.gold.verdicts[persona.slug]
                told = {"tool": slug, "persona": persona.slug, "gold": gold, **kept[key]}
                found[slug, persona.slug] = Subject.model_validate(told)
                self.progress.advance()
            if fresh:
                write_atomic(path, json.dumps(kept) + "\n")
        self.progress.end()
        if lacking:
            raise MissingAnswers.together(lacking)
        return found

    def examples(self) -> list[Labelled]:
        """What the personas' own examples are worth to them; also where the model is not shown any."""
        said = {p.slug: [fact("capability", example.fact) for example in p.examples] for p in self.personas}
        bank = self.prober.bank
        bank.load(item for items in said.values() for item in items)
        return [
            Labelled(persona=p.slug, fact=example.fact, label=example.label, log_odds=pull.log_odds)
            for p in self.personas
            for example, pull in zip(p.examples, bank.pulls(p, said[p.slug]), strict=True)
        ]

    def nothing(self) -> dict[PersonaSlug, float]:
        """What the facts that say nothing pull on average, before calibration: they are the measure of zero."""
        facts = [fact("capability", text) for text in CONTENT_FREE]
        bank = self.prober.bank
        bank.load(facts)
        plain = [p.model_copy(update={"calibration": Calibration()}) for p in self.personas]
        means = {p.slug: sum(pull.log_odds for pull in bank.pulls(p, facts)) / len(facts) for p in plain}
        return {slug: round(mean, 3) + 0.0 for slug, mean in means.items()}


Answer = tuple[Verdict, float | None]
Subjects = Mapping[tuple[str, PersonaSlug], Subject]
