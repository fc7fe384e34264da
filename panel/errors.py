"""What can go wrong, as a tree.

    PanelError              everything this package raises on purpose
    ├── SetupError          the input or the set-up is wrong: the person can fix it (exit code 2)
    │   └── MissingAnswers  a replay was asked for what no model has answered yet
    ├── DraftError          a reviewer could not produce a valid review (it becomes `unscored`)
    └── EngineError         the engine could not do what was asked of it

Third-party errors are mapped to one of these where they are caught, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

_LISTED = 8  # reviews named in one message


class PanelError(Exception):
    """Base of every error that this package raises on purpose."""


class SetupError(PanelError):
    """The input or the set-up is wrong, and a person can mend it.

    The message always has the same order: where (file, line, field), what is wrong, how to fix it.
    """

    def __init__(
        self,
        problem: str,
        *,
        fix: str,
        path: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        self.problem, self.fix, self.path, self.line, self.field = problem, fix, path, line, field
        super().__init__(str(self))

    def __str__(self) -> str:
        where = str(self.path) if self.path is not None else ""
        if self.line is not None:
            where += f":{self.line}"
        if self.field:
            where += f" [{self.field}]" if where else f"[{self.field}]"
        head = f"{where}: {self.problem}" if where else self.problem
        return f"{head.rstrip('.')}. Fix: {self.fix}"


class MissingAnswers(SetupError):
    """A replay lacks model answers; `names` are those of the requests (`family/persona/tool/…`), each once."""

    def __init__(self, names: Iterable[str], *, path: Path | str) -> None:
        self.names, self.file = tuple(sorted(set(names))), path
        groups: dict[str, dict[str, list[str]]] = {}
        for name in self.names:
            family, persona, tool, what = (*name.split("/", 3), "", "", "")[:4]
            groups.setdefault(" · ".join(part for part in (tool, persona) if part), {}).setdefault(family, []).append(
                what
            )
        listed = []
        for whose, found in sorted(groups.items()):
            parts = (f"{len(w)} {family}" if len(w) > 1 else f"{family} {w[0]}".strip() for family, w in found.items())
            listed.append(f"{whose}: {', '.join(parts)}" if whose else ", ".join(parts))
        more = f"; {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
        super().__init__(
            f"{len(self.names)} of the model's answers are missing, and what would follow from them "
            f"({'; '.join(listed[:_LISTED])}{more})",
            path=path,
            fix=f"run the same command without --replay and with --answers {path}",
        )

    @staticmethod
    def together(errors: Sequence[MissingAnswers]) -> MissingAnswers:
        """All that several reviews lack."""
        return MissingAnswers((name for error in errors for name in error.names), path=errors[0].file)


class DraftError(PanelError):
    """A reviewer could not produce a valid review; `problems` says why, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class EngineError(PanelError):
    """The engine could not do what was asked. `retryable` is true where the same call may succeed later."""

    def __init__(self, problem: str, *, hint: str = "", retryable: bool = False) -> None:
        self.hint, self.retryable = hint, retryable
        super().__init__(f"{problem.rstrip('.')}. {hint}".rstrip() if hint else problem)
