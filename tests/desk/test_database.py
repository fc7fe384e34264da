"""The file: migrations, transactions, and a history that is only added to."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from panel.desk import DeskStore
from panel.desk.database import Database
from panel.desk.schema import MIGRATIONS
from panel.errors import SetupError
from tests.desk.state import ANN, ITEM, PLAIN, PRIMITIVE, revision


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def schema(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def test_every_older_file_becomes_the_newest(tmp_path: Path) -> None:
    Database(tmp_path / "new.sqlite").close()
    for old in range(1, len(MIGRATIONS)):
        path = tmp_path / f"{old}.sqlite"
        Database(path, MIGRATIONS[:old]).close()
        assert version(path) == old
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO users VALUES ('Ann', 'editor', 'x')")
        Database(path).close()
        assert version(path) == len(MIGRATIONS)
        assert schema(path) == schema(tmp_path / "new.sqlite")
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT name FROM users").fetchall() == [("Ann",)]


def test_a_migration_that_fails_leaves_the_old_version_whole(tmp_path: Path) -> None:
    path = tmp_path / "desk.sqlite"
    Database(path).close()
    before = schema(path)
    broken = (*MIGRATIONS, ("CREATE TABLE extra (x)", "INSERT INTO nothing VALUES (1)"))
    with pytest.raises(SetupError, match="cannot be used"):
        Database(path, broken)
    assert (version(path), schema(path)) == (len(MIGRATIONS), before)


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "desk.sqlite"
    Database(path, (*MIGRATIONS, ("CREATE TABLE extra (x)",))).close()
    data = path.read_bytes()
    with pytest.raises(SetupError, match="is of version 3, and this program knows 2"):
        Database(path)
    assert path.read_bytes() == data


def test_what_is_no_desk_is_refused_and_left_alone(tmp_path: Path) -> None:
    junk, other = tmp_path / "junk.sqlite", tmp_path / "other.sqlite"
    junk.write_bytes(b"not a database, " * 400)
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE recipes (x)")
    for path, says in ((junk, "not a database"), (other, "another program's file"), (tmp_path, "cannot be used")):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(SetupError, match=says):
            Database(path)
        assert (path.read_bytes() if path.is_file() else b"") == before
    with pytest.raises(SetupError):
        DeskStore(Path("/proc/nowhere"))


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "desk.sqlite")) as database:

        def fail() -> None:
            with database.write() as connection:
                connection.exec_driver_sql("INSERT INTO users VALUES ('Ann', 'editor', 'x')")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM users").scalar_one() == 0


def test_the_file_is_written_ahead_and_to_the_disk(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "desk.sqlite")) as database, database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE history SET by = 'nobody'",
        "DELETE FROM history",
        "DELETE FROM history WHERE id = 1",
        "INSERT OR REPLACE INTO history (id, at, by, action, target, detail) VALUES (1, '', '', '', '', '')",
        "INSERT INTO history (id, at, by, action, target, detail) VALUES (1, '', '', '', '', '') "
        "ON CONFLICT (id) DO UPDATE SET by = 'nobody'",
    ],
)
def test_the_history_is_only_added_to(store: DeskStore, outputs: Path, statement: str) -> None:
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    before = store.history()
    database, refused = Database(outputs / "desk.sqlite"), pytest.raises(IntegrityError, match="only added to")
    with closing(database), refused, database.write() as connection:
        connection.exec_driver_sql(statement)
    # and a connection that does not ask for recursive triggers
    plain = sqlite3.connect(outputs / "desk.sqlite")
    with closing(plain), pytest.raises(sqlite3.IntegrityError, match="only added to"):
        plain.execute(statement)
    assert store.history() == before
    assert [event.action for event in before] == ["edit", "found"]


def test_writers_in_two_stores_wait_for_each_other(store: DeskStore, outputs: Path) -> None:
    """Two processes would be two stores: none fails, and none overwrites."""
    saved: list[int] = []
    failed: list[BaseException] = []

    def work(mine: DeskStore, name: str) -> None:
        try:
            for number in range(8):
                mine.add_user(f"{name}{number}", "a long password", "editor")
                saved.append(number)
        except BaseException as error:
            failed.append(error)

    with closing(DeskStore(outputs)) as other:
        threads = [threading.Thread(target=work, args=(s, n)) for s, n in ((store, "a"), (other, "b"), (store, "c"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
    assert len(store.users()) == len(saved) == 24


def test_a_save_is_there_for_the_next_process(store: DeskStore, outputs: Path) -> None:
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    with closing(DeskStore(outputs)) as other:  # while the first is still open
        assert other.item(ITEM).texts[PRIMITIVE].current == PLAIN
        assert revision(other) == 1
