"""Weight files on disk: where they are kept, their hashes, the manifest of a converted folder.

Shared by the modules that bring models to this machine. Nothing here needs a model library.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from panel.errors import SetupError
from panel.files import write_atomic

MANIFEST = "manifest.json"
_HEADER_LIMIT = 100_000_000  # bytes, the format's own


def cache_root() -> Path:
    """The folder that models and digests are kept in; REVIEW_PANEL_CACHE overrides the user's cache folder."""
    chosen = os.environ.get("REVIEW_PANEL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("review-panel")


def sha256_file(path: Path) -> str:
    """SHA-256 of the file's bytes, as 64 hex digits. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have the operating system write the file to the disk now. Raises `OSError`."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


# ------------------------------------------------------------------------------------------------ manifest


def write_manifest(folder: Path, about: Mapping[str, str]) -> None:
    """Write manifest.json: each file of `folder` with its bytes and SHA-256, and the facts in `about`.

    Written last and atomically, so that a folder with a manifest was once whole. Raises `OSError` and `SetupError`.
    """
    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != MANIFEST:
            sync(path)
            files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    write_atomic(folder / MANIFEST, json.dumps({**about, "files": files}, indent=1) + "\n")


def manifest_problems(folder: Path, about: Mapping[str, str], *, hashes: bool) -> list[str]:
    """What is wrong with a folder that `write_manifest` has written; empty when it is whole.

    The sizes are always compared, which takes less than a millisecond; the hashes only with `hashes`.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = dict(manifest["files"])
        problems = [f"{key} is not {value}" for key, value in about.items() if manifest.get(key) != value]
        for name, entry in files.items():
            path = folder / name
            if not path.is_file():
                problems.append(f"{name} is missing")
            elif path.stat().st_size != entry["bytes"]:
                problems.append(f"{name} has {path.stat().st_size} bytes instead of {entry['bytes']}")
            elif hashes and sha256_file(path) != entry["sha256"]:
                problems.append(f"{name} does not have the SHA-256 that was noted when it was written")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{MANIFEST} cannot be read ({type(error).__name__})"]
    return problems


# -------------------------------------------------------------------------------------------- weight files


def weight_files(folder: Path) -> list[Path]:
    """The weights that may be loaded, by name: *.safetensors and openvino_model.bin. Pickles never."""
    found = [*folder.glob("*.safetensors"), *folder.glob("openvino_model.bin")]
    return sorted(path for path in found if path.is_file())


def safetensors_header(path: Path) -> dict[str, dict[str, Any]]:
    """Tensor name → {"dtype", "shape", "data_offsets"}, read without the weights.

    The layout is 8 bytes (length of the header, little endian), the header in JSON, the data. Raises `SetupError`
    where the file is cut short or is no safetensors file.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(size, _HEADER_LIMIT):
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        expected = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(
            f"not a safetensors file ({error})", path=path, fix="delete the file and fetch the model again"
        ) from error
    if size != expected:
        raise SetupError(
            f"has {size} bytes instead of {expected}: it was not fetched to its end",
            path=path,
            fix="delete the file and fetch the model again",
        )
    return header  # type: ignore[no-any-return]


def _digest_note(path: Path) -> Path:
    """Where the digest of `path`, as it is now, is kept."""
    state = path.stat()
    key = f"{path.resolve()}|{state.st_mtime_ns}|{state.st_size}"
    return cache_root() / "digests" / hashlib.sha256(key.encode()).hexdigest()


def remembered_sha256(path: Path) -> str:
    note = _digest_note(path)
    with contextlib.suppress(OSError):
        kept = note.read_text(encoding="ascii").strip()
        if len(kept) == 64:
            return kept
    digest = sha256_file(path)
    with contextlib.suppress(SetupError):  # the note only saves time: a read-only cache is no error here
        write_atomic(note, digest + "\n")
    return digest


def weights_sha256(folder: Path) -> str:
    """SHA-256 over the weight files of a model folder, kept in the cache by path, time of change and size.

    One file: its own hash. Several: the hash of what `sha256sum` prints for them in the order of their names, so
    that `sha256sum *.safetensors | sha256sum` gives the same.
    """
    files = weight_files(folder)
    if len(files) == 1:
        return remembered_sha256(files[0])
    listing = "".join(f"{remembered_sha256(path)}  {path.name}\n" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()
