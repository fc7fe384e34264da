"""`review-panel personas`: what reviewers there are, and how a model is calibrated for them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from panel.cli.options import ModelChoice, PersonasOption, PromptsOption, QuietOption, engine_options, takes
from panel.errors import SetupError

if TYPE_CHECKING:
    from panel.gold import Case
    from panel.records import Persona

personas_app = typer.Typer(help="The reviewers, and what a change of one does.", no_args_is_help=True)

CasesOption = Annotated[Path, typer.Option("--cases", help="Folder of cases, beside it split.yaml.")]
SlugArgument = Annotated[str, typer.Argument(help="builder, competitor-analyst, futurist or business-buyer.")]
DEFAULT_CASES = Path("evals/cases")


@personas_app.command("list", epilog="Example: review-panel personas list")
def personas_list(folder: PersonasOption = None) -> None:
    """The four personas, and what each looks at."""
    from panel.cli import show
    from panel.personas import load_personas

    show.personas(load_personas(folder))


@personas_app.command("show", epilog="Example: review-panel personas show builder")
def personas_show(
    slug: SlugArgument,
    folder: PersonasOption = None,
) -> None:
    """One persona: lens, beats, examples and voice."""
    from panel.cli import show
    from panel.personas import load_personas

    show.persona(_one(load_personas(folder), slug))


@personas_app.command("calibrate", epilog="Example: review-panel personas calibrate --model org/name")
@takes(chosen=engine_options)
def personas_calibrate(
    chosen: ModelChoice,
    cases: CasesOption = DEFAULT_CASES,
    folder: PersonasOption = None,
    prompts: PromptsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Fit how a model's pulls become a probability, on the train and calibration cases; writes calibrations.yaml."""
    from panel import engines, run
    from panel.assets import asset_folder
    from panel.cli import show
    from panel.personas import load_personas
    from panel.prompts import Prompts

    known, panel, templates = fitting_cases(cases), load_personas(folder), Prompts(prompts)
    with (
        show.counter("weighing", len(known) * len(panel), enabled=not quiet) as advance,
        contextlib.closing(engines.open_cached(chosen.engine, chosen.model, **chosen.how)) as opened,
    ):
        path, entries = run.calibrate(
            panel, known, templates, opened, folder or asset_folder("personas"), on_case=advance
        )
    if not quiet:
        show.calibrations(entries)
        show.line(str(path))


def known(slug: str) -> None:
    """Raises `SetupError` where there is no such persona."""
    from panel.records import PERSONA_SLUGS, strip_unprintable

    if slug not in PERSONA_SLUGS:
        raise SetupError(
            f"there is no persona {strip_unprintable(slug)!r}", field="slug", fix="see: review-panel personas list"
        )


def _one(personas: Sequence[Persona], slug: str) -> Persona:
    known(slug)
    return next(persona for persona in personas if persona.slug == slug)


def fitting_cases(cases: Path) -> list[Case]:
    """The cases that decisions are fitted on."""
    from panel.gold import load_cases

    known = load_cases(cases, "train") + load_cases(cases, "calibration")
    if not known:
        raise SetupError(
            "there are no cases to fit on",
            path=cases.parent / "split.yaml", field="train", fix="list some, with gold, under train or calibration",
        )  # fmt: skip
    return known
