"""From what a person calls a model to a folder that an engine can load.

    embedded, embedded-base   the embedded model, with and without its adapter (see embedded.py)
    ./folder                  a folder with config.json and weights
    org/name[@revision]       a repository on the Hugging Face hub, or in its cache

Only safetensors and OpenVINO files are fetched and accepted: pickled weights run code when they are opened.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from panel.engines.embedded import SOURCES, embedded_folder
from panel.engines.weights import safetensors_header, weight_files, weights_sha256
from panel.errors import SetupError

#: What is fetched of a repository, all from its top folder.
ALLOWED = (
    "*.safetensors",
    "*.json",
    "*.jinja",
    "tokenizer.model",
    "merges.txt",
    "openvino_*.xml",
    "openvino_*.bin",
    "README.md",
)
IGNORED = ("*/*", "consolidated*.safetensors")  # the second holds the weights once more, in another layout

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_REPOSITORY = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>\w(?:[\w/-]|\.(?!\.))*))?", re.ASCII)


@dataclass(frozen=True)
class ResolvedModel:
    """A model that can be loaded.

    `revision` is a commit for a model of the hub; `sha256` goes over the weights as published, `adapter_sha256` over
    the adapter that was merged into them, if one was.
    """

    name: str
    folder: Path
    revision: str
    sha256: str
    adapter_sha256: str = ""


def resolve_model(model: str, *, offline: bool) -> ResolvedModel:
    """Find `model`, fetching it from the hub where need be; with `offline` nothing is fetched.

    Raises `SetupError` where it cannot be had or cannot be loaded, with the command that brings it.
    """
    if model in SOURCES:
        source = SOURCES[model]
        folder = embedded_folder(source)
        return ResolvedModel(model, folder, source.requirement, source.sha256, source.adapter_sha256)
    expanded = os.path.expanduser(model)
    if os.path.isdir(expanded):  # unlike Path's own, it takes any text without raising
        folder = Path(expanded).resolve()
        _check_folder(folder)
        return ResolvedModel(folder.name, folder, "local", weights_sha256(folder))
    named = _REPOSITORY.fullmatch(model)
    if os.path.exists(expanded) or not named or model.startswith("."):
        raise SetupError(
            f"there is no model {model!r}",
            field="--model",
            fix="give embedded, embedded-base, a folder with config.json and safetensors, or org/name[@revision]",
        )
    repo, revision = named["repo"], named["revision"]
    folder = _snapshot(repo, revision, offline)
    _check_folder(folder)
    return ResolvedModel(repo, folder, folder.name, weights_sha256(folder))


# -------------------------------------------------------------------------------------------- local folders


def _check_folder(folder: Path) -> None:
    """Raise `SetupError` unless the folder has config.json and whole weights; opens no weights, only headers."""
    if not (folder / "config.json").is_file():
        raise SetupError("the folder has no config.json", path=folder, fix="give a folder as transformers saves it")
    weights = weight_files(folder)
    if not weights:
        pickled = sorted(file.name for pattern in _PICKLED for file in folder.glob(pattern))
        if pickled:
            raise SetupError(
                f"the folder holds pickled weights only ({pickled[0]}); opening them runs code, so they are refused",
                path=folder,
                fix="choose a model with safetensors, or convert it with: model.save_pretrained(folder)",
            )
        raise SetupError("the folder has no weights", path=folder, fix="add its *.safetensors files")
    missing = _missing_shards(folder)
    if (folder / "openvino_model.bin").is_file() and not (folder / "openvino_model.xml").is_file():
        missing.append("openvino_model.xml")
    if missing:
        raise SetupError(
            f"the model is incomplete: {missing[0]} is missing ({len(missing)} in all)",
            path=folder,
            fix="fetch the model again, to its end",
        )
    for file in weights:
        if file.suffix == ".safetensors":
            safetensors_header(file)


def _missing_shards(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"cannot be read ({error!r})", path=index, fix="fetch the model again") from error
    return sorted(name for name in named if not (folder / name).is_file())


# -------------------------------------------------------------------------------------------------- the hub


def _snapshot(repo: str, revision: str | None, offline: bool) -> Path:
    """The folder of one commit in the Hugging Face cache, fetched where it is not there. Raises `SetupError`."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                allow_patterns=list(ALLOWED),
                ignore_patterns=list(IGNORED),
                local_files_only=offline,
            )
        )
    except Exception as error:
        raise _hub_problem(error, repo, revision, offline) from error


def _hub_problem(error: Exception, repo: str, revision: str | None, offline: bool) -> Exception:
    """The `SetupError` for what huggingface_hub raised; anything that is not its own or the network's, unchanged."""
    from huggingface_hub import errors

    at = f" --revision {revision}" if revision else ""
    page = f"https://huggingface.co/{repo}"
    match error:
        case errors.GatedRepoError():
            return SetupError(
                f"{repo} asks for consent before it is fetched",
                field="--model",
                fix=f"accept its terms on {page}, then run: hf auth login",
            )
        case errors.RepositoryNotFoundError() | errors.DisabledRepoError():
            return SetupError(
                f"the hub has no model {repo}, or it is private",
                field="--model",
                fix="check the spelling (org/name); for a private model run: hf auth login",
            )
        case errors.RevisionNotFoundError():
            return SetupError(
                f"{repo} has no revision {revision}", field="--model", fix=f"choose a branch, tag or commit from {page}"
            )
        case errors.HFValidationError():
            return SetupError(f"{repo!r} is no repository name", field="--model", fix="write it as org/name[@revision]")
        # the HTTP client's errors, huggingface_hub's own (which descend from them), and "not in the cache"
        case errors.HTTPError() | errors.EntryNotFoundError() | errors.FileMetadataError() | ConnectionError():
            cause = error.__cause__ or error
            why = "fetching is switched off" if offline else f"the hub cannot be reached: {type(cause).__name__}"
            return SetupError(
                f"{repo}{at} is not, or not wholly, on this machine ({why})",
                field="--model",
                fix=f"where there is a network, run: hf download {repo}{at}; bring its cache folder here and set "
                f"HF_HUB_CACHE to it, or run: hf download {repo}{at} --local-dir FOLDER, and give FOLDER as --model",
            )
        case OSError():
            return SetupError(
                f"{repo} cannot be written to the Hugging Face cache ({error.strerror or error})",
                path=error.filename,
                fix="make room there, or name another folder in the environment variable HF_HUB_CACHE",
            )
    return error
