"""One HTTP server that speaks JSON: time-outs, retries with back-off, a bounded number of requests in flight.

    connection refused, cut off, 429, 502, 503, 504      tried again, after a growing pause or what Retry-After says
    no answer in time, any other status, no JSON         an EngineError at once

Redirects are not followed, since they would carry the key and the dossier elsewhere. On this machine (localhost,
127.0.0.0/8, ::1) proxies of the environment are not used. The API key is read from REVIEW_PANEL_API_KEY, sent as a
bearer token, and cut out of every message.
"""

from __future__ import annotations

import contextlib
import email.utils
import ipaddress
import json
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from panel.errors import EngineError, SetupError
from panel.records import strip_unprintable

KEY_VARIABLE = "REVIEW_PANEL_API_KEY"
TRIES = 5
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds, before jitter
LONGEST_RETRY_AFTER = 60.0
MAX_BYTES = 16 << 20  # of one answer
CONNECT_SECONDS = 10.0
#: Requests in a row that a server leaves without an answer before the run gives it up.
MAX_SILENT = 2
_AGAIN = {429, 502, 503, 504}

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class ServerOptions:
    """How a server is reached. `kind` is one of `panel.engines.server_kinds.KINDS`, or `auto`; `timeout` in seconds."""

    base_url: str
    kind: str = "auto"
    in_flight: int = 4
    timeout: float = 120.0


class Server:
    """Requests to one base URL, from any thread.

    Raises:
        SetupError: the options make no sense.
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.base_url = _checked_url(options.base_url)
        if options.in_flight < 1 or options.timeout <= 0:
            field = "--in-flight" if options.in_flight < 1 else "--timeout"
            raise SetupError("must be more than nothing", field=field, fix="leave the option out")
        self._timeout, self._sleep, self._chance = options.timeout, sleep, chance
        self._slots = threading.BoundedSemaphore(options.in_flight)
        self._in_flight = options.in_flight
        self._silent = 0
        self._lost: EngineError | None = None
        self._lock = threading.Lock()
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise SetupError("holds characters that no key has", field=KEY_VARIABLE, fix="set it again")
        import httpx2

        self._client = httpx2.Client(
            timeout=httpx2.Timeout(options.timeout, connect=min(CONNECT_SECONDS, options.timeout), pool=None),
            limits=httpx2.Limits(max_connections=options.in_flight),
            follow_redirects=False,
            trust_env=not _is_loopback(urlsplit(self.base_url).hostname or ""),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
        )

    @property
    def root(self) -> str:
        """The base URL without its /v1, where a server's own routes are."""
        return self.base_url.removesuffix("/v1")

    def get(self, url: str) -> Any:
        """The JSON at `url`. Raises `EngineError`."""
        return self._call("GET", url, None)

    def post(self, url: str, body: dict[str, Any]) -> Any:
        """The JSON that `url` answers to `body`. Raises `EngineError`."""
        return self._call("POST", url, body)

    def find(self, url: str) -> Any:
        """The JSON at `url`, or None where there is none: for finding out what a server is. Tried once."""
        with contextlib.suppress(EngineError):
            return self._call("GET", url, None, tries=1)
        return None

    def all(self, work: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        """`work` on every item, side by side, in the order given; the first that fails stops the rest."""
        answers: dict[int, Answer] = {}
        failures: list[BaseException] = []
        waiting = iter(enumerate(items))

        def run() -> None:
            while not failures:
                with self._lock:
                    taken = next(waiting, None)
                if taken is None:
                    return
                try:
                    answers[taken[0]] = work(taken[1])
                except BaseException as error:  # a thread has nobody to raise to: the caller below raises it
                    failures.append(error)

        # daemons: a person who stops a run does not wait for a server
        threads = [threading.Thread(target=run, daemon=True) for _ in range(min(self._in_flight, len(items)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return [answers[index] for index in range(len(items))]

    # -------------------------------------------------------------------------------------------------- one call

    def _call(self, method: str, url: str, body: dict[str, Any] | None, tries: int = TRIES) -> Any:
        for attempt in range(1, tries + 1):
            if self._lost is not None:
                raise self._lost
            try:
                with self._slots:
                    status, headers, data = self._send(method, url, body)
            except EngineError as error:
                if not error.retryable:
                    raise
                if attempt == tries:
                    if tries == TRIES:
                        self._lost = error
                    raise
                self._sleep(self._pause(attempt))
                continue
            if status not in _AGAIN or attempt == tries:
                return self._understood(url, status, headers, data)
            asked = _retry_after(headers.get("Retry-After"))
            if asked > LONGEST_RETRY_AFTER:
                raise EngineError(f"{self.base_url} asks to wait {asked:.0f} s", hint="Fix: try again later")
            self._sleep(max(asked, self._pause(attempt)))
        raise AssertionError("unreachable")  # the last try returns or raises

    def _pause(self, attempt: int) -> float:
        """Seconds: doubled each time, between half and one and a half of it, so that callers do not march in step."""
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) * (0.5 + self._chance()))

    def _send(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[int, Any, bytes]:
        """Status, headers and body. Raises `EngineError`, retryable where the server could not be reached."""
        import httpx2

        started = time.monotonic()
        try:
            with self._client.stream(method, url, json=body) as response:
                data = bytearray()
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise EngineError(f"{self.base_url} answers with more than {MAX_BYTES >> 20} MB")
                    if time.monotonic() - started > self._timeout:
                        raise httpx2.ReadTimeout("the answer trickles")
                self._silent = 0
                return response.status_code, response.headers, bytes(data)
        except (httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
            hint = "Fix: give it longer with --timeout, or lower --in-flight"
            silence = EngineError(f"{self.base_url} gave no answer within {self._timeout:g} s", hint=hint)
            with self._lock:
                self._silent += 1
                if self._silent >= MAX_SILENT:
                    self._lost = silence
            raise silence from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise EngineError(
                f"{self.base_url} cannot be reached ({self._clean(str(error)) or type(error).__name__})",
                hint="Fix: start the server, or correct --base-url",
                retryable=True,
            ) from error

    def _understood(self, url: str, status: int, headers: Any, data: bytes) -> Any:
        if status in (401, 403):
            raise EngineError(
                f"{self.base_url} refuses the request ({status})",
                hint=f"Fix: set the environment variable {KEY_VARIABLE} to a key that it knows",
            )
        if 300 <= status < 400:
            target = self._clean(headers.get("Location", ""))
            raise EngineError(
                f"{self.base_url} sends requests on to {target!r}, which is not followed",
                hint="Fix: give the address that answers itself as --base-url",
            )
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if status != 200:
            said = self._clean(_message(value) or data[:400].decode("utf-8", "replace"))
            hint = "Fix: check --base-url, which mostly ends in /v1" if status == 404 else ""
            raise ServerRefusal(f"{url} answers {status}: {said}", hint=hint)
        if not isinstance(value, dict):
            raise EngineError(f"{url} answers with something that is no JSON object: {self._clean(str(data[:80]))}")
        return value

    def _clean(self, text: str) -> str:
        """Text from the network, short and printable, without the key."""
        plain = " ".join(strip_unprintable(text.replace("\n", " ")).split())
        return (plain.replace(self._key, "[key]") if self._key else plain)[:200]


class ServerRefusal(EngineError):
    """The server understood the request and will not do it (a status such as 400, 404 or 500)."""


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        fix = "write it as http://127.0.0.1:8000/v1"
        raise SetupError("is no http or https address", field="--base-url", fix=fix)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        fix = f"leave out what stands before @ or after ?; a key goes into the environment variable {KEY_VARIABLE}"
        raise SetupError("holds more than an address", field="--base-url", fix=fix)
    return url.strip().rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _retry_after(value: str | None) -> float:
    """Seconds to wait: a number, or a date (RFC 9110, section 10.2.3); 0 for anything else."""
    if not value:
        return 0.0
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _message(value: Any) -> str:
    """What an error says, in the shapes that servers have for it."""
    if not isinstance(value, dict):
        return ""
    error = value.get("error", value.get("detail", value.get("message", "")))
    return str(error.get("message", error) if isinstance(error, dict) else error)
