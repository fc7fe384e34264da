"""What a replay lacks: it has no model, so what nobody has asked before it cannot say."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from evals.stability.record import About
from panel.errors import MissingAnswers, SetupError


@dataclass(frozen=True)
class Missing:
    """Answers that one persona lacks under one probe (`gold`: the tools as they are written)."""

    persona: str
    probe: str
    answers: int


class MissingRun(SetupError):
    """A replay that cannot be completed: `missing` says where, `why` what is behind it where that is known; `about` is
    what was to be run."""

    def __init__(self, missing: Sequence[Missing], *, why: str = "", about: About | None = None) -> None:
        self.missing, self.why, self.about = tuple(missing), why, about
        super().__init__(self.what(), fix="run it live, without --replay, or keep its answers anew: make baseline")

    def what(self) -> str:
        """One sentence: whose answers are missing, under which probes."""
        if not self.missing:
            return f"nothing can be replayed: {self.why}"
        # several probes may lack the same ones
        most: dict[str, int] = {}
        for one in self.missing:
            most[one.persona] = max(one.answers, most.get(one.persona, 0))
        personas = list(dict.fromkeys(one.persona for one in self.missing))
        probes = list(dict.fromkeys(one.probe for one in self.missing))
        few = ", ".join(probes[:4]) + (f" and {len(probes) - 4} more" if len(probes) > 4 else "")
        return (
            f"at least {sum(most.values())} answers of {_and(personas)} are not among the kept ones (under {few})"
            f"{': ' + self.why if self.why else ''}"
        )


@dataclass
class Lacking:
    """Gathers what is missing, so that all of it is named at once."""

    found: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    @contextlib.contextmanager
    def under(self, probe: str) -> Iterator[None]:
        """What is missing within is missing under this probe; the rest goes on."""
        try:
            yield
        except MissingAnswers as error:
            for name in error.names:
                # the facts without content go along with every question: they would be counted each time
                if "/prior-" not in name:
                    self.found[([*name.split("/"), ""])[1] or "all", probe] += 1

    def check(self, about: About) -> None:
        """Raises `MissingRun` where anything is missing."""
        if self.found:
            raise MissingRun([Missing(persona, probe, n) for (persona, probe), n in self.found.items()], about=about)


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
