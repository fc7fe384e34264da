"""Writing files and folders so that a reader sees the old text or the new one, and never half of either."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
from collections.abc import Mapping
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


def replace_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Make `folder` hold these `files` (name → text) and nothing else, all at once.

    They are written beside it, reach the disk, and then take its place: on Linux the two folders are exchanged in one
    step, so a reader finds the old files or the new ones at every moment. Where the system cannot exchange folders,
    the name is missing between two renames. Raises SetupError where the system refuses; the old folder then stands.
    """
    token = f".{secrets.token_hex(8)}"
    new, old = folder.parent / f"{token}.tmp", folder.parent / f"{token}.old.tmp"
    try:
        new.mkdir(parents=True)
        for name, text in files.items():
            with open(new / name, "xb") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        _sync_folder(new)
        if not os.path.lexists(folder):
            os.rename(new, folder)
        elif not _exchange(new, folder):
            os.rename(folder, old)
            try:
                os.rename(new, folder)
            except OSError:
                os.rename(old, folder)
                raise
        _sync_folder(folder.parent)
    except OSError as error:
        raise SetupError(
            f"cannot be written: {error.strerror or error}", fix="choose a folder that you may write to", path=folder
        ) from error
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def clean_up(folder: Path) -> None:
    """Delete what `replace_folder` and `write_atomic` left in `folder` when they were killed."""
    for path in folder.iterdir():
        if re.fullmatch(r"\.[0-9a-f]{16}(?:\.old)?\.tmp", path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders by renameat2(2) with RENAME_EXCHANGE; False where system or file system cannot."""
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    if call(here, os.fsencode(one), here, os.fsencode(other), swap) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))
