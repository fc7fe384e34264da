"""The texts that a model reads: Jinja templates in `prompts/`, rendered strictly and hashed.

Templates are ours; what they are filled with is not, and is never itself treated as a template.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from panel.assets import asset_folder
from panel.errors import SetupError


class Prompts:
    """The templates of one folder.

    `sha256` is a hash over all of them.

    Raises:
        SetupError: the folder or a template is missing, or a template does not parse (at once) or lacks a value (in
            `render`).
    """

    def __init__(self, folder: Path | None = None) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self.folder = folder or asset_folder("prompts")
        if not self.folder.is_dir():
            raise SetupError("there is no such folder", path=self.folder, fix="name a folder of *.j2 templates")
        self._environment = Environment(
            loader=FileSystemLoader(self.folder),
            undefined=StrictUndefined,
            autoescape=False,  # noqa: S701 - plain text for a model, never HTML
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            auto_reload=False,  # what is rendered stays what was hashed
        )
        for path in sorted({*asset_folder("prompts").glob("*.j2"), *self.folder.glob("*.j2")}):
            self._template(path.stem)
        self.sha256 = _hash_folder(self.folder)

    def render(self, template: str, **values: Any) -> str:
        from jinja2 import TemplateError

        try:
            return str(self._template(template).render(**values)).strip("\n")
        except TemplateError as error:
            raise self._error("cannot be rendered", template, error) from error

    def _template(self, name: str) -> Any:
        from jinja2 import TemplateError, TemplateNotFound

        try:
            return self._environment.get_template(f"{name}.j2")
        except TemplateNotFound as error:
            raise self._error("is missing", name, error) from error
        except (TemplateError, OSError, UnicodeDecodeError) as error:
            raise self._error("cannot be read", name, error) from error

    def _error(self, what: str, name: str, error: Exception) -> SetupError:
        return SetupError(
            f"the template {what} ({error})",
            path=self.folder / f"{name}.j2",
            line=getattr(error, "lineno", None),
            fix="compare it with the one in the repository",
        )


def _hash_folder(folder: Path) -> str:
    """Hash over every template, by name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.j2")):
        digest.update(path.name.encode() + b"\x00" + path.read_bytes() + b"\x00")
    return digest.hexdigest()
