"""The model's answers to a run, in one text file that git can keep: whoever has it needs no model.

    {"schema": "answers/1", "asked": "embedded", "identity": "[…]"}     what answered, and what people call it
    ["<key>", "<answer>"]                                               one line per answer, sorted by key

Keys and answers are those of `panel.engines.cached`: a key goes over everything that the answer depends on. So an
answer to another prompt, grammar or model is simply not there, and a replay says so.
"""

from __future__ import annotations

import base64
import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import panel.engines
from evals.stability.missing import MissingRun
from panel.engines.answers import AnswerStore
from panel.engines.cached import CachedEngine, Mode
from panel.engines.embedded import SOURCES
from panel.engines.identity import DECODING, Identity
from panel.engines.weights import sha256_file
from panel.errors import SetupError
from panel.files import write_atomic
from panel.inputs import read_text
from panel.requests import Engine

SCHEMA = "answers/1"
MAX_BYTES = 64 << 20
_WORDS = Path(__file__).parents[2] / "panel" / "ordinary_words.txt"


@dataclass(frozen=True)
class Kept:
    """Engines over one store of answers; they load the model for what is missing, or (a replay) have none."""

    identity: Identity
    store: AnswerStore
    load: Callable[[], Engine]
    mode: Mode

    def engine(self, again: str = "") -> CachedEngine:
        """The model; `again` asks it once more, for answers that are kept apart from those of the first time."""
        about = dict(self.identity.settings) | ({"again": again} if again else {})
        return CachedEngine(Identity(self.identity.info, about), self.load, self.store, mode=self.mode)


@contextlib.contextmanager
def answering(
    engine: str, model: str, out: Path, *, answers: Path | None, replay: bool
) -> Iterator[tuple[Engine, Callable[[str], Engine] | None, Path]]:
    """What `run_stability` asks: the engine, what gives one for a rerun, and the folder to work in.

    Without a file of `answers` it is the model itself, and `out` is worked in. With one, nothing but answers may be
    taken from an earlier run, so the folder is a fresh one.
    """
    if answers is None:
        yield panel.engines.open_engine(engine, model), None, out
        return
    kept = replaying(answers, engine, model) if replay else recording(answers, engine, model, out)
    with kept as source, tempfile.TemporaryDirectory() as folder:
        yield source.engine(), source.engine, Path(folder)


@contextlib.contextmanager
def recording(path: Path, engine: str, model: str, folder: Path) -> Iterator[Kept]:
    """Ask the model, and write to `path` what was asked and answered; a stopped run goes on from `folder`.

    Raises:
        SetupError: no such engine or model, or the files cannot be written.
    """
    identity, load = panel.engines.find_engine(engine, model)
    store = _Used(folder / "answers.sqlite")
    try:
        yield Kept(identity, store, cache(load), "use")
        write(path, model, identity, store.used)
    finally:
        store.close()


@contextlib.contextmanager
def replaying(path: Path, engine: str, model: str) -> Iterator[Kept]:
    """The answers of `path`, and no model.

    Raises:
        SetupError: the file is missing or none of ours.
        MissingRun: it has answers of another model, or of this one as it was.
    """
    asked, identity, rows = read(path)
    if problem := _stale(identity, asked, engine, model):
        raise MissingRun((), why=f"the kept answers are {problem}")
    with tempfile.TemporaryDirectory() as folder:
        store = AnswerStore(Path(folder) / "answers.sqlite")
        try:
            store.put(identity.id, {key: ("", answer) for key, answer in rows.items()})
            yield Kept(identity, store, _no_model, "replay")
        finally:
            store.close()


@contextlib.contextmanager
def kept_and_live(path: Path, folder: Path) -> Iterator[Kept]:
    """The answers of `path`, and the model that gave them for what is not among them; new ones are kept in `folder`.

    Raises:
        SetupError: the file is missing or none of ours, or the model is not here.
        MissingRun: it has answers of another model, or of this one as it was.
    """
    asked, identity, rows = read(path)
    engine = identity.info.engine
    if problem := _stale(identity, asked, engine, asked):
        raise MissingRun((), why=f"the kept answers are {problem}")
    store = AnswerStore(folder / "answers.sqlite")
    try:
        store.put(identity.id, {key: ("", answer) for key, answer in rows.items()})
        yield Kept(identity, store, cache(lambda: panel.engines.open_engine(engine, asked)), "use")
    finally:
        store.close()


def write(path: Path, asked: str, identity: Identity, answers: Mapping[bytes, str]) -> None:
    """The same answers give the same bytes."""
    head = json.dumps({"schema": SCHEMA, "asked": asked, "identity": identity.to_json()})
    lines = (json.dumps([base64.b64encode(key).decode(), answers[key]]) for key in sorted(answers))
    write_atomic(path, "\n".join([head, *lines]) + "\n")


def read(path: Path) -> tuple[str, Identity, dict[bytes, str]]:
    """What people call the model, the model, and its answers by key. Raises `SetupError`."""
    head, *lines = read_text(path, "file of kept answers", limit=MAX_BYTES).splitlines() or [""]
    try:
        about = json.loads(head)
        identity = Identity.from_json(about["identity"]) if about["schema"] == SCHEMA else None
        rows = {base64.b64decode(key, validate=True): str(answer) for key, answer in map(json.loads, lines)}
    except (ValueError, TypeError, KeyError) as error:
        raise _none_of_ours(path) from error
    if identity is None:
        raise _none_of_ours(path)
    return str(about["asked"]), identity, rows


def _none_of_ours(path: Path) -> SetupError:
    return SetupError(f"is no file of kept answers ({SCHEMA})", path=path, fix="make it anew: make baseline")


def _stale(identity: Identity, asked: str, engine: str, model: str) -> str:
    """What of the kept model is not as it is here, as far as it can be told without the model."""
    info, source = identity.info, SOURCES.get(model)
    if (info.engine, asked) != (engine, model):
        return f"of {asked} on {info.engine}, not of {model} on {engine}"
    if source is not None and source.sha256 != info.model_sha256:
        return f"of another {model}: its weights are {info.model_sha256[:12]}, and here {source.sha256[:12]}"
    if source is not None and source.adapter_sha256 != info.adapter_sha256:
        return f"of another adapter of {model}: {info.adapter_sha256[:12]}, and here {source.adapter_sha256[:12]}"
    for name, here in (("decoding", str(DECODING)), ("ordinary_words", sha256_file(_WORDS))):
        if identity.settings.get(name, here) != here:
            return f"of another {name.replace('_', ' ')} ({identity.settings[name][:12]}, and here {here[:12]})"
    return ""


def _no_model() -> Engine:
    raise AssertionError("a replay has no model")


class _Used(AnswerStore):
    """Remembers which answers were used, kept ones and new ones."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.used: dict[bytes, str] = {}

    def get(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        found = super().get(keys)
        self.used.update(found)
        return found

    def put(
        self, model: bytes, answers: Mapping[bytes, tuple[str, str]], *, replace: Iterable[bytes] = ()
    ) -> dict[bytes, str]:
        kept = super().put(model, answers, replace=frozenset(replace))
        self.used.update(kept)
        return kept
