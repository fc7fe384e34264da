"""Who runs in the benchmark: names, what each needs, and its command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TORCH = ("torch", "transformers", "accelerate")


@dataclass(frozen=True)
class Contender:
    """One line of the table.

    Args:
        name: short, for options and files.
        label: for people.
        module: its script, run with -m.
        options: of its command line.
        needs: packages that its interpreter must have.
        install: how to get them.
        missing: why it cannot run at all, whatever is installed.
    """

    name: str
    label: str
    module: str
    options: tuple[str, ...]
    needs: tuple[str, ...]
    install: str
    missing: str = ""

    def command(self, python: Path) -> list[str]:
        return [str(python), "-m", self.module, *self.options]


@dataclass(frozen=True)
class Material:
    """What all contenders are given: the model in its forms, the tasks, and how much of them.

    `ggufs` are the model's GGUF files by what their numbers are; the one called `F16` is written when it is needed.
    """

    model: str
    folder: Path
    ggufs: dict[str, Path]
    dossiers: tuple[Path, ...]
    warm_up: Path
    tasks: Path
    work: Path
    minutes: float
    reviews: int
    threads: int
    seed: int


def peers(given: Material) -> list[Contender]:
    """What people would use instead, (a) to (c)."""
    common = ("--minutes", f"{given.minutes:g}")
    asked = (
        *common, "--tasks", str(given.tasks), "--reviews", str(given.reviews), "--threads", str(given.threads),
    )  # fmt: skip
    weights = ("--model", str(given.folder))
    found = [
        Contender(
            "smolagents", "(a) smolagents on TransformersModel", "evals.peers.smolagents_transformers",
            (*weights, *asked), ("smolagents", *TORCH), "make .venv-torch/.torch",
        ),
        Contender(
            "outlines", "(b) Outlines on transformers", "evals.peers.outlines_transformers",
            (*weights, *asked), ("outlines", *TORCH),
            "make .venv-torch/.torch, then: .venv-torch/bin/python -m pip install outlines",
        ),
    ]  # fmt: skip
    install = "python3 -m venv .venv-server, then: .venv-server/bin/python -m pip install llama-cpp-python (5 minutes)"
    for form, path in given.ggufs.items():
        found.append(
            Contender(
                f"llama-cpp-{form.lower()}", f"(c) llama.cpp, {form}", "evals.peers.llama_cpp",
                ("--model", str(path), *asked), ("llama_cpp",), install,
            )
        )  # fmt: skip
    if not given.ggufs:
        found.append(
            Contender(
                "llama-cpp", "(c) llama.cpp", "evals.peers.llama_cpp", (), ("llama_cpp",), install,
                missing="there is no GGUF file of this model; name one with --gguf",
            )
        )  # fmt: skip
    return found


def ours(given: Material, engines: Sequence[str]) -> list[Contender]:
    """This project, (e), on each engine."""
    packages = {"openvino": ("openvino",), "transformers": TORCH}
    found = []
    for engine in engines:
        options = [
            "--model", given.model, "--minutes", f"{given.minutes:g}", "--engine", engine, "--seed", str(given.seed),
            "--dossiers", *map(str, given.dossiers), "--warm-up", str(given.warm_up),
        ]  # fmt: skip
        if engine == "openvino":
            options += ["--work", str(given.work)]
        needs = (*packages.get(engine, ()), "smolagents", "llguidance", "pydantic")
        install = "make .venv-torch/.torch" if engine == "transformers" else "make demo"
        found.append(
            Contender(
                f"panel-{engine}", f"(e) review-panel, {engine}", "evals.peers.review_panel", tuple(options), needs,
                install,
            )
        )  # fmt: skip
    return found


def ceiling(given: Material) -> Contender:
    """The engine's own ceiling, (d); it needs the work that the panel on openvino has written down."""
    options = ("--model", str(given.folder), "--work", str(given.work))
    return Contender(
        "ceiling", "(d) openvino-genai, same tokens, no agent", "evals.peers.openvino_genai", options,
        ("openvino_genai",), "make demo",
    )  # fmt: skip
