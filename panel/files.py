"""Writing files so that a reader sees the old text or the new one, and never half of either."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from panel.errors import SetupError


def write_atomic(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, making the folder where it is missing.

    The text goes to a hidden file in the same folder (a rename is atomic only within one file system), reaches
    the disk, and then takes the place of `path`. Raises SetupError where the system refuses; whatever goes
    wrong, the old file stays as it was and no temporary file is left.
    """
    data = text.encode("utf-8")
    # A short name of its own: `path.name` plus a suffix could pass the limit on the length of names.
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not `tempfile`: its files are readable by their owner alone, and pages are there to be served.
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise SetupError(
            f"cannot be written: {error.strerror or error}", fix="choose a folder that you may write to", path=path
        ) from error
    finally:
        # Gone already after the rename; a clean-up that fails must not hide what went wrong before it.
        with contextlib.suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last; some systems cannot open a folder, and there nothing more can be done."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
