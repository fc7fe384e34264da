"""Reading a dossier: all that is known of one tool."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from panel.errors import SetupError
from panel.inputs import parse, read_text
from panel.records import Dossier


def load_dossier(path: Path) -> Dossier:
    """Read a dossier file, or `dossier.yaml` of a case folder.

    Raises:
        SetupError: names the file, the line, the field and the fix.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise SetupError(f"cannot be read ({error.strerror})", path=path, fix="check its permissions") from error
    file = path / "dossier.yaml" if is_folder else path
    return parse(Dossier, read_text(file, "dossier"), file)


def find_dossiers(folder: Path) -> list[Path]:
    """The case folders and dossier files that lie in `folder`, by name; hidden ones do not count.

    Raises:
        SetupError: the folder cannot be read, or there is none in it.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        found = [
            p for p in entries if (p / "dossier.yaml").is_file() or (p.suffix in (".yaml", ".yml") and p.is_file())
        ]
    except OSError as error:
        raise SetupError(f"cannot be read ({error.strerror})", path=folder, fix="name a folder of dossiers") from error
    if not found:
        fix = "put dossier files (*.yaml) or case folders (with a dossier.yaml) into it"
        raise SetupError("there is no dossier in this folder", path=folder, fix=fix)
    return found


def dossier_sha256(dossier: Dossier) -> str:
    """Hash of what the dossier says, whatever the layout of its file."""
    text = json.dumps(dossier.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
