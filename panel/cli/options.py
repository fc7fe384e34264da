"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EngineOption = Annotated[str, typer.Option("--engine", help="openvino (CPU) or transformers (CPU, GPU; needs torch).")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="embedded, embedded-base (without its adapter), a model folder, or org/name\\[@revision] of a model hub.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same record.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder that records and pages are written to.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the record on standard output, and nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
CacheOption = Annotated[bool, typer.Option("--no-cache", help="Review anew, also what an earlier run has finished.")]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the page, where there is a desktop.")]
LoopOption = Annotated[str, typer.Option("--loop", help="led (small models) or free (larger models choose more).")]
PersonasOption = Annotated[Path | None, typer.Option("--personas", help="Folder of persona files.")]
PromptsOption = Annotated[Path | None, typer.Option("--prompts", help="Folder of prompt templates.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Never ask the network for a model.")]

DEFAULT_OUT = Path("outputs")
