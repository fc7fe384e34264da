"""The texts that a model reads: Jinja templates in `prompts/`, rendered strictly and hashed.

Templates are ours; what they are filled with is not, and is never itself treated as a template.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from panel.assets import asset_folder
from panel.errors import SetupError


class Prompts:
    """The templates of one folder.

    Raises:
        SetupError: the folder is missing, or a template does not parse or lacks a value.
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
        )

    def render(self, template: str, **values: Any) -> str:
        from jinja2 import TemplateError

        try:
            return self._environment.get_template(f"{template}.j2").render(**values).strip("\n")
        except TemplateError as error:
            raise SetupError(
                f"the template cannot be rendered ({error})",
                path=self.folder / f"{template}.j2",
                line=getattr(error, "lineno", None),
                fix="compare it with the one in the repository",
            ) from error

    @property
    def sha256(self) -> str:
        """Hash over every template, by name."""
        return _hash_folder(self.folder)


@lru_cache
def _hash_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.j2")):
        digest.update(path.name.encode() + b"\x00" + path.read_bytes() + b"\x00")
    return digest.hexdigest()
