"""`review-panel batch`: a folder of tools, one record each."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from panel.cli.options import (
    DEFAULT_OUT,
    ModelChoice,
    OutOption,
    QuietOption,
    RunChoice,
    engine_options,
    run_options,
    takes,
)


@takes(chosen=engine_options, how=run_options)
def batch(
    folder: Annotated[Path, typer.Argument(help="A folder of dossier files and case folders.", show_default=False)],
    chosen: ModelChoice,
    how: RunChoice,
    out: OutOption = DEFAULT_OUT,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON per tool on standard output, as it is finished.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Review every tool of a folder; memory does not grow with their number, and a run that is stopped goes on."""
    from panel import run
    from panel.cli import show
    from panel.dossier import find_dossiers
    from panel.personas import load_personas
    from panel.prompts import Prompts

    paths = find_dossiers(folder)
    panel, templates = load_personas(how.personas), Prompts(how.prompts)
    rows: list[dict[str, Any]] = []
    started = time.monotonic()
    made = 0
    with (
        show.counter("reviewing", len(paths), enabled=not quiet) as advance,
        contextlib.closing(how.open(chosen, lambda: None)) as opened,
    ):
        calibrated = run.calibrate_for(panel, templates, opened, how.personas)
        show.warn_uncalibrated(calibrated, opened.info)

        def count(event: run.Event) -> None:
            nonlocal made
            made += event.what in ("scored", "unscored")

        try:
            for done in run.batch(
                paths, calibrated, templates, opened,
                out=out, seed=how.seed, loop=how.loop, fresh=how.fresh, on_event=count,
            ):  # fmt: skip
                rows.append(_row(done))
                advance()
                if as_json:
                    typer.echo(json.dumps(rows[-1], ensure_ascii=False))
        except KeyboardInterrupt:
            show.note(f"stopped after {len(rows)} of {len(paths)}; the same command goes on from there")
            raise typer.Exit(130) from None
    if not quiet:
        show.answers(opened.total())
        show.batch(rows, made, time.monotonic() - started)
    if any(row["problem"] or row["unscored"] for row in rows):
        raise typer.Exit(1)


def _row(done: Any) -> dict[str, Any]:
    """One tool of the summary; of a dossier that is wrong, its path and the problem."""
    if done.outcome is None:
        return {"path": str(done.path), "slug": None, "problem": done.problem, "unscored": []}
    (tool,) = done.outcome.record.tools
    return {
        "path": str(done.path),
        "slug": tool.slug,
        "name": tool.name,
        "percent": tool.panel.percent,
        "decisions": {review.persona: review.decision for review in tool.reviews},
        "unscored": [f"{review.persona}: {review.reason}" for review in tool.reviews if review.status != "scored"],
        "record": str(done.outcome.pages["json"]),
        "problem": "",
    }
