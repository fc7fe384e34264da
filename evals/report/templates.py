"""The templates of the report, run with the rules of `panel.render`: every string from a run is stripped of what is
unprintable and then escaped, for HTML or for Markdown."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from panel.records import strip_unprintable
from panel.render import escape_markdown

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"


@cache
def environment(kind: Literal["html", "markdown"]) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    html = kind == "html"

    def finalize(value: Any) -> Any:
        if type(value) is not str:  # Markup is what our own templates made
            return value
        return strip_unprintable(value) if html else escape_markdown(value)

    return Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        autoescape=html,  # noqa: S701 - Markdown is escaped by `finalize`, by its own rules
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def read(name: str) -> str:
    """A file beside the templates, as it is."""
    return (FOLDER / name).read_text(encoding="utf-8")
