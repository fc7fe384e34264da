"""One SQLite file: connections, transactions, migrations.

Write-ahead log, `synchronous=FULL`: what is committed is on the disk, whatever happens to the process or to the power.
Writers queue for SQLite's one write lock at the start of their transaction, so none fails half-way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError

from panel.desk.schema import MIGRATIONS
from panel.errors import SetupError

_WAIT = 30.0  # seconds for another process's write


class Database:
    """The file at `path`, made and migrated where that is needed.

    Raises (from every method): SetupError, where the file cannot be read or written, or is not the desk's.
    """

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
        self.path = path
        self._turn = threading.Lock()  # SQLite's own waiting is by sleeping, and unfair
        self._engine = _engine(path)
        self._writing = self._engine.execution_options(desk_writes=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._mapped():
                _migrate(self._engine, path, migrations)
        except OSError as error:
            raise SetupError(
                f"cannot be written: {error.strerror or error}", path=path, fix="choose a folder that you may write to"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the file."""
        with self._mapped(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed to the disk at the end, or leaves nothing."""
        with self._turn, self._mapped(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:  # a rule of the tables was broken: no fault of the file
            raise
        except DBAPIError as error:
            raise SetupError(
                f"the desk's file cannot be used ({error.orig})",
                path=self.path,
                fix="check the disk's space and the file's permissions; if it is damaged, put back a copy of it",
            ) from error


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _WAIT, "check_same_thread": False},
        pool_size=8,
        max_overflow=40,
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("desk_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _migrate(engine: Engine, path: Path, migrations: Sequence[Sequence[str]]) -> None:
    """Run the migrations that the file lacks, each in one transaction with its new `user_version`."""
    with engine.connect() as connection:
        with connection.begin():
            _version(connection, path, len(migrations))
        # stays with the file, and cannot be set in a transaction; another program's file was refused above
        connection.connection.execute("PRAGMA journal_mode=WAL")
        connection = connection.execution_options(desk_writes=True)
        while True:
            with connection.begin():  # the version is read under the lock: two processes may open the file at once
                version = _version(connection, path, len(migrations))
                if version == len(migrations):
                    return
                for statement in migrations[version]:
                    connection.exec_driver_sql(statement)
                connection.exec_driver_sql(f"PRAGMA user_version = {version + 1}")


def _version(connection: Connection, path: Path, known: int) -> int:
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if version > known:
        raise SetupError(
            f"the file is of version {version}, and this program knows {known}",
            path=path, fix="use the newer program that wrote it",
        )  # fmt: skip
    if version == 0 and connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        raise SetupError("this is another program's file", path=path, fix="move it away")
    return version
