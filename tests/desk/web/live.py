"""A desk that listens, for tests with a real browser: the server in a thread, an engine that takes its time."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from panel.desk import DeskStore
from panel.desk.web.access import Access
from panel.desk.web.app import create_app
from panel.desk.web.runs import Opens, Runner
from panel.engines.scripted import ScriptedEngine
from panel.requests import Completion, GenerateRequest

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
#: Milliseconds that a browser waits for what must come; long, because a busy machine is no fault of what is tested.
PATIENCE = int(os.environ.get("PATIENCE", "1200000"))


class Unhurried(ScriptedEngine):
    """A scripted engine that can be watched."""

    pause = 0.05

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        time.sleep(self.pause)
        return super().generate(requests)


@dataclass(frozen=True)
class Live:
    url: str
    store: DeskStore
    access: Access
    outputs: Path

    def entrance(self) -> str:
        return f"{self.url}/enter?token={self.access.token()}"


@contextmanager
def serving(store: DeskStore, outputs: Path, opens: Opens, owner: str = "Anna") -> Iterator[Live]:
    """The desk on a free port of this machine, until the block ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    access, runner = Access(owner), Runner(store, outputs, opens)
    app = create_app(store, access, runner, hosts=frozenset({f"127.0.0.1:{port}"}), sync=3600)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield Live(f"http://127.0.0.1:{port}", store, access, outputs)
    finally:
        runner.closing.set()
        server.should_exit = True
        thread.join(60)


def chromium(playwright: Any) -> Any:
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)


def until(page: Any, expression: str) -> None:
    """Wait until `expression` is true on the page.

    `page.wait_for_function` asks again from inside the page, where the desk's content security policy forbids it.
    """
    from playwright.sync_api import Error

    ends = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < ends:
        try:
            if page.evaluate(expression):
                return
        except Error as error:
            if "context was destroyed" not in str(error):  # the page is left for the next one
                raise
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {expression}")
