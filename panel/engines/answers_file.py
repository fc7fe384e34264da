"""The SQLite file that answers are kept in: opening it, checking that it is ours, transactions, errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from panel.errors import EngineError, SetupError

SCHEMA = 1
#: Marks a SQLite file as one of ours ("RPAN"), so that no other program's is ever written to.
APPLICATION = 0x5250414E
#: Seconds for which a connection waits while another one writes.
PATIENCE = 30.0

_TABLES = """
CREATE TABLE models (
    id BLOB NOT NULL, engine TEXT NOT NULL, asked TEXT NOT NULL, identity TEXT NOT NULL, used_at REAL NOT NULL,
    PRIMARY KEY (id, asked)
) WITHOUT ROWID;
CREATE TABLE answers (
    key BLOB PRIMARY KEY, model BLOB NOT NULL, name TEXT NOT NULL, answer TEXT NOT NULL, sum BLOB NOT NULL,
    created INTEGER NOT NULL, used_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_by_use ON answers (used_at);
"""


class AnswersFile:
    """One connection to one file, for any number of threads, one at a time.

    Args:
        path: made where it is missing, with its folder.
        read_only: nothing is written; the file must exist.

    Raises (from every method): SetupError, where the file is none of ours, of a newer version, damaged, or cannot be
        had.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path, self.read_only = path, read_only
        self._lock = threading.Lock()
        self._closed = False
        if read_only and not path.is_file():
            raise SetupError(
                "there is no such file of answers", path=path, fix="run the same command without --replay first"
            )
        with self._mapped():
            self._db = self._connect()
            self._prepare()

    @contextlib.contextmanager
    def held(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone. Raises `EngineError` once it is closed: whoever asks is told that
        the run was stopped."""
        with self._lock, self._mapped():
            if self._closed:
                raise EngineError("the run was stopped")
            yield self._db

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is written within, or none; the connection is held."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def bytes_used(self) -> int:
        """The size of what is held; the file may be larger by the room that was freed in it. The connection is held."""
        pages, free = self._pragma("page_count"), self._pragma("freelist_count")
        return (pages - free) * self._pragma("page_size")

    def compact(self) -> None:
        """Give the room that was freed back to the system; the connection is held."""
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._db.close()

    def _connect(self) -> sqlite3.Connection:
        options: dict[str, object] = {"timeout": PATIENCE, "isolation_level": None, "check_same_thread": False}
        if not self.read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return sqlite3.connect(self.path, **options)  # type: ignore[call-overload, no-any-return]
        # SQLite reads a file with a write-ahead log only where it may write beside it. Where it may not, and nobody
        # has left a log, the file is all there is and can be taken for one that does not change.
        writable = os.access(self.path, os.W_OK) and os.access(self.path.resolve().parent, os.W_OK)
        log = self.path.with_name(self.path.name + "-wal").exists()
        mode = "mode=rw" if writable else "mode=ro" if log else "mode=ro&immutable=1"
        db = sqlite3.connect(f"{self.path.resolve().as_uri()}?{mode}", uri=True, **options)  # type: ignore[call-overload]
        db.execute("PRAGMA query_only = ON")
        return db  # type: ignore[no-any-return]

    def _prepare(self) -> None:
        """Check that the file is one of ours, or make it one."""
        if self._empty() and not self.read_only:
            self._write_ahead()
            with self.transaction():
                if self._empty():  # no other process has just done it
                    for statement in _TABLES.split(";"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA application_id = {APPLICATION}")
                    self._db.execute(f"PRAGMA user_version = {SCHEMA}")
        application, version = self._pragma("application_id"), self._pragma("user_version")
        if application != APPLICATION:
            raise SetupError("is no file of model answers", path=self.path, fix="name another file with --answers")
        if version != SCHEMA:
            raise SetupError(
                f"was written by another version of review-panel (its schema is {version}, this one knows {SCHEMA})",
                path=self.path,
                fix="install the newer version, or name another file with --answers",
            )
        # Safe against a kill; a power cut may take the last answers along, and never harms the others.
        self._db.execute("PRAGMA synchronous = NORMAL")

    def _empty(self) -> bool:
        return self._pragma("schema_version") == 0 and self._pragma("application_id") == 0

    def _write_ahead(self) -> None:
        """Readers and one writer at the same time. SQLite does not wait for others here, so we do."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        """SQLite's errors, and the system's, as ours."""
        try:
            yield
        except sqlite3.ProgrammingError:  # a mistake of ours
            raise
        except (sqlite3.Error, OSError) as error:
            raise _problem(error, self.path) from error


def _problem(error: Exception, path: Path) -> SetupError:
    """The `SetupError` for what went wrong with the file."""
    said = getattr(error, "strerror", None) or str(error)
    problem = f"the model answers cannot be kept or read here ({said})"
    elsewhere = "name another file with --answers, or in the environment variable REVIEW_PANEL_ANSWERS"
    if "not a database" in said:
        return SetupError("is no file of model answers", path=path, fix=elsewhere)
    if "locked" in said:
        return SetupError(problem, path=path, fix="wait for the process that writes to it, and run the command again")
    if "full" in said:
        return SetupError(problem, path=path, fix=f"make room there, or {elsewhere}")
    if isinstance(error, OSError) or any(part in said for part in ("unable to open", "readonly", "disk I/O")):
        return SetupError(problem, path=path, fix=f"check that you may write there, or {elsewhere}")
    return SetupError(problem, path=path, fix="delete the file: its answers are computed again")
