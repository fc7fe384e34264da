"""The report as one page: no network, one style sheet and one script, both admitted by their hashes."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import panel.pages
from evals.report.templates import environment, read
from evals.report.view import view
from evals.stability.record import Stability
from evals.stability.verdict import Baseline, Gate


def to_html(run: Stability, gate: Gate | None = None, baseline: Baseline | None = None) -> str:
    """The same run, gate and baseline give the same bytes. The look starts from that of the comparison pages."""
    from markupsafe import Markup

    pages = Path(str(panel.pages.__file__)).parent
    css = (pages / "page.css").read_text(encoding="utf-8") + read("report.css")
    script = read("report.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    files = {"css": Markup(css), "script": Markup(script), "policy": policy}  # noqa: S704 - our own files
    return environment("html").get_template("page.html.j2").render(**view(run, gate, baseline), **files)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
