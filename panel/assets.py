"""Where `personas/` and `prompts/` are: at the top of a checkout, inside an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def asset_folder(name: str) -> Path:
    """The folder `name` (personas or prompts) that belongs to this copy of the package."""
    checkout = _PACKAGE.parent / name
    return (
        checkout
        if (_PACKAGE.parent / "pyproject.toml").is_file() and checkout.is_dir()
        else _PACKAGE / "_assets" / name
    )
