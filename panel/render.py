"""A comparison record as a page (HTML), as Markdown and as JSON.

Pure functions of the record: no model, no clock, no network. `pages/view.py` turns the record into plain facts for
display (labels, links, bar lengths), the templates beside it lay them out, and this file runs the templates.

A record holds text that a model or a stranger wrote. So every string that a template prints passes through the
environment's `finalize`, which strips what is unprintable, and is then escaped for HTML or for Markdown; record
text is never compiled as a template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panel.files import write_atomic
from panel.pages.view import view
from panel.pages.words import date
from panel.records import Comparison, strip_unprintable

if TYPE_CHECKING:
    from jinja2 import Environment

_PAGES = Path(__file__).parent / "pages"


class _Raw(str):
    """Markdown that our own code wrote, and that is not escaped again."""

    __slots__ = ()


def escape_markdown(text: str) -> str:
    """`text` as one line of Markdown that shows it literally: no markup, no HTML, no link, no table break."""
    line = " ".join(strip_unprintable(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]{}|~#$!])", r"\\\1", line)
    # GitHub links bare addresses: a backslash ends that for URLs, and only a code span ends it for e-mail.
    line = re.sub(r":(?=/)", r"\\:", line)
    line = re.sub(r"(?i)\bwww\.", lambda m: f"{m[0][:-1]}\\.", line)
    line = line.replace("@", "`@`")
    # At the start of a line these would be a list, a rule, a heading's underline or a definition.
    line = re.sub(r"^([=:]|[-+](?=[-+\s]|$))", r"\\\1", line)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)


def _markdown_link(url: str) -> _Raw:
    """A link whose text and target are both `url`; only for what `safe_url` let through."""
    target = re.sub(r"[^A-Za-z0-9:/?#@&=+,;.~%_$!*-]", lambda m: "".join(f"%{b:02X}" for b in m[0].encode()), url)
    return _Raw(f"[{escape_markdown(url)}](<{target}>)")


@cache
def _environment(kind: str) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    html = kind == "html"

    def finalize(value: Any) -> Any:
        # Exactly `str`: Markup (HTML) and _Raw (Markdown) are what our own templates made.
        if type(value) is not str:
            return value
        return strip_unprintable(value) if html else escape_markdown(value)

    environment = Environment(
        loader=FileSystemLoader(_PAGES),
        undefined=StrictUndefined,
        autoescape=html,  # noqa: S701 - Markdown is escaped by `finalize`, by its own rules
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown_link"] = _markdown_link
    return environment


def to_html(record: Comparison) -> str:
    """The record as one self-contained HTML page: no script, no network."""
    from markupsafe import Markup

    css = Markup((_PAGES / "page.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return _environment("html").get_template("page.html.j2").render(**view(record), css=css)


def to_markdown(record: Comparison) -> str:
    """The record as Markdown (tables as GitHub reads them)."""
    return _environment("markdown").get_template("page.md.j2").render(**view(record))


def tombstone(slug: str, names: Sequence[str], reason: str, by: str, at: str) -> dict[str, str]:
    """What stands where a page was withdrawn: by format (html, markdown, json), who took it away, when and why."""
    from markupsafe import Markup

    css = Markup((_PAGES / "page.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    values = {"names": names, "reason": reason, "by": by, "date": date(at)}
    data = {"schema": "tombstone/1", "slug": slug, "tools": [*names], "withdrawn": at, "by": by, "reason": reason}
    return {
        "html": _environment("html").get_template("tombstone.html.j2").render(**values, css=css),
        "markdown": _environment("markdown").get_template("tombstone.md.j2").render(**values),
        "json": json.dumps({k: _plain(v) for k, v in data.items()}, indent=2, ensure_ascii=False) + "\n",
    }


def _plain(value: str | Sequence[str]) -> str | list[str]:
    return strip_unprintable(value) if isinstance(value, str) else [strip_unprintable(each) for each in value]


def to_json(record: Comparison) -> str:
    """The record as stored: the fields' own names and order, two spaces, a newline at the end.

    Lossless, and harmless on a terminal: unprintable characters are written as JSON escapes.
    """
    text = record.model_dump_json(indent=2, by_alias=True)
    if strip_unprintable(text) != text:
        text = "".join(c if strip_unprintable(c) else f"\\u{ord(c):04x}" for c in text)
    return text + "\n"


def write_pages(record: Comparison, folder: Path) -> dict[str, Path]:
    """Write comparison.json, comparison.html and comparison.md into `folder`; returns their paths by format.

    The keys are `json`, `html` and `markdown`. Raises SetupError where a file cannot be written.
    """
    pages = {
        "json": ("comparison.json", to_json(record)),
        "html": ("comparison.html", to_html(record)),
        "markdown": ("comparison.md", to_markdown(record)),
    }
    for name, text in pages.values():
        write_atomic(folder / name, text)
    return {kind: folder / name for kind, (name, _) in pages.items()}
