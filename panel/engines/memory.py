"""How much memory a model takes, what this machine has, and whether an engine can run here at all."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panel.engines.hub import resolve_model
from panel.engines.server import ServerOptions
from panel.engines.weights import cache_root, safetensors_header, weight_files
from panel.errors import SetupError

#: What `doctor` reckons with: as many conversations at once as a comparison of four tools holds, at full length.
SEQUENCES, TOKENS = 32, 1024

#: The packages that an engine imports, by engine.
PACKAGES: dict[str, tuple[str, ...]] = {
    "openvino": ("openvino", "llguidance", "tokenizers"),
    "transformers": ("torch", "transformers", "safetensors", "llguidance", "tokenizers"),
    "openai": ("httpx2", "llguidance"),
    "scripted": (),
}
_REMOTE = {"openai", "scripted"}  # engines that load no weights here


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a model needs while it runs, and bytes that are free; `available` is 0 where that is unknown."""

    weights: int
    kv: int
    total: int
    available: int

    @property
    def fits(self) -> bool:
        return self.available == 0 or self.total <= self.available


@dataclass(frozen=True)
class Check:
    """One thing that a run needs: whether it is so, what was found, and, where it is not, the command that mends it."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


# ------------------------------------------------------------------------------------------------- estimate


def estimate(
    folder: Path, *, sequences: int, tokens: int, bytes_per_weight: float | None = None, kv_bytes: float = 4
) -> MemoryEstimate:
    """Memory of a model with `sequences` conversations of `tokens` tokens each, in bytes.

        weights = parameters · bytes per weight       (or, without `bytes_per_weight`, the size of the weight files)
        kv      = 2 · layers · kv heads · head dim · bytes per number · tokens · sequences

    The 2 is for keys and values; heads that share keys and values (grouped-query attention, Ainslie et al. 2023,
    arXiv:2305.13245) count once. Activations and the runtime itself come on top: reckon with a few hundred MB.
    Layers that keep less than the whole conversation (sliding windows) are counted as if they kept it.

    Raises `SetupError` where config.json is missing or lacks a size.
    """
    config = _text_config(folder)
    layers, kv_heads, head_dim = (_size(config, name, folder) for name in ("layers", "kv_heads", "head_dim"))
    kv = math.ceil(2 * layers * kv_heads * head_dim * kv_bytes * tokens * sequences)
    if bytes_per_weight is None:
        weights = _held_bytes(folder)
    else:
        weights = math.ceil(count_parameters(folder) * bytes_per_weight)
    return MemoryEstimate(weights, kv, weights + kv, available_memory())


def count_parameters(folder: Path) -> int:
    """The number of weights: from the headers of the safetensors files, else reckoned from config.json.

    For a Llama-like model with width h, feed-forward width f, head dim d, heads n and k, vocabulary v and l layers:

        v·h + l · (2·h·n·d + 2·h·k·d + 3·h·f + 2·h) + h        and v·h once more where the output is not tied

    Raises `SetupError`.
    """
    tensors = [file for file in weight_files(folder) if file.suffix == ".safetensors"]
    if tensors:
        return sum(math.prod(entry["shape"]) for file in tensors for entry in safetensors_header(file).values())
    config = _text_config(folder)
    h, f, d, n, k, v, l = (  # noqa: E741
        _size(config, name, folder)
        for name in ("hidden", "ffn", "head_dim", "heads", "kv_heads", "vocabulary", "layers")
    )
    outer = v * h * (1 if config.get("tie_word_embeddings") else 2)
    return outer + l * (2 * h * n * d + 2 * h * k * d + 3 * h * f + 2 * h) + h


def _held_bytes(folder: Path) -> int:
    """The bytes of one set of weights: a folder may hold the same model as OpenVINO IR and as safetensors."""
    sizes: dict[str, int] = {}
    for file in weight_files(folder):
        sizes[file.suffix] = sizes.get(file.suffix, 0) + file.stat().st_size
    return max(sizes.values(), default=0)


def _text_config(folder: Path) -> dict[str, Any]:
    """config.json; of a model for text and images, the part on text."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return dict(config.get("text_config") or config)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SetupError(
            f"cannot be read ({type(error).__name__})", path=path, fix="give a folder as transformers saves it"
        ) from error


_CONFIG_NAMES = {
    "layers": ("num_hidden_layers", "n_layer"),
    "hidden": ("hidden_size", "n_embd"),
    "heads": ("num_attention_heads", "n_head"),
    "kv_heads": ("num_key_value_heads", "num_attention_heads", "n_head"),
    "ffn": ("intermediate_size", "n_inner"),
    "vocabulary": ("vocab_size",),
}


def _size(config: dict[str, Any], name: str, folder: Path) -> int:
    """One size of the model under whichever name its config.json has for it. Raises `SetupError`."""
    if name == "head_dim":
        given = config.get("head_dim")
        return int(given) if given else _size(config, "hidden", folder) // _size(config, "heads", folder)
    for key in _CONFIG_NAMES[name]:
        value = config.get(key)
        if isinstance(value, int) and value > 0:
            return value
    raise SetupError(
        "the size cannot be read", path=folder / "config.json", field=_CONFIG_NAMES[name][0], fix="add the field"
    )


def available_memory() -> int:
    """Bytes that a new process may take without swapping; 0 where the system does not tell.

    On Linux MemAvailable, or what the control group (a container's limit) leaves, where that is less; elsewhere what
    psutil says, where it is installed, or the physical memory.
    """
    linux = _proc_meminfo(Path("/proc/meminfo"))
    if linux:
        return min(linux, _cgroup_left(Path("/sys/fs/cgroup")) or linux)
    if importlib.util.find_spec("psutil"):
        import psutil  # type: ignore[import-untyped,unused-ignore]

        return int(psutil.virtual_memory().available)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def _proc_meminfo(path: Path) -> int:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", path.read_text(encoding="ascii"), re.M)
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0


def _cgroup_left(folder: Path) -> int:
    """What this container's limit leaves (control groups, version 2); 0 where there is no limit."""
    try:
        limit, used, counts = (
            (folder / f"memory.{name}").read_text(encoding="ascii").strip() for name in ("max", "current", "stat")
        )
        if limit == "max":
            return 0
        # what is only kept of files that were read or written lately is given back at once
        cached = re.search(r"^inactive_file (\d+)$", counts, re.M)
        return max(1, int(limit) - int(used) + (int(cached.group(1)) if cached else 0))
    except (OSError, ValueError):
        return 0


# --------------------------------------------------------------------------------------------------- doctor


def doctor(model: str, engine: str, server: ServerOptions | None = None) -> list[Check]:
    """Everything that a run of `model` on `engine` needs, checked without loading anything.

    Nothing goes over a network, but for the engine openai, whose server is asked what it is and what it can do.
    """
    checks = [_check_python(), *_check_packages(engine), _check_cache()]
    if engine == "openai":
        checks.append(_check_server(model, server))
    if engine not in _REMOTE:
        checks += _check_model(model, engine)
    return checks


def _check_python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check("python", ok, platform.python_version(), "" if ok else "install Python 3.11 or later")


def _check_packages(engine: str) -> list[Check]:
    if engine not in PACKAGES:
        return [Check("engine", False, f"there is no engine {engine!r}", f"choose one of: {', '.join(PACKAGES)}")]
    extra = "pip install 'review-panel[torch]'" if engine == "transformers" else "pip install review-panel"
    missing = [name for name in PACKAGES[engine] if importlib.util.find_spec(name) is None]
    detail = f"not installed: {', '.join(missing)}" if missing else f"{engine} can be imported"
    return [Check("engine", not missing, detail, extra if missing else "")]


def _check_cache() -> Check:
    """The cache folder, or the nearest folder above it that exists, takes a file."""
    folder = root = cache_root()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        fix = "name a folder that you may write to in the environment variable REVIEW_PANEL_CACHE"
        return Check("cache", False, f"{root} cannot be written ({error.strerror})", fix)
    return Check("cache", True, f"{root} ({free / 1e9:.1f} GB free)")


def _check_server(model: str, server: ServerOptions | None) -> Check:
    """It answers, has the model, and tells log-probabilities."""
    from panel.engines.openai import open_openai

    try:
        info = open_openai(model, server).info
    except SetupError as error:
        return Check("server", False, f"[{error.field}] {error.problem}" if error.field else error.problem, error.fix)
    return Check("server", True, f"{info.model} on {info.engine_version}, with log-probabilities")


def _check_model(model: str, engine: str) -> list[Check]:
    """The model is here and whole, in the form that the engine reads, and fits into memory."""
    try:
        resolved = resolve_model(model, offline=True)
        # both engines reckon in 32-bit floats on a CPU
        needs = estimate(resolved.folder, sequences=SEQUENCES, tokens=TOKENS, bytes_per_weight=4)
    except SetupError as error:
        where = f"{error.path}: " if error.path else ""
        return [Check("model", False, f"{where}{error.problem}", error.fix)]
    wanted = "openvino_model.bin" if engine == "openvino" else "*.safetensors"
    if not any(file.match(wanted) for file in weight_files(resolved.folder)):
        other = "transformers" if engine == "openvino" else "openvino"
        fix = f"use --engine {other}, or a model that has {wanted}"
        return [Check("model", False, f"{resolved.folder} holds no {wanted}", fix)]
    gigabytes = f"{needs.weights / 1e9:.2f} GB weights and {needs.kv / 1e9:.2f} GB for {SEQUENCES} × {TOKENS} tokens"
    free = f"{needs.available / 1e9:.1f} GB free" if needs.available else "free memory unknown"
    return [
        Check("model", True, f"{resolved.name} in {resolved.folder}"),
        Check("memory", needs.fits, f"{gigabytes}; {free}", "" if needs.fits else "choose a smaller model"),
    ]
