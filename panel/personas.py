"""Reading the reviewers: one Markdown file each, front matter and prose."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from panel.assets import asset_folder
from panel.errors import SetupError
from panel.inputs import parse, read_text
from panel.records import PERSONA_SLUGS, Calibration, Persona


def load_persona(path: Path) -> Persona:
    """Read one persona file.

    Raises:
        SetupError: names the file, the line, the field and the fix.
    """
    return parse_persona(read_text(path, "persona file"), path)


def parse_persona(text: str, path: Path) -> Persona:
    """The persona of a file's `text`; `path` is what messages call it. Raises `SetupError`."""
    lines = text.split("\n")
    ends = [i for i, line in enumerate(lines) if line.rstrip() == "---"]
    if len(ends) < 2 or ends[0] != 0:
        raise SetupError("no front matter", path=path, line=1, fix="start the file with '---', fields, and '---'")
    prose = "\n".join(lines[ends[1] + 1 :]).strip()
    if not prose:
        raise SetupError("no prose after the front matter", path=path, line=ends[1] + 1, fix="describe the voice")
    front = "\n".join(lines[1 : ends[1]])
    persona = parse(Persona, f"{front}\nvoice: {_quoted(prose)}", path, first_line=2)
    if persona.calibration != Calibration():
        raise SetupError(
            "a calibration belongs to a model, not to a persona",
            path=path, field="calibration", fix="delete it, and run: review-panel personas calibrate",
        )  # fmt: skip
    return persona


def _quoted(text: str) -> str:
    """`text` as a YAML string: as JSON writes it, but for characters beyond U+FFFF, which JSON writes in two halves."""
    escaped = (json.dumps(c)[1:-1] if c <= "\uffff" else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(escaped)}"'


def load_personas(folder: Path | None = None) -> tuple[Persona, ...]:
    """The four personas of `folder` (default: the project's own), in the panel's order.

    Raises:
        SetupError: a file is missing or wrong.
    """
    folder = folder or asset_folder("personas")
    if not folder.is_dir():
        raise SetupError("there is no such folder", path=folder, fix="name a folder with one Markdown file per persona")
    personas = []
    for slug in PERSONA_SLUGS:
        path = folder / f"{slug}.md"
        persona = load_persona(path)
        if persona.slug != slug:
            raise SetupError(f"the slug is {persona.slug!r}", path=path, field="slug", fix=f"make it {slug!r}")
        personas.append(persona)
    return tuple(personas)


def persona_sha256(persona: Persona) -> str:
    """Hash of what the persona says, whatever the layout of its file; of the candidates no review knows."""
    data: dict[str, Any] = persona.model_dump(mode="json", by_alias=True, exclude={"candidates"})
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
