"""`review-panel bench`: the command line of the benchmark, which `panel.cli` loads when it is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from evals.bench import command

app = typer.Typer(name="bench", add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: review-panel bench --minutes 1")
def bench(
    tools: Annotated[int, typer.Option("--tools", min=1, max=40, help="Tools that are reviewed, two at a time.")] = 6,
    engine: Annotated[
        list[str] | None, typer.Option("--engine", help="Engines of ours; default: openvino and transformers.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="embedded, embedded-base, or a model folder.")] = "embedded",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.1, help="A contender begins no review after this; two at least.")
    ] = 1.0,
    reviews: Annotated[int, typer.Option("--reviews", min=1, help="A peer writes no more than this.")] = 24,
    python: Annotated[
        list[Path] | None,
        typer.Option(
            "--python",
            help="Interpreter with a peer's packages. Looked at anyway: .venv-torch, .venv-server.",
            show_default=False,
        ),
    ] = None,
    gguf: Annotated[
        Path | None, typer.Option("--gguf", help="For llama.cpp, the model as a GGUF file.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Contenders by name: panel, ceiling, llama …", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the record, the lines and the plot.")] = Path(
        "outputs/bench"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the record, and nothing else.")] = False,
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Draw the plot (needs matplotlib).")] = True,
) -> None:
    """Measure reviews per minute beside smolagents, Outlines and llama.cpp, and beside the engine's own ceiling.

    Needs a checkout. About twelve minutes on two quiet cores.
    """
    options = command.Options(
        tools=tools, engines=tuple(engine or ("openvino", "transformers")), model=model, seed=seed, minutes=minutes,
        reviews=reviews,
        # not resolved: the interpreter of an environment is a link out of it
        pythons=tuple(Path(os.path.abspath(path)) for path in python or ()),
        gguf=gguf, only=tuple(only or ()), out=out, as_json=as_json, plot=plot,
    )  # fmt: skip
    command.bench(options)
