"""What a model's answers depend on beside the request, known without loading the model or importing its engine."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from panel.engines.hub import ResolvedModel
from panel.engines.precision import QUANTISED, as_run, choose_device, choose_precision, rounder
from panel.engines.weights import sha256_file
from panel.errors import SetupError
from panel.requests import EngineInfo

#: How the CPU plug-in computes: its own defaults are not faithful enough (see openvino.py).
OPENVINO_SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "PERFORMANCE_HINT": "LATENCY"}
#: Raise when decoding.py, rows.py or codec.py would now give another answer to the same request.
DECODING = 4

#: Files of a model's folder that decide how text becomes tokens and weights become numbers (for a converted model the
#: manifest names the hash of each).
_SETTINGS_FILES = ("*.json", "*.jinja", "*.xml", "tokenizer.model", "merges.txt")
#: Libraries that turn text into tokens and grammars into masks.
_LIBRARIES = ("llguidance", "tokenizers", "transformers")


@dataclass(frozen=True)
class Identity:
    """An engine with a model in it.

    `settings` says what else their answers depend on, as name → value: precision, versions of libraries, hashes of the
    tokenizer's files and of the list of ordinary words.
    """

    info: EngineInfo
    settings: Mapping[str, str]

    @cached_property
    def id(self) -> bytes:
        """SHA-256 over everything but what people call the model."""
        about = asdict(self.info)
        del about["model"]
        return hashlib.sha256(json.dumps([about, dict(self.settings)], sort_keys=True).encode()).digest()

    def to_json(self) -> str:
        return json.dumps([asdict(self.info), dict(self.settings)], sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Identity | None:
        """The inverse of `to_json`; None for anything else."""
        try:
            info, settings = json.loads(text)
            found = Identity(EngineInfo(**info), {str(key): str(value) for key, value in settings.items()})
        except (ValueError, TypeError, AttributeError):
            return None
        return found if all(isinstance(value, str) for value in asdict(found.info).values()) else None


def openvino_settings(precision: str) -> dict[str, str]:
    """What the CPU plug-in is told, for a precision that is not `auto`."""
    return {**OPENVINO_SETTINGS, "INFERENCE_PRECISION_HINT": "bf16"} if precision == "bfloat16" else OPENVINO_SETTINGS


def openvino_identity(model: ResolvedModel, precision: str = "auto") -> Identity:
    """Of the engine openvino with this model. Raises `SetupError` where it cannot run it."""
    if not (model.folder / "openvino_model.xml").is_file():
        raise SetupError(
            "the folder holds no OpenVINO model (openvino_model.xml)",
            path=model.folder,
            fix="use --engine transformers, or a repository that carries OpenVINO files",
        )
    chosen, installed = choose_precision(precision, "cpu"), _version("openvino")
    run = as_run(model, chosen, "cpu", rounder("openvino") if chosen in QUANTISED else f"openvino {installed}")
    info = EngineInfo("openvino", installed, run.name, run.sha256, run.adapter_sha256)
    return Identity(info, {**_settings(model.folder), **_published(model, run), **openvino_settings(chosen)})


def transformers_identity(model: ResolvedModel, precision: str = "auto", device: str = "auto") -> Identity:
    """Of the engine transformers with this model. Raises `SetupError` where PyTorch, torchao or a GPU is missing."""
    try:
        torch = version("torch")
    except PackageNotFoundError as error:
        raise SetupError(
            "the engine transformers needs PyTorch, which is not installed",
            fix="pip install 'review-panel[torch]', or use --engine openvino",
        ) from error
    place = choose_device(device, cuda=device != "cpu" and torch_device(torch) == "cuda")
    chosen, plain = choose_precision(precision, place), torch.split("+")[0]
    run = as_run(model, chosen, place, rounder("transformers") if chosen in QUANTISED else f"torch {plain}")
    both = f"{_version('transformers')}+torch{plain}"
    info = EngineInfo("transformers", both, run.name, run.sha256, run.adapter_sha256)
    how = {"device": place, "precision": chosen}
    return Identity(info, {**_settings(model.folder), **_published(model, run), **how})


def server_identity(info: EngineInfo, base_url: str) -> Identity:
    """Of a model behind a server, which does not tell its weights: the address stands for them."""
    words = Path(__file__).parents[1] / "ordinary_words.txt"
    return Identity(info, {"server": base_url, "decoding": str(DECODING), "ordinary_words": sha256_file(words)})


def torch_device(torch_version: str) -> str:
    """`cuda` or `cpu`: it decides the precision. PyTorch is asked only where its build can have a GPU."""
    if torch_version.endswith("+cpu") or sys.platform == "darwin":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _published(model: ResolvedModel, run: ResolvedModel) -> dict[str, str]:
    """The hash of the weights as published, where they are not run as they are."""
    return {} if run.sha256 == model.sha256 else {"published": model.sha256}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise SetupError(
            f"the package {package} is not installed", field="--engine", fix=f"pip install {package}, or run: make demo"
        ) from error


def _settings(folder: Path) -> dict[str, str]:
    """What both engines' answers depend on beside the weights."""
    paths = {path for pattern in _SETTINGS_FILES for path in folder.glob(pattern)}
    words = Path(__file__).parents[1] / "ordinary_words.txt"
    return {
        "decoding": str(DECODING),
        "ordinary_words": sha256_file(words),
        **{library: _version(library) for library in _LIBRARIES},
        **{f"file {path.name}": sha256_file(path) for path in sorted(paths) if path.is_file()},
    }
