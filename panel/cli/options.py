"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from panel.engines import ServerOptions

EngineOption = Annotated[
    str,
    typer.Option(
        "--engine", help="openvino (CPU), transformers (CPU, GPU; needs torch) or openai (a server; needs --base-url)."
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="embedded, embedded-base (without its adapter), a model folder, or org/name\\[@revision] of a model hub; "
        "of a server, a name that it lists (else its first).",
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
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--base-url", help="Where a server answers, such as http://127.0.0.1:8000/v1. Key: REVIEW_PANEL_API_KEY."
    ),
]
ServerKindOption = Annotated[
    str,
    typer.Option(
        "--server-kind",
        help="auto, llama-cpp-python, llama.cpp, vllm, ollama, lmstudio or other: how it takes grammars.",
    ),
]
InFlightOption = Annotated[int, typer.Option("--in-flight", min=1, help="Requests that a server gets at a time.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=1, help="Seconds that a server may take for one answer.")
]


def server_options(base_url: str | None, kind: str, in_flight: int, timeout: float) -> ServerOptions | None:
    """How the server at `base_url` is reached; None where there is none."""
    from panel.engines import ServerOptions

    return None if base_url is None else ServerOptions(base_url, kind, in_flight, timeout)
