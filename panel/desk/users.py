"""Who may work at a desk that is open to a network: names, argon2 hashes, roles."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from panel.desk.reading import Context, record_event, rows, run
from panel.desk.types import MAX_NAME, FieldError, NotFound, Role, User
from panel.records import strip_unprintable

if TYPE_CHECKING:
    from argon2 import PasswordHasher

_NAME = re.compile(r"[^\W_](?:[\w .@'-]*[\w.])?")
_LEAST, _MOST = 10, 200  # characters of a password; hashing a longer one would be work for whoever sends it


@cache
def _hasher() -> PasswordHasher:
    """Argon2id with the parameters of RFC 9106 for little memory, the library's defaults."""
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobody() -> str:
    return _hasher().hash("a password that nobody has")


def users(context: Context) -> tuple[User, ...]:
    with context.database.read() as connection:
        return tuple(_user(row) for row in rows(connection, "SELECT name, role FROM users ORDER BY name"))


def find(context: Context, name: str) -> User | None:
    with context.database.read() as connection:
        found = rows(connection, "SELECT name, role FROM users WHERE name = :name", name=name)
    return _user(found[0]) if found else None


def add(context: Context, name: str, password: str, role: Role, by: str) -> User:
    if len(name) > MAX_NAME or not _NAME.fullmatch(name) or strip_unprintable(name) != name:
        raise FieldError("this is no name", field="name", fix=f"use letters, digits and . @ -, at most {MAX_NAME}")
    if role not in ("editor", "approver"):
        raise FieldError("there is no such role", field="role", fix="choose editor or approver")
    if not _LEAST <= len(password) <= _MOST:
        raise FieldError("the password is too short or too long", field="password", fix=f"use {_LEAST} to {_MOST}")
    digest = _hasher().hash(password)
    with context.database.write() as connection:
        run(
            connection, "INSERT OR REPLACE INTO users VALUES (:name, :role, :hash)",
            name=name, role=role, hash=digest,
        )  # fmt: skip
        record_event(context, connection, by, "add user", target=name, role=role)
    return User(name, role)


def login(context: Context, name: str, password: str) -> User | None:
    from argon2.exceptions import InvalidHashError, VerificationError

    with context.database.read() as connection:
        found = rows(connection, "SELECT * FROM users WHERE name = :name", name=name[: MAX_NAME + 1])
    stored = str(found[0]["hash"]) if found else _nobody()
    try:
        _hasher().verify(stored, password[: _MOST + 1])
    except (VerificationError, InvalidHashError):
        return None
    if not found:
        return None
    if _hasher().check_needs_rehash(stored):
        with context.database.write() as connection:
            # unless the password was changed since
            run(
                connection, "UPDATE users SET hash = :new WHERE name = :name AND hash = :old",
                new=_hasher().hash(password), name=name, old=stored,
            )  # fmt: skip
    return _user(found[0])


def remove(context: Context, name: str, by: str) -> None:
    with context.database.write() as connection:
        if not run(connection, "DELETE FROM users WHERE name = :name", name=name).rowcount:
            raise NotFound(f"there is no user {strip_unprintable(name)[:MAX_NAME]!r}")
        run(connection, "UPDATE items SET owner = NULL WHERE owner = :name", name=name)
        record_event(context, connection, by, "remove user", target=name)


def _user(row: Any) -> User:
    return User(row["name"], row["role"])
