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


def dossier_sha256(dossier: Dossier) -> str:
    """Hash of what the dossier says, whatever the layout of its file."""
    text = json.dumps(dossier.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
