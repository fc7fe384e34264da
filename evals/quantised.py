"""What rounding the weights does to pulls, memory and disk: each precision beside 32-bit floats.

    python -m evals.quantised                            openvino, the embedded model, the two reference tools
    python -m evals.quantised --engine transformers --tools 6 --precision int8

A pull decides, so drift is counted in pulls (log-odds, nats): how far they move, and how many change their sign. Each
precision runs in a process of its own; its highest resident set is that of weighing alone.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from evals.shared import case_folders, note, report
from panel.errors import PanelError, SetupError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

#: A pull nearer to zero than this weighs little (see `panel.decide.size_of`), so its sign says little either.
IDLE = 0.4


@app.command()
def main(
    engine: Annotated[str, typer.Option(help="openvino or transformers.")] = "openvino",
    model: Annotated[str, typer.Option(help="As --model of review-panel.")] = "embedded",
    tools: Annotated[int, typer.Option(min=1, help="How many cases to weigh.")] = 2,
    precision: Annotated[list[str] | None, typer.Option(help="Default: int8 and int4.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print how each precision differs from 32-bit floats."""
    cases = case_folders(tools)
    chosen = precision or ["int8", "int4"]
    runs = {one: _run(engine, model, one, cases) for one in ("float32", *chosen)}
    exact = runs["float32"]
    result = {one: {**drift(exact["pulls"], found["pulls"]), "peak": found["peak"], "model": found["model"]}
              for one, found in runs.items()}  # fmt: skip
    rows = [["precision", "pull moves by (median / most)", "signs that change", "peak memory"]]
    for one, found in result.items():
        moved = f"{found['median']:.3f} / {found['most']:.3f}"
        signs = f"{found['flipped']} of {found['weighed']}"
        rows.append([one, moved, signs, f"{found['peak'] / 1e6:.0f} MB"])
    report(result, rows, as_json=as_json)


def drift(exact: list[float], rounded: list[float]) -> dict[str, Any]:
    """How far pulls have moved, in nats: the median, the most, and how many of those that weigh changed their sign."""
    moved = [abs(a - b) for a, b in zip(exact, rounded, strict=True)]
    weighed = [(a, b) for a, b in zip(exact, rounded, strict=True) if abs(a) >= IDLE]
    flipped = sum((a > 0) != (b > 0) for a, b in weighed)
    return {"median": median(moved), "most": max(moved), "flipped": flipped, "weighed": len(weighed)}


def _run(engine: str, model: str, precision: str, cases: list[Path]) -> dict[str, Any]:
    note(f"weighing {len(cases)} tools with {model} in {precision} on {engine}")
    command = [sys.executable, "-m", "evals.quantised", "weigh", engine, model, precision, *map(str, cases)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise SetupError(last[0].removeprefix("error: "), field="--precision", fix="see the message")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def weigh_all(engine: str, model: str, precision: str, cases: list[Path]) -> None:
    """Print the pulls of every persona on every fact, and the peak memory, as one line of JSON."""
    from panel.dossier import load_dossier
    from panel.engines import open_engine
    from panel.personas import load_personas
    from panel.prompts import Prompts
    from panel.weigh import weigh

    opened, prompts = open_engine(engine, model, offline=True, precision=precision), Prompts()
    pulls = [
        pull.log_odds
        for case in cases
        for persona in load_personas()
        for pull in weigh(opened, prompts, persona, load_dossier(case).evidence)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"pulls": pulls, "peak": peak, "model": opened.info.model, "sha256": opened.info.model_sha256}))


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["weigh"]:
            weigh_all(sys.argv[2], sys.argv[3], sys.argv[4], [Path(case) for case in sys.argv[5:]])
        else:
            app()
    except PanelError as error:
        note(f"error: {error}")
        sys.exit(2)
