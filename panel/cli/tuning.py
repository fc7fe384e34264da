"""`review-panel personas diff|try|tune`: what a change of a persona does, and changes that are worth making."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from panel.cli.options import (
    DEFAULT_OUT,
    JsonOption,
    ModelChoice,
    OutOption,
    PersonasOption,
    PromptsOption,
    QuietOption,
    RunChoice,
    engine_options,
    run_options,
    takes,
)
from panel.cli.personas import DEFAULT_CASES, CasesOption, SlugArgument, fitting_cases, known, personas_app
from panel.errors import PanelError, SetupError

#: The commands of `panel.cli.personas`, and those of this module.
__all__ = ["personas_app"]

if TYPE_CHECKING:
    from panel.gold import Case
    from panel.prompts import Prompts
    from panel.records import Persona
    from panel.tuning.effect import Judge


@personas_app.command("diff", epilog="Example: review-panel personas diff HEAD~1 personas/builder.md")
@takes(chosen=engine_options, how=run_options)
def personas_diff(
    before: Annotated[
        str, typer.Argument(help="A persona file, a folder of them, a git revision, or REV:path.", show_default=False)
    ],
    chosen: ModelChoice,
    how: RunChoice,
    after: Annotated[
        str | None, typer.Argument(help="The same; default: the file as it stands.", show_default=False)
    ] = None,
    cases: CasesOption = DEFAULT_CASES,
    part: Annotated[str, typer.Option("--part", help="train, calibration, dev or test.")] = "dev",
    quotes: Annotated[int, typer.Option("--quotes", min=0, help="Tools whose quotes are shown.")] = 1,
    rewordings: Annotated[
        Path | None,
        typer.Option("--rewordings", help="The cases in other words; default: probes/rewordings beside the cases."),
    ] = None,
    out: OutOption = DEFAULT_OUT,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """What two versions of a persona say differently, and what that does to verdicts and quotes."""
    from panel.assets import asset_folder
    from panel.cli import show_tuning
    from panel.prompts import Prompts
    from panel.tuning.changes import changes
    from panel.tuning.difference import Difference, difference
    from panel.tuning.effect import Judge, load_rewordings
    from panel.tuning.revisions import read_sides

    home = how.personas or asset_folder("personas")
    first, second = read_sides(before, after, home)
    judged_on = _part_cases(cases, part)
    texts = {slug: changes(first.personas[slug], second.personas[slug]) for slug in first.personas}
    found = [Difference(slug, tuple(changed)) for slug, changed in texts.items() if changed]
    if any(change.reach != "nothing" and (quotes or change.reach != "quote") for d in found for change in d.changes):
        fit_on, templates = fitting_cases(cases), Prompts(how.prompts)
        reworded = load_rewordings(rewordings or cases.parent / "probes" / "rewordings", judged_on)
        with contextlib.closing(how.open(chosen, _loading(quiet=quiet))) as opened:
            judge = Judge(opened, templates, _weighing(quiet=quiet))
            found = [
                difference(
                    judge, first.personas[one.slug], second.personas[one.slug], one.changes, judged_on,
                    fit_on=fit_on, reworded=reworded, quotes=quotes, folder=home,
                    out=out / "tuning", seed=how.seed, loop=how.loop, fresh=how.fresh,
                )
                for one in found
            ]  # fmt: skip
    show_tuning.differences((first, second), part, found, as_json=as_json)


@personas_app.command("try", epilog="Example: review-panel personas try builder --on evals/cases/smolagents-2 --watch")
@takes(chosen=engine_options, how=run_options)
def personas_try(
    slug: SlugArgument,
    on: Annotated[list[Path], typer.Option("--on", help="A dossier file or a case folder; may be given again.")],
    chosen: ModelChoice,
    how: RunChoice,
    watch: Annotated[
        bool, typer.Option("--watch", help="Try again each time the file is saved; ends by Ctrl-C.")
    ] = False,
    against: Annotated[
        str | None, typer.Option("--against", help="Git revision to compare with; default: the last commit, if any.")
    ] = None,
    out: OutOption = DEFAULT_OUT,
    quiet: QuietOption = False,
) -> None:
    """What an edit of a persona file does to its reviews of a tool or two, within seconds."""
    from panel.assets import asset_folder
    from panel.cli import show, show_tuning
    from panel.inputs import read_text
    from panel.personas import parse_persona
    from panel.prompts import Prompts
    from panel.run import load_dossiers
    from panel.tuning.changes import changes
    from panel.tuning.revisions import at_revision, committed
    from panel.tuning.trying import Bench, Tried, saves

    known(slug)
    home = how.personas or asset_folder("personas")
    path = home / f"{slug}.md"
    dossiers, templates = load_dossiers(on), Prompts(how.prompts)
    text = read_text(path, "persona file")
    base = at_revision(path, against) if against is not None else committed(path)
    persona = parse_persona(text, path)
    try:
        with contextlib.closing(how.open(chosen, _loading(quiet=quiet))) as opened:
            bench = Bench(
                opened, templates, dossiers, home, out / "tuning", seed=how.seed, loop=how.loop, fresh=how.fresh
            )

            def run(persona: Persona, last: Tried | None) -> Tried:
                tried = bench.try_out(persona, last)
                show_tuning.tried(dossiers, last, tried, changes(last.persona, persona) if last else [])
                return tried

            last = bench.try_out(base) if base is not None and changes(base, persona) else None
            if last is not None and not quiet:
                show.note(f"compared with {against or 'the last commit'}")
            last = run(persona, last)
            if not watch:
                if any(review.status == "unscored" for review in last.reviews.values()):
                    raise typer.Exit(1)
                return
            show.note(f"watching {path}; Ctrl-C ends it")
            bench.load_ahead()
            for saved in saves(path, text):
                try:
                    if isinstance(saved, SetupError):
                        raise saved
                    last = run(parse_persona(saved, path), last)
                except PanelError as error:  # the next save may mend it
                    show.note(f"error: {error}")
    except KeyboardInterrupt:
        if not watch:
            raise typer.Exit(130) from None


@personas_app.command("tune", epilog="Example: review-panel personas tune builder")
@takes(chosen=engine_options)
def personas_tune(
    slug: SlugArgument,
    chosen: ModelChoice,
    cases: CasesOption = DEFAULT_CASES,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=20, help="How many changes may be kept.")] = 4,
    confirm_test: Annotated[
        bool, typer.Option("--confirm-test", help="Also judge what development confirms on the test cases: once.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Put what development confirms into the file.")] = False,
    writer: Annotated[
        str | None, typer.Option("--writer", help="A larger model that writes further candidates.", show_default=False)
    ] = None,
    writer_url: Annotated[
        str | None, typer.Option("--writer-url", help="The server it runs on; else it runs on --engine.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what the larger model writes.")] = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    folder: PersonasOption = None,
    prompts: PromptsOption = None,
) -> None:
    """Look for a change that brings a persona closer to gold; says so where none can be told from chance.

    Lens weights, and the audiences and examples that the file lists under candidates, are searched on the train and
    calibration cases and confirmed on dev. The file stays as it is, unless --write.
    """
    from panel import engines
    from panel.assets import asset_folder
    from panel.cli import show, show_tuning
    from panel.inputs import read_text
    from panel.personas import parse_persona
    from panel.prompts import Prompts
    from panel.tuning.effect import Judge, effect
    from panel.tuning.rewriting import rewritten
    from panel.tuning.search import better, tune

    known(slug)
    home = folder or asset_folder("personas")
    path = home / f"{slug}.md"
    text, templates = read_text(path, "persona file"), Prompts(prompts)
    persona = parse_persona(text, path)
    search, dev = fitting_cases(cases), _part_cases(cases, "dev")
    test = _part_cases(cases, "test") if confirm_test else []
    if writer is not None or writer_url is not None:
        persona = _with_written(persona, chosen, writer, writer_url, templates, seed, quiet=quiet)

    def on_round(number: int, options: int) -> None:
        if not quiet:
            show.note(f"round {number}: {options} changes on {len(search)} tools")

    opened = engines.open_cached(chosen.engine, chosen.model, on_load=_loading(quiet=quiet), **chosen.how)
    with contextlib.closing(opened):
        judge = Judge(opened, templates, _weighing(quiet=quiet))
        found = tune(judge, persona, search=search, dev=dev, rounds=rounds, on_round=on_round)
        proposed = rewritten(text, found.after, path) if found.confirmed else text
        on_test = effect(judge, found.before, found.after, test) if test and found.confirmed else None
    if write and found.confirmed:
        _write(path, proposed, text, judge, found.after, len(search))
    show_tuning.found(
        found, path, text, proposed,
        searched=len(search), tuned=bool(opened.info.adapter_sha256),
        test=on_test, held=on_test is not None and better(on_test), written=write and found.confirmed, as_json=as_json,
    )  # fmt: skip


def _with_written(
    persona: Persona,
    chosen: ModelChoice,
    model: str | None,
    url: str | None,
    prompts: Prompts,
    seed: int,
    *,
    quiet: bool,
) -> Persona:
    """The persona with the candidates of a larger model beside its own."""
    from panel import engines
    from panel.tuning.writing import with_candidates, write_candidates

    how = dict(chosen.how)
    if url is not None:
        how["server"] = engines.ServerOptions(url)
    engine = "openai" if url is not None else chosen.engine
    opened = engines.open_cached(engine, model or "embedded", on_load=_loading(quiet=quiet), **how)
    with contextlib.closing(opened):
        return with_candidates(persona, write_candidates(opened, prompts, persona, seed=seed))


def _part_cases(cases: Path, part: str) -> list[Case]:
    """The cases of one part, of which there are some."""
    from panel.gold import Part, load_cases

    chosen = next((one for one in get_args(Part) if one == part), None)
    if chosen is None:
        raise SetupError(f"unknown part {part!r}", field="--part", fix=f"choose {', '.join(get_args(Part))}")
    found = load_cases(cases, chosen)
    if not found:
        raise SetupError(
            "there are no cases to judge by", path=cases.parent / "split.yaml", field=part, fix="list some"
        )
    return found


def _loading(*, quiet: bool) -> Callable[[], None]:
    """Told when the model is loaded."""
    from panel.cli import show

    return (lambda: None) if quiet else (lambda: show.note("loading the model"))


def _weighing(*, quiet: bool) -> Callable[[str, int, int], None]:
    from panel.cli import show_tuning

    return (lambda *_: None) if quiet else show_tuning.weighed


def _write(path: Path, text: str, old: str, judge: Judge, persona: Persona, cases: int) -> None:
    """Put `text` in the place of `old`, and the calibration that it was judged with beside it."""
    from panel.calibrate import Entry, save
    from panel.files import write_atomic
    from panel.inputs import read_text

    if read_text(path, "persona file") != old:
        raise SetupError("the file was changed meanwhile", path=path, fix="run this again")
    write_atomic(path, text.replace("\n", "\r\n") if b"\r\n" in path.read_bytes() else text)
    info = judge.engine.info
    entry = Entry(
        key=judge.key(persona), persona=persona.slug, model=info.model, engine=info.engine,
        cases=cases, calibration=persona.calibration,
    )  # fmt: skip
    save(path.parent, [entry])
