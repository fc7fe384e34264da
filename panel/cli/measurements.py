"""`review-panel eval` and `review-panel bench`: commands that only a checkout has.

They lie in `evals`. The panel must work, and be read, without its measurements: they are found by name, when asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from panel.errors import SetupError

_PASS_ON: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}


def mount(app: typer.Typer) -> None:
    """Add the commands to `app`; each passes its arguments on."""

    @app.command("eval", epilog="Example: review-panel eval stability --part dev", **_PASS_ON)
    def evaluate(context: typer.Context) -> None:
        """How right and how stable the panel is, over the cases of a checkout: stability, gold, gate, bless."""
        _measurement("evals.cli", "eval")(args=context.args, prog_name="review-panel eval")

    @app.command("bench", epilog="Example: review-panel bench --minutes 1", **_PASS_ON)
    def bench(context: typer.Context) -> None:
        """Reviews per minute beside smolagents, Outlines and llama.cpp, and beside the engine's own ceiling."""
        _measurement("evals.bench.cli", "bench")(args=context.args, prog_name="review-panel bench")


def _measurement(module: str, command: str) -> typer.Typer:
    """The app of a module of `evals`. Raises `SetupError` where that, its cases or one of its packages is missing."""
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != "evals":
            raise SetupError(
                f"the measurements need {error.name}", field=command, fix="pip install 'review-panel[evals]'"
            ) from error
        raise SetupError(
            "the measurements and their cases are not here", field=command, fix="run it in a checkout"
        ) from error
    cases = Path(str(import_module("evals").__file__)).parent / "cases"
    if not cases.is_dir():
        raise SetupError("the cases are not here", path=cases, fix="run it in a checkout")
    app: typer.Typer = found.app
    return app
