"""Annotations in GitHub's style: lines of standard output or error that the runner turns into marks on the files.

Escapes are those of the toolkit that GitHub publishes (@actions/core, command.ts): % and line ends everywhere, colons
and commas also in properties.
"""

from __future__ import annotations

from collections.abc import Iterator

from evals.promises import broken
from evals.report.names import COMPARED, persona_name
from evals.stability.record import Stability, Who
from evals.stability.verdict import Gate
from panel.records import strip_unprintable

#: The runner shows so many of a level per step.
LIMIT = 10


def to_annotations(run: Stability, gate: Gate | None = None) -> list[str]:
    """One line for each finding that counts, the first `LIMIT` of a level; the last of them says how many more."""
    found: dict[str, list[str]] = {"error": [], "warning": []}
    for level, who, title, message in _told(run, gate):
        found[level].append(_line(level, who, title, message))
    lines = []
    for level, own in found.items():
        if len(own) > LIMIT:
            left = len(own) - LIMIT + 1
            own = [*own[: LIMIT - 1], _line(level, "all", "Review panel", f"{left} more findings: see the report")]
        lines += own
    return lines


def _told(run: Stability, gate: Gate | None) -> Iterator[tuple[str, Who, str, str]]:
    if gate is None:
        for one in broken(run):
            yield "error", one.persona, f"{persona_name(one.persona)}: {one.probe}", one.sentence
        return
    if gate.outcome not in COMPARED:
        yield "error", "all", gate.outcome.capitalize(), "\n".join((gate.sentence, *gate.notes))
    for finding in gate.findings:
        if finding.counts != "note":
            level = "error" if finding.counts == "regress" else "warning"
            yield level, finding.persona, f"{persona_name(finding.persona)}: {finding.probe}", finding.sentence


def _line(level: str, who: Who, title: str, message: str) -> str:
    file = "" if who == "all" else f"file={_property(f'personas/{who}.md')},"
    return f"::{level} {file}title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    # line ends are kept as escapes; what else is unprintable goes
    plain = "\n".join(strip_unprintable(line) for line in text.splitlines())
    return plain.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
