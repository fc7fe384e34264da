"""A desk with two records in it, and editors who sit at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response
from starlette.testclient import TestClient

from panel.desk import DeskStore
from panel.desk.types import User
from panel.desk.web.access import Access, Role
from panel.desk.web.app import create_app
from panel.desk.web.runs import Opens, Runner
from panel.records import Comparison
from panel.render import write_pages
from panel.requests import Engine
from tests import scripted
from tests.fixtures_records import sample_data

HOST = "127.0.0.1:8765"
ORIGIN = f"http://{HOST}"
PAIR = "smolagents-2-vs-mistral-3b"


def put_record(outputs: Path, data: dict[str, Any]) -> str:
    """Write a record as a run does; returns the slug of its item."""
    record = Comparison.model_validate(data)
    slug = "-vs-".join(tool.slug for tool in record.tools)
    write_pages(record, outputs / slug)
    return slug


class Editor:
    """Somebody with a browser of their own; every change carries origin and CSRF token, unless told otherwise."""

    def __init__(self, app: FastAPI, access: Access, name: str, role: Role, cookie: str = "desk") -> None:
        self.client = TestClient(app, base_url=ORIGIN, follow_redirects=False, raise_server_exceptions=False)
        self.client.cookies.set(cookie, access.open(name, role), domain="127.0.0.1", path="/")
        self.name = name
        session = self.client.get("/session").json()
        assert session["user"] == name
        self.csrf: str = session["csrf"]

    def get(self, path: str, **options: Any) -> Response:
        return self.client.get(path, **options)

    def post(self, path: str, *, json: bool = True, headers: dict[str, str] | None = None, **fields: Any) -> Response:
        sent = {"origin": ORIGIN, "x-csrf-token": self.csrf} | ({"accept": "application/json"} if json else {})
        sent |= headers or {}
        return self.client.post(path, data=fields, headers={k: v for k, v in sent.items() if v})

    def revision(self, slug: str = PAIR) -> int:
        return int(self.get(f"/items/{slug}/revision").json()["revision"])

    def change(self, action: str, slug: str = PAIR, **fields: Any) -> Response:
        """A change of an item on its revision of this moment."""
        return self.post(f"/items/{slug}/{action}", **({"revision": self.revision(slug)} | fields))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    put_record(folder, sample_data())
    put_record(folder, sample_data(1))
    return folder


@pytest.fixture
def store(outputs: Path) -> Iterator[DeskStore]:
    made = DeskStore(outputs)
    made.sync()
    yield made
    made.close()


@pytest.fixture
def opens(personas: Any) -> Opens:
    """Opens the engine of the tests; replace it where a test wants another."""

    def opened(on_load: Callable[[], None]) -> Engine:
        on_load()
        return scripted.scripted_engine(personas, skips=["business-buyer"])

    return opened


@pytest.fixture
def runner(store: DeskStore, outputs: Path, opens: Opens) -> Runner:
    return Runner(store, outputs, opens)


@pytest.fixture
def access() -> Access:
    return Access("Anna")


@pytest.fixture
def app(store: DeskStore, access: Access, runner: Runner) -> Iterator[FastAPI]:
    made = create_app(store, access, runner, hosts=frozenset({HOST}), sync=3600)
    with TestClient(made, base_url=ORIGIN):  # runs what starts and ends with the server
        yield made


@pytest.fixture
def editor(app: FastAPI, access: Access) -> Callable[..., Editor]:
    """Makes an editor: `editor("Ben", "editor")`."""

    def make(name: str = "Anna", role: Role = "approver") -> Editor:
        return Editor(app, access, name, role)

    return make


@pytest.fixture
def anna(editor: Callable[..., Editor]) -> Editor:
    return editor()


@pytest.fixture
def cleared(store: DeskStore) -> Callable[..., None]:
    """Takes everything out of an item's way, as an approver who waives what can be waived and rewrites the rest."""

    def clear(slug: str = PAIR) -> None:
        user = User("Anna", "approver")
        for _ in range(200):
            item = store.item(slug)
            if not item.open_blockers:
                return
            blocker = item.open_blockers[0]
            revision = item.row.revision
            if blocker.waivable:
                store.waive(slug, blocker.key, "It is so.", revision=revision, user=user)
            elif blocker.kind == "ungrounded":
                store.save(slug, blocker.target, "It is so.", revision=revision, user=user)
            else:
                store.overrule(slug, blocker.tool, blocker.persona, "skip", "Read.", revision=revision, user=user)
        raise AssertionError(f"still in the way: {[b.message for b in store.item(slug).open_blockers]}")

    return clear
