"""`review-panel desk` as people start it: the address, the end, and what it will not do."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from panel.desk import DeskStore
from tests.desk.web.conftest import PAIR, put_record
from tests.fixtures_records import sample_data

COMMAND = [sys.executable, "-c", "from panel.cli import main; main()", "desk"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def desk(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, input=stdin, timeout=600)


@contextmanager
def open_desk(out: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and what it printed when it was open."""
    command = [*COMMAND, "--out", str(out), "--port", str(free_port()), *arguments]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    try:
        assert process.stderr is not None
        yield process, process.stderr.readline()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_it_opens_lets_one_in_and_closes(tmp_path: Path) -> None:
    put_record(tmp_path, sample_data())
    with open_desk(tmp_path, "--editor", "Anna") as (process, said):
        found = re.search(r"(http://127\.0\.0\.1:\d+)/enter\?token=([\w-]{40,})", said)
        assert found, said
        with httpx.Client(base_url=found[1], timeout=120) as client:
            assert client.get("/").status_code == 401
            entered = client.get("/enter", params={"token": found[2]})
            assert entered.status_code == 200
            assert client.get("/session").json()["user"] == "Anna"
            for _ in range(200):  # the record is found by the thread that looks for new ones
                if PAIR in client.get("/").text:
                    break
            else:
                pytest.fail("the queue stays empty")
            assert client.get("/enter", params={"token": found[2]}).status_code == 403
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=120)
        assert process.returncode == 0
        assert "The desk is closed; everything is saved." in rest
        assert "Traceback" not in rest


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = desk("--out", str(tmp_path), "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: [--port]: 127.0.0.1:{port} cannot be listened on. Fix: ")
    assert "Traceback" not in done.stderr


def test_a_network_demands_users(tmp_path: Path) -> None:
    done = desk("--out", str(tmp_path), "--host", "0.0.0.0")  # noqa: S104 - refused
    assert done.returncode == 2
    assert "review-panel desk user add" in done.stderr


def test_users_are_added_listed_and_removed(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path))
    assert desk("user", "add", "Cleo", "--role", "approver", *out, stdin="staple under the stairs\n").returncode == 0
    assert desk("user", "add", "Ben", *out, stdin="short\n").returncode == 2
    assert desk("user", "add", "Ben", "--role", "king", *out, stdin="staple under the stairs\n").returncode == 2
    assert desk("user", "list", *out).stdout == "Cleo  approver\n"
    store = DeskStore(tmp_path)
    user = store.login("Cleo", "staple under the stairs")
    assert user is not None
    assert user.role == "approver"
    assert store.login("Cleo", "wrong") is None
    store.close()
    assert desk("user", "remove", "Cleo", *out).returncode == 0
    assert desk("user", "list", *out).stdout == ""
