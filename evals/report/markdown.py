"""A summary in Markdown, as GitHub reads it: short enough for the page of a workflow run."""

from __future__ import annotations

from evals.report.names import persona_name
from evals.report.templates import environment
from evals.report.view import view
from evals.stability.record import Stability
from evals.stability.verdict import Baseline, Gate

#: So many changed verdicts are listed; a step's summary may have 1 MiB.
FLIPS = 50


def to_markdown(run: Stability, gate: Gate | None = None, baseline: Baseline | None = None) -> str:
    values = view(run, gate, baseline)
    flips = [(persona_name(d.persona), f) for d in values["differences"] for f in (*d.open, *d.more)]
    told = {"flips": flips[:FLIPS], "flips_left": max(0, len(flips) - FLIPS)}
    return environment("markdown").get_template("summary.md.j2").render(**values, **told)
