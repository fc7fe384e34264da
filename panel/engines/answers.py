"""Every answer that a model has given, in one SQLite file, under a key of all that it depends on.

    models    what can answer: engine, the model's name as people give it, its hashes and settings (see identity.py)
    answers   key → answer, in JSON; `name` is the request's own, for people, and is no part of the key

Any number of threads and processes may share a file (write-ahead log; one transaction per batch). An answer is there
once its transaction has ended, also when the process is killed right after. Of two processes that compute the same
answer the first one's is kept, and both go on with it, so that a replay gives either's record. A row that does not
match its checksum counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from panel.engines.answers_file import AnswersFile
from panel.engines.identity import Identity
from panel.engines.weights import cache_root
from panel.requests import EngineInfo

#: A run that ends with a larger file than this drops the answers that were not used for longest.
MAX_BYTES = 1_000_000_000
#: A use is noted when the last one noted is older than this many seconds: a run that finds everything writes nothing.
USE_GRAIN = 3600

_ROW_BYTES = "(length(name) + length(answer) + 128)"  # what a row takes, about: its key stands in the index too
_AT_ONCE = 500  # keys in one query


def default_path() -> Path:
    """The file that runs share; REVIEW_PANEL_ANSWERS overrides its place in the cache folder."""
    chosen = os.environ.get("REVIEW_PANEL_ANSWERS")
    return Path(chosen).expanduser() if chosen else cache_root() / "answers.sqlite"


@dataclass(frozen=True)
class Kept:
    """What a file holds of one model on one engine; times in seconds since 1970. `info` is None where it is unknown."""

    info: EngineInfo | None
    answers: int
    oldest: int
    newest: int


class AnswerStore:
    """One file of answers.

    Args:
        path: made where it is missing, with its folder.
        read_only: nothing is written, not even when an answer was used last; the file must exist.
        now: the clock, in seconds since 1970.

    Raises (from every method): SetupError, where the file is none of ours, of a newer version, damaged, or cannot be
        had; `EngineError` once it is closed.
    """

    def __init__(self, path: Path, *, read_only: bool = False, now: Callable[[], float] = time.time) -> None:
        self.path, self._now = path, now
        self._file = AnswersFile(path, read_only=read_only)

    # ----------------------------------------------------------------------------------------------- answers

    def get(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        """The answers that are there, by key; those that do not match their checksum are left out."""
        with self._file.held() as db:
            return self._get(db, list(dict.fromkeys(keys)))

    def put(
        self, model: bytes, answers: Mapping[bytes, tuple[str, str]], *, replace: Collection[bytes] = ()
    ) -> dict[bytes, str]:
        """Keep `answers` (key → (name, answer)) of the model with this id, all of them or none.

        Returns what the file then holds under these keys: an answer that is there already stays, but for those to
        `replace`.
        """
        now = int(self._now())
        with self._file.held() as db, self._file.transaction():
            there = self._get(db, [key for key in answers if key not in replace])
            rows = [
                (key, model, name, answer, _checksum(key, answer), now, now)
                for key, (name, answer) in answers.items()
                if key not in there
            ]
            db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        return {key: there.get(key, answer) for key, (_, answer) in answers.items()}

    def _get(self, db: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        used: list[bytes] = []
        old = self._now() - USE_GRAIN
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            query = f"SELECT key, answer, sum, used_at FROM answers WHERE key IN ({','.join('?' * len(some))})"  # noqa: S608
            for key, answer, checksum, used_at in db.execute(query, some):
                if isinstance(answer, str) and checksum == _checksum(key, answer):
                    found[key] = answer
                    if used_at < old:
                        used.append(key)
        if used and not self._file.read_only:
            with contextlib.nullcontext() if db.in_transaction else self._file.transaction():
                now = int(self._now())
                db.executemany("UPDATE answers SET used_at = ? WHERE key = ?", [(now, key) for key in used])
        return found

    # ------------------------------------------------------------------------------------------------ models

    def remember(self, asked: str, identity: Identity) -> None:
        """Note that the model that people call `asked` is this one."""
        row = (identity.id, identity.info.engine, asked, identity.to_json(), self._now())
        with self._file.held() as db:
            known = db.execute(
                "SELECT used_at, identity FROM models WHERE id = ? AND asked = ?", (identity.id, asked)
            ).fetchone()
            latest = db.execute(
                "SELECT id FROM models WHERE engine = ? AND asked = ? ORDER BY used_at DESC, id LIMIT 1",
                (identity.info.engine, asked),
            ).fetchone()
            if known and latest[0] == identity.id and known[0] > row[-1] - USE_GRAIN and known[1] == row[3]:
                return
            with self._file.transaction():
                db.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?)", row)

    def models(self, engine: str, asked: str) -> list[Identity]:
        """The models that were called `asked` on `engine`, the one used last first; unreadable ones are left out."""
        query = "SELECT identity FROM models WHERE engine = ? AND asked = ? ORDER BY used_at DESC, id"
        with self._file.held() as db:
            rows = db.execute(query, (engine, asked)).fetchall()
        return [found for (text,) in rows if (found := Identity.from_json(text)) is not None]

    # ------------------------------------------------------------------------------------------ looking after it

    def kept(self) -> list[Kept]:
        """What the file holds, model by model, the one with most answers first."""
        query = """SELECT m.identity, count(*), min(a.created), max(a.created)
                   FROM answers a LEFT JOIN (SELECT id, min(identity) AS identity FROM models GROUP BY id) m
                   ON m.id = a.model GROUP BY a.model ORDER BY count(*) DESC, a.model"""
        with self._file.held() as db:
            rows = db.execute(query).fetchall()
        found = []
        for text, count, oldest, newest in rows:
            one = Identity.from_json(text or "")
            found.append(Kept(one.info if one else None, count, oldest, newest))
        return found

    def bytes_used(self) -> int:
        """The size of what is held; the file may be larger by the room that was freed in it."""
        with self._file.held():
            return self._file.bytes_used()

    def prune(self, *, keep_seconds: float | None = None, max_bytes: int | None = None) -> int:
        """Drop answers that were last used longer than `keep_seconds` ago, then the least recently used until the file
        has no more than `max_bytes`. Returns how many were dropped.

        Writes the file anew, which takes as much room again for a moment and waits for others to end what they write.
        """
        dropped = 0
        with self._file.held() as db:
            if keep_seconds is not None:
                limit = self._now() - keep_seconds
                dropped += db.execute("DELETE FROM answers WHERE used_at < ?", (limit,)).rowcount
            # not those of a run that has just begun
            db.execute(
                "DELETE FROM models WHERE used_at < ? AND id NOT IN (SELECT model FROM answers)",
                (self._now() - 24 * USE_GRAIN,),
            )
            self._file.compact()  # pages that have lost some of their rows count in full before
            while max_bytes is not None and (size := self._file.bytes_used()) > max_bytes:
                gone = _drop_oldest(db, 1 - max_bytes / size)
                if not gone:
                    break
                dropped += gone
                self._file.compact()
        return dropped

    def close(self) -> None:
        """Let go of the file; whoever asks after that is told that the run was stopped."""
        self._file.close()


def _checksum(key: bytes, answer: str) -> bytes:
    return hashlib.sha256(key + answer.encode("utf-8", "surrogatepass")).digest()[:8]


def _drop_oldest(db: sqlite3.Connection, share: float) -> int:
    """Drop the least recently used rows that take this share of the room together, and at least one."""
    query = f"""DELETE FROM answers WHERE key IN (SELECT key FROM (
                SELECT key, sum({_ROW_BYTES}) OVER (ORDER BY used_at, created, key) - {_ROW_BYTES} AS before
                FROM answers) WHERE before < ? * (SELECT sum({_ROW_BYTES}) FROM answers))"""  # noqa: S608
    return db.execute(query, (share,)).rowcount
