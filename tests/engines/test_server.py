"""The connection to a server: what is tried again, what is not, and what never leaks."""

from __future__ import annotations

import email.utils
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from panel.engines.server import KEY_VARIABLE, TRIES, Server, ServerOptions
from panel.errors import EngineError, SetupError
from tests.engines.fake_server import FakeServer, Reply, serving


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving(FakeServer("other")) as fake:
        yield fake


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def connect(fake: FakeServer, pauses: list[float]) -> Callable[..., Server]:
    """A connection that does not really wait: what it would have waited is in `pauses`."""

    def make(url: str = "", **options: Any) -> Server:
        return Server(ServerOptions(url or fake.url, **options), sleep=pauses.append, chance=lambda: 0.5)

    return make


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again_after_longer_and_longer(
    fake: FakeServer, connect: Callable[..., Server], pauses: list[float], status: int
) -> None:
    fake.queue = [Reply(status=status)] * 3
    assert "data" in connect().get(f"{fake.url}/models")
    assert pauses == [0.5, 1.0, 2.0]
    assert len(fake.asked) == 4


def test_pauses_differ_from_caller_to_caller(fake: FakeServer) -> None:
    pauses: list[float] = []
    chances = iter([0.0, 1.0])
    fake.queue = [Reply(status=503)] * 2
    Server(ServerOptions(fake.url), sleep=pauses.append, chance=lambda: next(chances)).get(f"{fake.url}/models")
    assert pauses == [0.25, 1.5]  # 0.5 · 0.5 and 1 · 1.5


def test_the_server_says_how_long_to_wait(
    fake: FakeServer, connect: Callable[..., Server], pauses: list[float]
) -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    for wait in ("7", date, "soon"):
        fake.queue.append(Reply(status=429, headers={"Retry-After": wait}))
    connect().get(f"{fake.url}/models")
    assert pauses[0] == 7.0
    assert 20 < pauses[1] <= 30
    assert pauses[2] == 2.0


def test_a_server_that_asks_for_an_hour_is_an_error(
    fake: FakeServer, connect: Callable[..., Server], pauses: list[float]
) -> None:
    fake.queue = [Reply(status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(EngineError, match="asks to wait 3600 s"):
        connect().get(f"{fake.url}/models")
    assert pauses == []


def test_a_server_that_stays_busy_is_an_error(fake: FakeServer, connect: Callable[..., Server]) -> None:
    fake.queue = [Reply({"error": {"message": "overloaded"}}, 503)] * TRIES
    with pytest.raises(EngineError, match="answers 503: overloaded"):
        connect().get(f"{fake.url}/models")
    assert len(fake.asked) == TRIES


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_what_would_be_refused_again_is_not_asked_again(
    fake: FakeServer, connect: Callable[..., Server], status: int
) -> None:
    fake.queue = [Reply({"detail": "no\x1b[31m such field"}, status)]
    with pytest.raises(EngineError, match=rf"answers {status}: no\S* such field") as caught:
        connect().get(f"{fake.url}/models")
    assert len(fake.asked) == 1
    assert str(caught.value).isprintable()
    assert ("/v1" in caught.value.hint) == (status == 404)


def test_an_answer_that_is_cut_off_is_asked_for_again(
    fake: FakeServer, connect: Callable[..., Server], pauses: list[float]
) -> None:
    fake.queue = [Reply({"data": []}, cut=4)] * 2
    assert connect().get(f"{fake.url}/models")["data"]
    assert len(pauses) == 2


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_an_answer_that_is_no_json_object(fake: FakeServer, connect: Callable[..., Server], body: bytes) -> None:
    fake.queue = [Reply(body)]
    with pytest.raises(EngineError, match="no JSON object"):
        connect().get(f"{fake.url}/models")


def test_a_huge_answer_is_not_read_to_its_end(
    fake: FakeServer, connect: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panel.engines.server.MAX_BYTES", 1 << 20)
    fake.queue = [Reply(b" " * (3 << 20))]
    with pytest.raises(EngineError, match="more than 1 MB"):
        connect().get(f"{fake.url}/models")


def test_a_silent_server(fake: FakeServer, connect: Callable[..., Server], pauses: list[float]) -> None:
    """Waiting as long again would not help; after two in a row nothing more is asked."""
    server = connect(timeout=0.2)
    fake.queue = [Reply(delay=0.6)] * 2
    for _ in range(3):
        with pytest.raises(EngineError, match=r"no answer within 0\.2 s\. Fix: .*--timeout"):
            server.get(f"{fake.url}/models")
    assert len(fake.asked) == 2
    assert pauses == []


def test_one_silence_is_no_end(fake: FakeServer, connect: Callable[..., Server]) -> None:
    server = connect(timeout=0.3)
    for _ in range(2):
        fake.queue = [Reply(delay=0.9)]
        with pytest.raises(EngineError, match="no answer"):
            server.get(f"{fake.url}/models")
        assert server.get(f"{fake.url}/models")["data"]


def test_a_dead_port(connect: Callable[..., Server], pauses: list[float]) -> None:
    """Tried again, in case it is just starting; then given up at once for all that follows."""
    url = f"http://127.0.0.1:{free_port()}/v1"
    server = connect(url)
    with pytest.raises(EngineError, match="cannot be reached") as caught:
        server.get(f"{url}/models")
    assert url in str(caught.value)
    assert "start the server, or correct --base-url" in str(caught.value)
    assert len(pauses) == TRIES - 1
    with pytest.raises(EngineError, match="cannot be reached"):
        server.get(f"{url}/models")
    assert len(pauses) == TRIES - 1


def test_redirects_are_not_followed(fake: FakeServer, connect: Callable[..., Server]) -> None:
    fake.queue = [Reply(status=307, headers={"Location": f"{fake.url}/elsewhere"})]
    with pytest.raises(EngineError, match="elsewhere', which is not followed"):
        connect().get(f"{fake.url}/models")
    assert len(fake.asked) == 1


# ------------------------------------------------------------------------------------------------------- the key


def test_the_key_is_sent_and_never_told(
    fake: FakeServer, connect: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-secret-1234")
    server = connect()
    server.get(f"{fake.url}/models")
    assert fake.asked[0].headers["Authorization"] == "Bearer sk-secret-1234"
    fake.queue = [
        Reply({"error": {"message": "wrong key sk-secret-1234"}}, 400),
        Reply(b"sk-secret-1234"),
        Reply(status=302, headers={"Location": "http://x/?key=sk-secret-1234"}),
        Reply({"error": "sk-secret-1234"}, 401),
    ]
    for _ in range(4):
        with pytest.raises(EngineError) as caught:
            server.get(f"{fake.url}/models")
        assert "secret" not in str(caught.value) + repr(caught.value)


def test_without_a_key_none_is_sent(
    fake: FakeServer, connect: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    fake.queue = [Reply(status=401)]
    with pytest.raises(EngineError, match=f"set the environment variable {KEY_VARIABLE}"):
        connect().get(f"{fake.url}/models")
    assert "Authorization" not in fake.asked[0].headers


def test_proxies_are_not_used_on_this_machine(
    fake: FakeServer, connect: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert connect().get(f"{fake.url}/models")["data"]


# ----------------------------------------------------------------------------------------------- many at a time


def test_no_more_requests_at_a_time_than_allowed(fake: FakeServer, connect: Callable[..., Server]) -> None:
    fake.routes["/v1/slow"] = lambda body: Reply(body, delay=0.05)
    server = connect(in_flight=3)
    answers = server.all(lambda n: server.post(f"{fake.url}/slow", {"n": n})["n"], list(range(12)))
    assert answers == list(range(12))
    assert fake.most_at_once == 3


def test_the_first_failure_stops_the_rest(fake: FakeServer, connect: Callable[..., Server]) -> None:
    server = connect(in_flight=2)
    fake.routes["/v1/no"] = lambda body: Reply({"error": "no"}, 400)
    with pytest.raises(EngineError, match="answers 400: no"):
        server.all(lambda n: server.post(f"{fake.url}/no", {"n": n}), list(range(50)))
    assert len(fake.asked) <= 4
    assert server.all(lambda n: n, []) == []


# ------------------------------------------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "127.0.0.1:8000"}, "is no http or https address"),
        ({"url": "ftp://127.0.0.1/v1"}, "is no http or https address"),
        ({"url": "file:///etc/passwd"}, "is no http or https address"),
        ({"url": "http://"}, "is no http or https address"),
        ({"url": "http://127.0.0.1:99999/v1"}, "is no http or https address"),
        ({"url": "http://me:hunter2@127.0.0.1/v1"}, "holds more than an address"),
        ({"url": "http://127.0.0.1/v1?key=hunter2"}, "holds more than an address"),
        ({"in_flight": 0}, "[--in-flight]"),
        ({"timeout": 0}, "[--timeout]"),
    ],
)
def test_options_that_make_no_sense(connect: Callable[..., Server], options: dict[str, Any], says: str) -> None:
    with pytest.raises(SetupError) as caught:
        connect(**options)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_key_of_another_alphabet(connect: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "ключ")
    with pytest.raises(SetupError, match=KEY_VARIABLE):
        connect()
