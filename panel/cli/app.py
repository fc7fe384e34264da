"""The commands, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from panel.cli import desk
from panel.cli.batch import batch
from panel.cli.cache import cache_app
from panel.cli.measurements import mount
from panel.cli.options import (
    DEFAULT_OUT,
    JsonOption,
    ModelChoice,
    OpenOption,
    OutOption,
    QuietOption,
    RunChoice,
    engine_options,
    run_options,
    takes,
)
from panel.cli.tuning import personas_app
from panel.errors import EngineError, PanelError, SetupError

app = typer.Typer(
    name="review-panel",
    help="Four reviewers on a small local model say ship or skip, and why; their verdicts become a comparison page.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
models_app = typer.Typer(help="The models that reviewers can run on.", no_args_is_help=True)
app.add_typer(personas_app, name="personas")
app.add_typer(models_app, name="models")
app.add_typer(cache_app, name="cache")
app.add_typer(desk.app, name="desk")


@app.command(epilog="Example: review-panel compare evals/cases/smolagents-2 evals/cases/mistral-3b")
@takes(chosen=engine_options, how=run_options)
def compare(
    dossiers: Annotated[
        list[Path], typer.Argument(help="Two dossier files or case folders, or more.", show_default=False)
    ],
    chosen: ModelChoice,
    how: RunChoice,
    out: OutOption = DEFAULT_OUT,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    open_page: OpenOption = False,
) -> None:
    """Review two tools or more, and write their comparison page."""
    if len(dossiers) < 2:
        raise SetupError(
            "a comparison needs two tools", field="dossiers", fix="name another, or use: review-panel review"
        )
    _run(dossiers, chosen, how, out, as_json=as_json, quiet=quiet, open_page=open_page)


@app.command(epilog="Example: review-panel review my-tool.yaml --json")
@takes(chosen=engine_options, how=run_options)
def review(
    dossier: Annotated[Path, typer.Argument(help="A dossier file or a case folder.", show_default=False)],
    chosen: ModelChoice,
    how: RunChoice,
    out: OutOption = DEFAULT_OUT,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    open_page: OpenOption = False,
) -> None:
    """Review one tool, and write its page."""
    _run([dossier], chosen, how, out, as_json=as_json, quiet=quiet, open_page=open_page)


app.command(epilog="Example: review-panel batch evals/cases --out outputs/all")(batch)


def _run(
    paths: list[Path], chosen: ModelChoice, how: RunChoice, out: Path, *, as_json: bool, quiet: bool, open_page: bool
) -> None:
    from panel import run
    from panel.cli import show
    from panel.personas import load_personas
    from panel.prompts import Prompts
    from panel.render import to_json

    # Everything that people wrote is read before a model is loaded.
    dossiers = run.load_dossiers(paths)
    panel = load_personas(how.personas)
    templates = Prompts(how.prompts)
    with (
        show.progress(dossiers, panel, enabled=not quiet) as progress,
        contextlib.closing(how.open(chosen, lambda: progress.status("loading the model"))) as opened,
    ):
        calibrated = run.calibrate_for(panel, templates, opened, how.personas)
        show.warn_uncalibrated(calibrated, opened.info)
        try:
            outcome = run.compare(
                dossiers, calibrated, templates, opened,
                out=out, seed=how.seed, loop=how.loop, fresh=how.fresh, on_event=progress.event,
            )  # fmt: skip
        except KeyboardInterrupt:  # not left to typer, which would end without a word
            show.note("stopped; finished reviews are kept, the same command goes on from there")
            raise typer.Exit(130) from None
    if not quiet:
        show.answers(opened.total())
    if as_json:
        typer.echo(to_json(outcome.record), nl=False)
    elif not quiet:
        show.summary(outcome)
    if open_page:
        show.open_page(outcome.pages["html"])
    if any(review.status == "unscored" for tool in outcome.record.tools for review in tool.reviews):
        raise typer.Exit(1)


@app.command(epilog="Example: review-panel render outputs/smolagents-2-vs-mistral-3b/comparison.json")
def render(
    record: Annotated[Path, typer.Argument(help="A comparison record (JSON).", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the pages; default: beside the record.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Make the pages of a record again, without a model."""
    from panel.cli import show
    from panel.inputs import parse_json
    from panel.records import Comparison
    from panel.render import write_pages

    pages = write_pages(parse_json(Comparison, record, "comparison record"), out or record.parent)
    if not quiet:
        for path in pages.values():
            show.line(str(path))


@models_app.command("list", epilog="Example: review-panel models list")
def models_list(as_json: JsonOption = False) -> None:
    """The models on this machine: size, licence, hash."""
    from panel.cli import show
    from panel.engines.embedded import list_models

    show.models(list_models(), as_json=as_json)


@models_app.command("pull", epilog="Example: review-panel models pull embedded")
def models_pull(
    model: Annotated[
        str, typer.Argument(help="embedded, embedded-base, or org/name\\[@revision] of a model hub.")
    ] = "embedded",
    verify: Annotated[bool, typer.Option("--verify", help="Check every hash, not only sizes.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch a model and convert it to what loads fastest; does nothing where it is there."""
    from panel.cli import show
    from panel.engines.embedded import SOURCES, pull_embedded
    from panel.engines.hub import resolve_model

    if model in SOURCES:
        folder = pull_embedded(show.quiet if quiet else show.note, verify=verify, source=SOURCES[model])
    else:
        folder = resolve_model(model, offline=False).folder
    if not quiet:
        show.line(f"{model} is ready in {folder}")


@models_app.command("doctor", epilog="Example: review-panel models doctor --engine transformers")
@takes(chosen=engine_options)
def models_doctor(chosen: ModelChoice, as_json: JsonOption = False) -> None:
    """What would run, whether it fits in memory, and what is missing."""
    from panel.cli import show
    from panel.engines.memory import doctor

    about = {name: chosen.how[name] for name in ("server", "precision", "device")}
    checks = doctor(chosen.model, chosen.engine, **about)
    show.checks(checks, as_json=as_json)
    if not all(check.ok for check in checks):
        raise typer.Exit(2)


mount(app)


def main() -> None:
    """Run the command line; errors of ours become one readable message and an exit code."""
    try:
        app(standalone_mode=True)
    except PanelError as error:
        from panel.records import strip_unprintable

        hint = "" if isinstance(error, SetupError | EngineError) else f" ({type(error).__name__})"
        print(strip_unprintable(f"error: {error}{hint}"), file=sys.stderr)
        sys.exit(2)
