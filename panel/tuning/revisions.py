"""The two sides of a comparison: a persona file, a folder of them, or either as it was at a git revision."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from panel.errors import SetupError
from panel.inputs import MAX_BYTES, decode, read_text
from panel.personas import parse_persona
from panel.records import PERSONA_SLUGS, Persona

_SECONDS = 30


@dataclass(frozen=True)
class Side:
    """The personas of one side, by slug, and what to call it."""

    label: str
    personas: dict[str, Persona]


def read_sides(before: str, after: str | None, folder: Path) -> tuple[Side, Side]:
    """Read both sides, and keep the personas that both have.

    Each of them is a file, a folder with the four files, `REV:path` as git writes it, or `REV`: the other side's file
    at that revision, or else `folder` at that revision. Without `after`, the files as they stand.

    Raises:
        SetupError: there is no such file or revision, a persona is wrong, or the sides have no persona in common.
    """
    named = [None if text is None else _path(text) for text in (before, after)]
    alone = next((path for path in named if path is not None and path.is_file()), None)
    sides = [
        _here(path or alone or folder) if text is None or path is not None else _there(text, alone, folder)
        for text, path in zip((before, after), named, strict=True)
    ]
    common = [slug for slug in PERSONA_SLUGS if all(slug in side.personas for side in sides)]
    if not common:
        slugs = " and ".join("/".join(side.personas) for side in sides)
        raise SetupError(f"these are not two versions of one persona ({slugs})", fix="name files with the same slug")
    first, second = (Side(side.label, {slug: side.personas[slug] for slug in common}) for side in sides)
    return first, second


def at_revision(path: Path, revision: str) -> Persona:
    """The persona of the file `path` as it was at `revision`. Raises `SetupError`."""
    return _parsed(path.parent, f"{revision}:./{path.name}")


def committed(path: Path) -> Persona | None:
    """The persona of the file as it was last committed; None where git does not know it, or it was broken then."""
    try:
        return at_revision(path, "HEAD")
    except SetupError:
        return None


def _path(text: str) -> Path | None:
    path = Path(text)
    try:
        if path.exists():
            return path
    except (OSError, ValueError):  # too long for a name, or no name at all
        return None
    if path.suffix == ".md" and ":" not in text:
        raise SetupError("there is no such persona file", path=path, fix="name a file, a folder or a git revision")
    return None


def _here(path: Path) -> Side:
    """What stands on the disk now."""
    if path.is_file():
        found = parse_persona(read_text(path, "persona file"), path)
        return Side(str(path), {found.slug: found})
    return Side(str(path), _four(lambda name: parse_persona(read_text(path / name, "persona file"), path / name)))


def _there(text: str, alone: Path | None, folder: Path) -> Side:
    """What stands in git under `text`."""
    if ":" in text:
        found = _parsed(Path.cwd(), text)
        return Side(text, {found.slug: found})
    if alone is not None:
        found = at_revision(alone, text)
        return Side(f"{text}:{alone}", {found.slug: found})
    return Side(f"{text}:{folder.name}", _four(lambda name: at_revision(folder / name, text)))


def _four(read: Callable[[str], Persona]) -> dict[str, Persona]:
    found: dict[str, Persona] = {}
    for slug in PERSONA_SLUGS:
        one = read(f"{slug}.md")
        found[one.slug] = one
    return found


def _parsed(folder: Path, name: str) -> Persona:
    """The persona under git's `name` for a file (REV:path), seen from `folder`."""
    # what starts with a hyphen is a revision all the same, and no option
    commit = name.split(":", 1)[0]
    if (
        not commit
        or _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}") is None
    ):
        raise SetupError(
            f"{commit!r} is neither a file nor a revision",
            field="revision", fix="name a file, a folder, or what git log shows, such as HEAD~1",
        )  # fmt: skip
    blob = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
    if blob is None:
        raise SetupError("there is no such file at that revision", path=name, fix="see: git ls-tree -r --name-only REV")
    sha = blob.decode("ascii").strip()
    size = _git(folder, "cat-file", "-s", sha) or b"0"
    data = _git(folder, "cat-file", "blob", sha) if int(size) <= MAX_BYTES else b"\x00" * (MAX_BYTES + 1)
    if data is None:
        raise SetupError("this is not a file", path=name, fix="name a persona file")
    path = Path(name)
    return parse_persona(decode(data, path, "persona file"), path)


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints, or None where it refuses.

    Raises:
        SetupError: there is no git, or no repository.
    """
    try:
        command = ["git", "-C", str(folder), *arguments]
        ran = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"git cannot be asked ({error})", fix="install git, or name two files") from error
    if ran.returncode == 0:
        return ran.stdout
    said = ran.stderr.decode("utf-8", "replace").strip()
    if "not a git repository" in said or "dubious ownership" in said or "cannot change to" in said:
        raise SetupError(
            f"this is no git repository ({said.splitlines()[0][:120]})",
            path=folder, fix="name two files instead of revisions",
        )  # fmt: skip
    return None
