"""`review-panel eval`: the command line of the measurements, which `panel.cli` loads when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from evals import gold
from evals.shared import CASES, note
from panel.errors import SetupError
from panel.gold import Case, Part, load_case, load_cases

app = typer.Typer(
    name="eval",
    help="How right and how stable the panel is, over the cases of evals/.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("gold", epilog="Example: review-panel eval gold --part test --baselines")(gold.main)

OUT = Path("outputs/evals/stability")
BASELINES = CASES.parent / "baselines"
ANSWERS = BASELINES / "answers.jsonl"
_PARTS = (*get_args(Part), "all")

# where a report goes: options of every command that has a run in its hands
Html = Annotated[Path | None, typer.Option("--html", help="Write the report as one page.")]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write it as JUnit XML.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", help="Write a summary, as for $GITHUB_STEP_SUMMARY.")]
Annotate = Annotated[
    bool | None, typer.Option("--annotations/--no-annotations", help="GitHub annotations; default: in its workflows.")
]


def chosen_cases(parts: Sequence[str], names: list[str], root: Path = CASES) -> list[Case]:
    """The cases of some parts of split.yaml (`all`: of each), or those that are named.

    Raises:
        SetupError: there is no such part or case.
    """
    if names:
        for name in names:
            if not (root / name / "dossier.yaml").is_file():
                raise SetupError(f"there is no case {name!r}", field="--cases", fix=f"name a folder of {root.name}/")
        return [load_case(root / name) for name in dict.fromkeys(names)]
    for part in parts:
        if part not in _PARTS:
            raise SetupError(f"unknown part {part!r}", field="--part", fix=f"choose {', '.join(_PARTS)}")
    wanted: Any = get_args(Part) if "all" in parts else dict.fromkeys(parts)
    return [case for one in wanted for case in load_cases(root, one)]


@app.command(epilog="Example: review-panel eval stability --part dev --repeats 5 --live 2")
def stability(
    part: Annotated[
        list[str] | None, typer.Option(help="train, calibration, dev (the default), test or all; repeatable.")
    ] = None,
    cases: Annotated[list[str] | None, typer.Option(help="Run these tools alone; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(min=2, help="Seeds: how often everything is weighed and reviewed.")] = 5,
    draws: Annotated[int, typer.Option(min=1, help="Orders and paddings per tool.")] = 5,
    live: Annotated[int, typer.Option(min=0, help="So many of the cases are also reviewed by live agents.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Run these probes alone; repeatable.")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="ENGINE:MODEL to hold the verdicts against as well; repeatable.")
    ] = None,
    engine: str = "openvino",
    model: str = "embedded",
    out: Annotated[Path, typer.Option(help="Where answers and results are kept; a stopped run goes on.")] = OUT,
    result: Annotated[Path | None, typer.Option(help="File for the result; default: stability.json in --out.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Hold the run against this blessed one.")] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="Keep what the model was asked and answered in this file; with --replay: read it."),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Take every answer from --answers: no model is needed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result (with --baseline the gate's).")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")] = False,
    html: Html = None,
    junit: Junit = None,
    markdown: Markdown = None,
    annotations: Annotate = None,
) -> None:
    """What changes a verdict: seeds, order, wording, engines. Changes that must count, agreement, calibration.

    Exit codes with --baseline: 0 pass, 1 regress, 3 inconclusive, 4 unreliable baseline, 5 not comparable, 6 missing
    answers (of a replay); 2 always means that the input or the set-up is wrong.
    """
    from evals.gate import judge, lacking, load_baseline
    from evals.report.write import write
    from evals.stability import show
    from evals.stability.ground import Progress
    from evals.stability.kept import answering
    from evals.stability.missing import MissingRun
    from evals.stability.run import run_stability, to_json, warn_uncalibrated
    from panel.engines import open_engine
    from panel.files import write_atomic
    from panel.personas import load_personas
    from panel.prompts import Prompts
    from panel.run import calibrate_for

    # everything that people wrote is read before a model is loaded
    chosen = chosen_cases(part or ["dev"], cases or [])
    blessed = load_baseline(baseline) if baseline is not None else None
    pairs = [_engine_and_model(text) for text in against or []]
    prompts, personas = Prompts(), load_personas()
    if pairs and (answers is not None or replay):
        raise SetupError("only one model's answers are kept", field="--against", fix="leave it out, or --answers")
    file = answers or (ANSWERS if replay else None)
    try:
        with answering(engine, model, out, answers=file, replay=replay) as (opened, again, work):
            others = [
                ("engine" if other != opened.info.engine else "quantisation", open_engine(other, name))
                for other, name in pairs
            ]
            calibrated = calibrate_for(personas, prompts, opened)
            warn_uncalibrated(calibrated, model, engine)
            run = run_stability(
                opened, prompts, calibrated, chosen, work, seeds=repeats, draws=draws, live=live, only=only or [],
                against=others, again=again, progress=Progress(quiet=quiet),
            )  # fmt: skip
    except MissingRun as error:
        if blessed is None:
            raise
        lacks = lacking(error, blessed)
        show.gate(lacks, as_json=as_json)
        raise typer.Exit(lacks.exit_code) from error
    path = result or out / "stability.json"
    write_atomic(path, to_json(run))
    if not as_json and not quiet:
        show.table(run)
    if not quiet:
        note(f"written to {path}")
    said = judge(run, blessed) if blessed is not None else None
    write(run, said, blessed, html=html, junit=junit, markdown=markdown, annotate=annotations)
    if said is None:
        if as_json:
            typer.echo(to_json(run), nl=False)
        return
    show.gate(said, as_json=as_json)
    raise typer.Exit(said.exit_code)


def _engine_and_model(text: str) -> tuple[str, str]:
    engine, colon, model = text.partition(":")
    if not (engine and colon and model):
        raise SetupError(f"{text!r} is no engine with a model", field="--against", fix="say transformers:embedded")
    return engine, model


@app.command(epilog="Example: review-panel eval gate outputs/evals/stability/stability.json --baseline FILE")
def gate(
    run: Annotated[Path, typer.Argument(help="A stability run (JSON).", show_default=False)],
    baseline: Annotated[Path, typer.Option(help="The blessed run.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json")] = False,
    html: Html = None,
    junit: Junit = None,
    markdown: Markdown = None,
    annotations: Annotate = None,
) -> None:
    """Hold a run that is there already against a blessed one; runs nothing. Exit codes as of `stability`."""
    from evals.gate import judge, load_baseline, load_run
    from evals.report.write import write
    from evals.stability import show

    loaded, blessed = load_run(run), load_baseline(baseline)
    said = judge(loaded, blessed)
    write(loaded, said, blessed, html=html, junit=junit, markdown=markdown, annotate=annotations)
    show.gate(said, as_json=as_json)
    raise typer.Exit(said.exit_code)


@app.command(epilog="Example: review-panel eval report outputs/evals/stability/stability.json --html stability.html")
def report(
    run: Annotated[Path, typer.Argument(help="A stability run (JSON).", show_default=False)],
    baseline: Annotated[Path | None, typer.Option(help="A blessed run to hold it against.")] = None,
    html: Html = None,
    junit: Junit = None,
    markdown: Markdown = None,
    annotations: Annotate = None,
) -> None:
    """Write a run that is there already for readers. Exits with 0 whatever the gate says; `gate` is for that."""
    from evals.gate import judge, load_baseline, load_run
    from evals.report.write import write

    if not (html or junit or markdown or annotations):
        raise SetupError(
            "nothing to write", field="--html", fix="name a file: --html FILE, --junit FILE or --markdown FILE"
        )
    loaded = load_run(run)
    blessed = load_baseline(baseline) if baseline is not None else None
    said = judge(loaded, blessed) if blessed is not None else None
    write(loaded, said, blessed, html=html, junit=junit, markdown=markdown, annotate=annotations)
    for path in (html, junit, markdown):
        if path is not None:
            note(f"written to {path}")


@app.command(epilog="Example: review-panel eval bless RUN --who 'A. Editor' --why 'new adapter, checked by hand'")
def bless(
    run: Annotated[Path, typer.Argument(help="A stability run (JSON).", show_default=False)],
    who: Annotated[str, typer.Option(help="Who answers for it.", show_default=False)],
    why: Annotated[str, typer.Option(help="Why it is the new measure.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The baseline's file.")] = BASELINES / "stability.json",
) -> None:
    """Make a run the measure for those to come, with who, why and what it was made with."""
    from evals.gate import bless as blessed
    from evals.gate import load_run, save
    from evals.stability.run import to_json

    loaded = load_run(run)
    save(out, blessed(loaded, who=who, why=why), to_json(loaded))
    note(f"written to {out}")
