"""Does `models doctor` say how much memory a comparison takes? Predicted beside measured, model by model.

    python -m evals.memory                                     the embedded model on openvino
    python -m evals.memory --engine transformers --families    five random checkpoints of 50 to 100 million weights

Each comparison of the two reference tools runs in a process of its own, whose highest resident set
(`resource.getrusage`) is what counts. The record is thrown away: random weights say nothing.
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
from panel.engines.hub import resolve_model
from panel.engines.memory import predict
from panel.errors import PanelError, SetupError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

#: What the must-show asks for.
BOUND = 0.15
#: Sizes of the random checkpoints: where overhead alone is most of the memory, a prediction would prove nothing.
SIZES: dict[str, Any] = {
    "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 16, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 64, "logits": 32_000,
}  # fmt: skip


@app.command()
def main(
    engine: Annotated[str, typer.Option(help="openvino or transformers.")] = "openvino",
    model: Annotated[list[str] | None, typer.Option(help="As --model of review-panel; may be given again.")] = None,
    precision: Annotated[str, typer.Option(help="As --precision of review-panel.")] = "auto",
    families: Annotated[bool, typer.Option("--families", help="Random checkpoints of the five families too.")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print predicted and measured peak memory; exit code 1 where they are more than 15% apart."""
    with tempfile.TemporaryDirectory() as scratch:
        models = [*(model or ([] if families else ["embedded"])), *(_built(Path(scratch)) if families else [])]
        results = [compared(engine, one, precision) for one in models]
    rows = [["model", "engine", "predicted", "measured", "off by"]]
    for one in results:
        off = one["predicted"] / one["measured"] - 1
        sizes = (f"{one[key] / 1e6:.0f} MB" for key in ("predicted", "measured"))
        rows.append([one["model"], one["engine"], *sizes, f"{off:+.1%}"])
    details = [f"{one['model']} {name}: {lane}" for one in results for name, lane in one["lanes"].items()]
    report({"bound": BOUND, "results": results}, rows, details, as_json=as_json)
    if any(abs(one["predicted"] / one["measured"] - 1) > BOUND for one in results):
        raise typer.Exit(1)


def compared(engine: str, model: str, precision: str) -> dict[str, Any]:
    """What was predicted for a comparison of the reference tools, and what it took. Raises `SetupError`."""
    note(f"running {Path(model).name} on {engine}")
    resolved = resolve_model(model, offline=True)
    predicted = predict(resolved.folder, engine, precision=precision, tuned=bool(resolved.adapter_sha256))
    command = [sys.executable, "-m", "evals.memory_child", engine, model, precision, *map(str, case_folders())]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise SetupError(f"the run of {model} failed: {last[0]}", fix="run review-panel compare with it")
    measured = json.loads(done.stdout.splitlines()[-1])
    return {"model": Path(model).name, "engine": engine, "precision": precision, "predicted": predicted.total,
            "parts": predicted.parts, **measured}  # fmt: skip


def _built(scratch: Path) -> list[str]:
    from evals.families import FAMILIES, build

    note("building the checkpoints")
    return [str(build(family, scratch / name, **SIZES)) for name, family in FAMILIES.items()]


if __name__ == "__main__":
    try:
        app()
    except PanelError as error:
        note(f"error: {error}")
        sys.exit(2)
