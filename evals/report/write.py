"""Every form of the report, written where the command line asks for it."""

from __future__ import annotations

import os
from pathlib import Path

from evals.report.annotations import to_annotations
from evals.report.html import to_html
from evals.report.junit import to_junit
from evals.report.markdown import to_markdown
from evals.shared import note
from evals.stability.record import Stability
from evals.stability.verdict import Baseline, Gate
from panel.files import write_atomic


def write(
    run: Stability,
    gate: Gate | None = None,
    baseline: Baseline | None = None,
    *,
    html: Path | None = None,
    junit: Path | None = None,
    markdown: Path | None = None,
    annotate: bool | None = None,
) -> None:
    """Write what has a path. `annotate`: None is yes in a GitHub workflow, where GITHUB_ACTIONS is "true".

    Annotations go to standard error, which the runner reads as well: standard output may be JSON.
    Raises SetupError where a file cannot be written.
    """
    if html is not None:
        write_atomic(html, to_html(run, gate, baseline))
    if junit is not None:
        write_atomic(junit, to_junit(run, gate))
    if markdown is not None:
        write_atomic(markdown, to_markdown(run, gate, baseline))
    if annotate or (annotate is None and os.environ.get("GITHUB_ACTIONS") == "true"):
        for line in to_annotations(run, gate):
            note(line)
