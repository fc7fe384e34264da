"""Who is at the desk: one-time token, sessions, passwords tried too often, and the CSRF check.

Sessions live in memory: a desk that is started again asks everybody to sign in again. Cookies, tokens and passwords
are compared in constant time, and the sessions are kept under a hash of the cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["editor", "approver"]

#: Seconds. A working day; the desk is local.
LIFETIME = 12 * 3600.0
#: Failed sign-ins within `WINDOW` seconds, from one address for one name, and from one address in all.
WINDOW, TRIES_NAME, TRIES_ADDRESS = 15 * 60.0, 5, 20


@dataclass(frozen=True)
class Session:
    """Somebody who has signed in. `csrf` goes into every form of theirs, and into no address."""

    user: str
    role: Role
    csrf: str
    expires: float

    @property
    def approves(self) -> bool:
        return self.role == "approver"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Access:
    """The sessions of one desk.

    `owner` is who the one-time token lets in (None: passwords only). `check` says whether a password is a user's, and
    which role they have.
    """

    owner: str | None
    check: Callable[[str, str], Role | None] = lambda _name, _password: None
    clock: Callable[[], float] = time.monotonic
    _token: str = ""
    _sessions: dict[str, Session] = field(default_factory=dict)
    _failures: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def token(self) -> str:
        """A new one-time token; it takes the place of the last one."""
        self._token = secrets.token_urlsafe(32)
        return self._token

    def redeem(self, token: str) -> str | None:
        """A cookie for the one-time token, which is then used up; None for any other."""
        with self._lock:
            if self.owner is None or not self._token or not hmac.compare_digest(token.encode(), self._token.encode()):
                return None
            self._token = ""
        return self.open(self.owner, "approver")

    def open(self, user: str, role: Role) -> str:
        """Start a session; returns the cookie."""
        cookie = secrets.token_urlsafe(32)
        now = self.clock()
        with self._lock:
            self._sessions = {key: one for key, one in self._sessions.items() if one.expires > now}
            self._sessions[_digest(cookie)] = Session(user, role, secrets.token_urlsafe(32), now + LIFETIME)
        return cookie

    def find(self, cookie: str | None) -> Session | None:
        session = self._sessions.get(_digest(cookie)) if cookie else None
        return session if session is not None and session.expires > self.clock() else None

    def close(self, cookie: str) -> None:
        with self._lock:
            self._sessions.pop(_digest(cookie), None)

    def sign_in(self, address: str, name: str, password: str) -> str | None:
        """A cookie where the password is right, None where it is not.

        Raises:
            TooManyTries: wrong too often; the right password is not even looked at then.
        """
        keys = {(address, name[:200]): TRIES_NAME, (address, ""): TRIES_ADDRESS}
        now = self.clock()
        with self._lock:
            self._failures = {
                key: recent
                for key, times in self._failures.items()
                if (recent := [moment for moment in times if moment > now - WINDOW])
            }
            full = [self._failures[key][0] for key, most in keys.items() if len(self._failures.get(key, ())) >= most]
            if full:
                raise TooManyTries(int(max(full) + WINDOW - now) + 1)
            # counted before the (slow) check, so that tries sent at once count as well
            for key in keys:
                self._failures.setdefault(key, []).append(now)
        role = self.check(name, password)
        if role is None:
            return None
        with self._lock:
            self._failures.pop((address, name[:200]), None)
            if now in self._failures.get((address, ""), ()):
                self._failures[address, ""].remove(now)
        return self.open(name, role)


class TooManyTries(Exception):
    """Wrong passwords came too often; `wait` is in seconds."""

    def __init__(self, wait: int) -> None:
        self.wait = wait
        super().__init__(f"too many tries; wait {wait} s")


def csrf_matches(session: Session, given: str) -> bool:
    return hmac.compare_digest(session.csrf.encode(), given.encode())
