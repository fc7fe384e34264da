"""A change of the panel's source, as if somebody had made it, in the running process and for a while."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch


def substitutes(module: str, old: str, new: str) -> Iterator[tuple[types.ModuleType, str, Any]]:
    """The functions of `module` with `new` in the place of `old`, for every module that uses one: user, name, function.

    Raises:
        LookupError: `old` does not stand exactly once in the source.
    """
    original = importlib.import_module(module)
    source = Path(str(original.__file__)).read_text(encoding="utf-8")
    if source.count(old) != 1:
        raise LookupError(f"{old!r} stands {source.count(old)} times in {module}")
    changed = types.ModuleType(module)
    changed.__file__ = original.__file__
    exec(compile(source.replace(old, new), str(original.__file__), "exec"), changed.__dict__)  # noqa: S102
    for name, user in list(sys.modules.items()):
        if name.split(".")[0] not in ("panel", "evals"):
            continue
        for key, value in list(vars(user).items()):
            if isinstance(value, types.FunctionType) and value.__module__ == module:
                substitute = getattr(changed, value.__name__, None)
                if substitute is not None:
                    yield user, key, substitute


@contextlib.contextmanager
def planted(module: str, old: str, new: str) -> Iterator[None]:
    """With `new` in the place of `old` in the source of `module`, wherever its functions are in use."""
    with contextlib.ExitStack() as stack:
        for user, key, function in list(substitutes(module, old, new)):
            stack.enter_context(patch.object(user, key, function))
        yield
