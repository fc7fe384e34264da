"""Does `models doctor` say how much memory a comparison takes? Predicted beside measured, model by model.

    python -m evals.memory                                     the embedded model on openvino
    python -m evals.memory --engine transformers --families    tiny random checkpoints of five families
    python -m evals.memory --engine transformers --wide        the same, with 50 to 80 million weights each

Each comparison of the two reference tools runs in a process of its own, whose highest resident set
(`resource.getrusage`) is what counts; records are thrown away.

`predicted` is what the doctor says, for the tokens that the embedded model holds. `own load` is the same formula given
the tokens that this run held: random weights write until they are stopped and are asked again, so theirs are three
times as many. Tiny checkpoints are all libraries; wide ones are held to the bound by their own load.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.shared import case_folders, note, report
from panel.engines.footprint import Load, predict
from panel.engines.hub import resolve_model
from panel.engines.precision import choose_precision
from panel.errors import PanelError, SetupError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

#: How far a prediction may be off.
BOUND = 0.15
#: Sizes of wide checkpoints: weights, keys and values are most of their memory.
WIDE: dict[str, Any] = {
    "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 16, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 64, "logits": 32_000,
}  # fmt: skip


@app.command()
def main(
    engine: Annotated[str, typer.Option(help="openvino or transformers.")] = "openvino",
    model: Annotated[list[str] | None, typer.Option(help="As --model of review-panel; may be given again.")] = None,
    precision: Annotated[str, typer.Option(help="As --precision of review-panel.")] = "auto",
    families: Annotated[bool, typer.Option("--families", help="Tiny checkpoints of the five families.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Larger checkpoints of the five families.")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print predicted and measured peak memory; exit code 1 where they are more than 15% apart."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        named = model or ([] if families or wide else ["embedded"])
        results += [compared(engine, name, precision, judge="predicted") for name in named]
        if families:
            folders = _built(Path(scratch) / "tiny")
            results += [compared(engine, name, precision, judge="predicted") for name in folders]
        if wide:
            folders = _built(Path(scratch) / "wide", **WIDE)
            results += [compared(engine, name, precision, judge="own_load") for name in folders]
    rows = [["model", "engine", "measured", "predicted", "off by", "own load", "off by", "within 15%"]]
    for one in results:
        cells = [f"{one['measured'] / 1e6:.0f} MB"]
        for kind in ("predicted", "own_load"):
            cells += [f"{one[kind] / 1e6:.0f} MB", f"{one[kind] / one['measured'] - 1:+.1%}"]
        rows.append([one["model"], one["engine"], *cells, "yes" if one["ok"] else "no"])
    report({"bound": BOUND, "results": results}, rows, as_json=as_json)
    if not all(one["ok"] for one in results):
        raise typer.Exit(1)


def compared(engine: str, model: str, precision: str, *, judge: str) -> dict[str, Any]:
    """What was predicted for a comparison of the reference tools, and what it took. Raises `SetupError`."""
    note(f"comparing with {Path(model).name} on {engine}")
    chosen = choose_precision(precision, "cpu")
    folder = resolve_model(model, offline=True).folder
    predicted = predict(folder, engine, precision=chosen)
    command = [sys.executable, "-m", "evals.memory_child", engine, model, chosen, *map(str, case_folders())]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise SetupError(f"the run of {model} failed: {last[0]}", fix="run review-panel compare with it")
    found = json.loads(done.stdout.splitlines()[-1])
    own = predict(folder, engine, precision=chosen, load=Load(**found["load"]))
    result = {
        "model": Path(model).name, "engine": engine, "precision": chosen, "measured": found["measured"],
        "predicted": predicted.total, "own_load": own.total, "parts": dict(predicted.parts), "load": found["load"],
    }  # fmt: skip
    return {**result, "judged_by": judge, "ok": abs(result[judge] / result["measured"] - 1) <= BOUND}


def _built(scratch: Path, **sizes: Any) -> list[str]:
    from evals.families import FAMILIES, build

    note("building the checkpoints")
    return [str(build(family, scratch / name, **sizes)) for name, family in FAMILIES.items()]


if __name__ == "__main__":
    try:
        app()
    except PanelError as error:
        note(f"error: {error}")
        sys.exit(2)
