"""The commands, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from panel.cli.options import (
    BaseUrlOption,
    CacheOption,
    EngineOption,
    InFlightOption,
    JsonOption,
    LoopOption,
    ModelOption,
    OfflineOption,
    OpenOption,
    OutOption,
    PersonasOption,
    PromptsOption,
    QuietOption,
    SeedOption,
    ServerKindOption,
    TimeoutOption,
    server_options,
)
from panel.errors import EngineError, PanelError, SetupError

if TYPE_CHECKING:
    from panel.engines import ServerOptions

app = typer.Typer(
    name="review-panel",
    help="Four reviewers on a small local model say ship or skip, and why; their verdicts become a comparison page.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
personas_app = typer.Typer(help="The reviewers.", no_args_is_help=True)
models_app = typer.Typer(help="The models that reviewers can run on.", no_args_is_help=True)
app.add_typer(personas_app, name="personas")
app.add_typer(models_app, name="models")

DEFAULT_OUT = Path("outputs")


@app.command(epilog="Example: review-panel compare evals/cases/smolagents-2 evals/cases/mistral-3b")
def compare(
    dossiers: Annotated[
        list[Path], typer.Argument(help="Two dossier files or case folders, or more.", show_default=False)
    ],
    engine: EngineOption = "openvino",
    model: ModelOption = "embedded",
    seed: SeedOption = 0,
    out: OutOption = DEFAULT_OUT,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    no_cache: CacheOption = False,
    open_page: OpenOption = False,
    loop: LoopOption = "led",
    personas: PersonasOption = None,
    prompts: PromptsOption = None,
    offline: OfflineOption = False,
    base_url: BaseUrlOption = None,
    server_kind: ServerKindOption = "auto",
    in_flight: InFlightOption = 4,
    timeout: TimeoutOption = 120,
) -> None:
    """Review two tools or more, and write their comparison page."""
    if len(dossiers) < 2:
        raise SetupError(
            "a comparison needs two tools", field="dossiers", fix="name another, or use: review-panel review"
        )
    server = server_options(base_url, server_kind, in_flight, timeout)
    _run(
        dossiers,
        engine,
        model,
        seed,
        out,
        as_json,
        quiet,
        no_cache,
        open_page,
        loop,
        personas,
        prompts,
        offline,
        server,
    )


@app.command(epilog="Example: review-panel review my-tool.yaml --json")
def review(
    dossier: Annotated[Path, typer.Argument(help="A dossier file or a case folder.", show_default=False)],
    engine: EngineOption = "openvino",
    model: ModelOption = "embedded",
    seed: SeedOption = 0,
    out: OutOption = DEFAULT_OUT,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    no_cache: CacheOption = False,
    open_page: OpenOption = False,
    loop: LoopOption = "led",
    personas: PersonasOption = None,
    prompts: PromptsOption = None,
    offline: OfflineOption = False,
    base_url: BaseUrlOption = None,
    server_kind: ServerKindOption = "auto",
    in_flight: InFlightOption = 4,
    timeout: TimeoutOption = 120,
) -> None:
    """Review one tool, and write its page."""
    server = server_options(base_url, server_kind, in_flight, timeout)
    _run(
        [dossier],
        engine,
        model,
        seed,
        out,
        as_json,
        quiet,
        no_cache,
        open_page,
        loop,
        personas,
        prompts,
        offline,
        server,
    )


def _run(
    paths: list[Path],
    engine: str,
    model: str,
    seed: int,
    out: Path,
    as_json: bool,
    quiet: bool,
    no_cache: bool,
    open_page: bool,
    loop: str,
    personas: Path | None,
    prompts: Path | None,
    offline: bool,
    server: ServerOptions | None,
) -> None:
    from panel import run
    from panel.cli import show
    from panel.personas import load_personas
    from panel.prompts import Prompts
    from panel.render import to_json

    if loop not in ("led", "free"):
        raise SetupError(f"unknown loop {loop!r}", field="--loop", fix="choose led or free")
    # Everything that people wrote is read before a model is loaded.
    dossiers = run.load_dossiers(paths)
    panel = load_personas(personas)
    templates = Prompts(prompts)
    with show.progress(dossiers, panel, enabled=not quiet) as progress:
        progress.status("loading the model")
        from panel.engines import open_engine

        opened = open_engine(engine, model, offline=offline, server=server)
        calibrated = run.calibrate_for(panel, templates, opened, personas)
        show.warn_uncalibrated(calibrated, opened.info)
        try:
            outcome = run.compare(
                dossiers, calibrated, templates, opened,
                out=out, seed=seed, loop="free" if loop == "free" else "led", fresh=no_cache, on_event=progress.event,
            )  # fmt: skip
        except KeyboardInterrupt:  # not left to typer, which would end without a word
            show.note("stopped; finished reviews are kept, the same command goes on from there")
            raise typer.Exit(130) from None
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


@personas_app.command("list", epilog="Example: review-panel personas list")
def personas_list(folder: PersonasOption = None) -> None:
    """The four personas, and what each looks at."""
    from panel.cli import show
    from panel.personas import load_personas

    show.personas(load_personas(folder))


@personas_app.command("show", epilog="Example: review-panel personas show builder")
def personas_show(
    slug: Annotated[str, typer.Argument(help="builder, competitor-analyst, futurist or business-buyer.")],
    folder: PersonasOption = None,
) -> None:
    """One persona: lens, beats, examples and voice."""
    from panel.cli import show
    from panel.personas import load_personas
    from panel.records import strip_unprintable

    found = next((p for p in load_personas(folder) if p.slug == slug), None)
    if found is None:
        raise SetupError(
            f"there is no persona {strip_unprintable(slug)!r}", field="slug", fix="see: review-panel personas list"
        )
    show.persona(found)


@personas_app.command("calibrate", epilog="Example: review-panel personas calibrate --model org/name")
def personas_calibrate(
    engine: EngineOption = "openvino",
    model: ModelOption = "embedded",
    cases: Annotated[Path, typer.Option("--cases", help="Folder of cases, beside it split.yaml.")] = Path(
        "evals/cases"
    ),
    folder: PersonasOption = None,
    prompts: PromptsOption = None,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    base_url: BaseUrlOption = None,
    server_kind: ServerKindOption = "auto",
    in_flight: InFlightOption = 4,
    timeout: TimeoutOption = 120,
) -> None:
    """Fit how a model's pulls become a probability, on the train cases; writes calibrations.yaml."""
    from panel import run
    from panel.assets import asset_folder
    from panel.cli import show
    from panel.gold import load_cases
    from panel.personas import load_personas
    from panel.prompts import Prompts

    server = server_options(base_url, server_kind, in_flight, timeout)
    known, panel, templates = load_cases(cases, "train"), load_personas(folder), Prompts(prompts)
    with show.counter("weighing", len(known) * len(panel), enabled=not quiet) as advance:
        from panel.engines import open_engine

        opened = open_engine(engine, model, offline=offline, server=server)
        path, entries = run.calibrate(
            panel, known, templates, opened, folder or asset_folder("personas"), on_case=advance
        )
    if not quiet:
        show.calibrations(entries)
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
def models_doctor(
    engine: EngineOption = "openvino",
    model: ModelOption = "embedded",
    as_json: JsonOption = False,
    base_url: BaseUrlOption = None,
    server_kind: ServerKindOption = "auto",
    timeout: TimeoutOption = 120,
) -> None:
    """What would run, whether it fits in memory, and what is missing."""
    from panel.cli import show
    from panel.engines.memory import doctor

    checks = doctor(model, engine, server_options(base_url, server_kind, 1, timeout))
    show.checks(checks, as_json=as_json)
    if not all(check.ok for check in checks):
        raise typer.Exit(2)


def main() -> None:
    """Run the command line; errors of ours become one readable message and an exit code."""
    try:
        app(standalone_mode=True)
    except PanelError as error:
        from panel.records import strip_unprintable

        hint = "" if isinstance(error, SetupError | EngineError) else f" ({type(error).__name__})"
        print(strip_unprintable(f"error: {error}{hint}"), file=sys.stderr)
        sys.exit(2)
