"""Options that several commands have, written once.

A command says `@takes(model=engine_options)` and has a parameter `model: ModelChoice`; on the command line it has the
options of `engine_options` in its place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from panel.errors import SetupError

if TYPE_CHECKING:
    from panel.engines.cached import CachedEngine

PersonasOption = Annotated[Path | None, typer.Option("--personas", help="Folder of persona files.")]
PromptsOption = Annotated[Path | None, typer.Option("--prompts", help="Folder of prompt templates.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the record on standard output, and nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder that records and pages are written to.")]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the page, where there is a desktop.")]

DEFAULT_OUT = Path("outputs")


@dataclass(frozen=True)
class ModelChoice:
    """Which model on which engine; `how` are the keyword arguments of `panel.engines.open_engine`."""

    engine: str
    model: str
    how: dict[str, Any] = field(default_factory=dict)


def engine_options(
    engine: Annotated[
        str,
        typer.Option(
            help="openvino (CPU), transformers (CPU, GPU; needs torch) or openai (a server; needs --base-url)."
        ),
    ] = "openvino",
    model: Annotated[
        str,
        typer.Option(
            help="embedded, embedded-base (without its adapter), a model folder, or org/name\\[@revision] of a model "
            "hub; of a server, a name that it lists (else its first).",
        ),
    ] = "embedded",
    precision: Annotated[
        str,
        typer.Option(
            help="auto, float32, bfloat16, int8 or int4. A rounded model is another model: calibrate it anew."
        ),
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda (engine transformers).")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the network for a model.")] = False,
    base_url: Annotated[
        str | None,
        typer.Option(help="Where a server answers, such as http://127.0.0.1:8000/v1. Key: REVIEW_PANEL_API_KEY."),
    ] = None,
    server_kind: Annotated[
        str,
        typer.Option(help="auto, llama-cpp-python, llama.cpp, vllm, ollama, lmstudio or other: how it takes grammars."),
    ] = "auto",
    in_flight: Annotated[int, typer.Option(min=1, help="Requests that a server gets at a time.")] = 4,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a server may take for one answer.")] = 120,
) -> ModelChoice:
    from panel.engines import ServerOptions

    server = None if base_url is None else ServerOptions(base_url, server_kind, in_flight, timeout)
    how = {"offline": offline, "server": server, "precision": precision, "device": device}
    return ModelChoice(engine, model, how)


@dataclass(frozen=True)
class RunChoice:
    """How reviews are made; `mode` is that of `panel.engines.open_cached`."""

    seed: int
    loop: Any
    mode: Any
    answers: Path | None
    personas: Path | None
    prompts: Path | None

    @property
    def fresh(self) -> bool:
        """Whether stored reviews are passed over: one that is read back asks for no answers, and leaves the file of
        answers without them."""
        return self.mode != "use" or self.answers is not None

    def open(self, chosen: ModelChoice, on_load: Callable[[], None]) -> CachedEngine:
        """The engine, which is loaded when it is first asked for something new. Raises `SetupError`."""
        from panel import engines

        return engines.open_cached(
            chosen.engine, chosen.model, answers=self.answers, mode=self.mode, on_load=on_load, **chosen.how
        )


def run_options(
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same record.")] = 0,
    loop: Annotated[str, typer.Option(help="led (small models) or free (larger models choose more).")] = "led",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Ask the model anew, also what an earlier run has finished.")
    ] = False,
    answers: Annotated[
        Path | None,
        typer.Option(help="Keep model answers in this file, and make every review from it.", show_default=False),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Make the record from kept answers alone; no model is needed.")
    ] = False,
    personas: PersonasOption = None,
    prompts: PromptsOption = None,
) -> RunChoice:
    if loop not in ("led", "free"):
        raise SetupError(f"unknown loop {loop!r}", field="--loop", fix="choose led or free")
    if replay and no_cache:
        raise SetupError(
            "--replay asks no model, --no-cache asks it everything", field="--replay", fix="give one of the two"
        )
    mode = "replay" if replay else "fresh" if no_cache else "use"
    return RunChoice(seed, loop, mode, answers, personas, prompts)


def takes(**builders: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that makes each named parameter of a command out of options, by its builder."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in _parameters(command) if p.name not in builders]
        groups = {name: _parameters(builder) for name, builder in builders.items()}

        @wraps(command)
        def called(**values: Any) -> None:
            made = {
                name: builders[name](**{p.name: values.pop(p.name) for p in group}) for name, group in groups.items()
            }
            command(**values, **made)

        spliced = [*own, *(p for group in groups.values() for p in group)]
        called.__signature__ = inspect.Signature(spliced)  # type: ignore[attr-defined]
        called.__annotations__ = {p.name: p.annotation for p in spliced}
        return called

    return decorate


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Its parameters as keywords, with their annotations evaluated."""
    hints = get_type_hints(function, include_extras=True)
    found = inspect.signature(function).parameters.values()
    return [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in found]
