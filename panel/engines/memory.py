"""How much memory a model takes, what this machine has, and whether an engine can run here at all."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from panel.engines.footprint import Prediction, predict
from panel.engines.hub import resolve_model
from panel.engines.identity import torch_device
from panel.engines.precision import QUANTISED, check_choices, choose_device, choose_precision, rounder
from panel.engines.server import ServerOptions
from panel.engines.weights import cache_root, weight_files
from panel.errors import SetupError

#: The packages that an engine imports, by engine.
PACKAGES: dict[str, tuple[str, ...]] = {
    "openvino": ("openvino", "llguidance", "tokenizers"),
    "transformers": ("torch", "transformers", "safetensors", "llguidance", "tokenizers"),
    "openai": ("httpx2", "llguidance"),
    "scripted": (),
}
_REMOTE = {"openai", "scripted"}  # engines that load no weights here


@dataclass(frozen=True)
class Check:
    """One thing that a run needs: whether it is so, what was found, and, where it is not, the command that mends it."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


# ------------------------------------------------------------------------------------------------- this machine


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


def doctor(
    model: str, engine: str, server: ServerOptions | None = None, *, precision: str = "auto", device: str = "auto"
) -> list[Check]:
    """Everything that a run of `model` on `engine` needs, checked without loading anything.

    Nothing goes over a network, but for the engine openai, whose server is asked what it is and what it can do.
    """
    checks = [_check_python(), *_check_packages(engine), _check_cache()]
    if engine == "openai":
        checks.append(_check_server(model, server))
    elif engine in PACKAGES and engine not in _REMOTE:
        check_choices(engine, precision, device)
        checks += _check_model(model, engine, precision, device)
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


def _check_model(model: str, engine: str, precision: str, device: str) -> list[Check]:
    """The model is here and whole, in the form that the engine reads, and a comparison fits into memory."""
    try:
        resolved = resolve_model(model, offline=True)
        place = "cpu" if engine == "openvino" else choose_device(device, cuda=device != "cpu" and _has_gpu())
        chosen = choose_precision(precision, place)
        if chosen in QUANTISED:
            rounder(engine)
        needs = predict(resolved.folder, engine, precision=chosen, device=place)
    except SetupError as error:
        where = f"{error.path}: " if error.path else ""
        return [Check("model", False, f"{where}{error.problem}", error.fix)]
    wanted = "openvino_model.bin" if engine == "openvino" else "*.safetensors"
    if not any(file.match(wanted) for file in weight_files(resolved.folder)):
        other = "transformers" if engine == "openvino" else "openvino"
        fix = f"use --engine {other}, or a model that has {wanted}"
        return [Check("model", False, f"{resolved.folder} holds no {wanted}", fix)]
    return [Check("model", True, f"{resolved.name} in {resolved.folder}, {chosen} on {place}"), _check_memory(needs)]


def _check_memory(needs: Prediction) -> Check:
    parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in needs.parts.items())
    detail = f"{needs.total / 1e9:.2f} GB to compare two tools ({parts})"
    if needs.on_gpu:
        return Check("memory", True, f"{detail}, of the GPU's, which is not asked how much it has")
    available = available_memory()
    fits = available == 0 or needs.total <= available
    free = f"{available / 1e9:.1f} GB free" if available else "free memory unknown"
    return Check("memory", fits, f"{detail}; {free}", "" if fits else "choose a smaller model, or --precision int8")


def _has_gpu() -> bool:
    try:
        return torch_device(version("torch")) == "cuda"
    except PackageNotFoundError:
        return False
