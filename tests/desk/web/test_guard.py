"""Who gets in, and what is refused before anything is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from panel.desk import DeskStore
from panel.desk.types import User
from panel.desk.web import changes, enter, screens, tool, watch
from panel.desk.web.access import LIFETIME, TRIES_NAME, WINDOW, Access
from panel.desk.web.app import create_app
from panel.desk.web.guard import MAX_BODY, POLICY
from panel.desk.web.runs import Runner
from panel.desk.web.serve import Address, checked
from panel.errors import SetupError
from tests.desk.web.conftest import HOST, ORIGIN, PAIR, Editor

OPEN = {"/enter", "/sign-in", "/static/page.css"}
TARGET = "smolagents-2/builder/primitive"


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path with names filled in) of every route there is."""
    found = []
    parts = [app.router, *(part.router for part in (changes, enter, screens, tool, watch))]
    for route in (route for part in parts for route in part.routes):
        if isinstance(route, APIRoute):
            path = route.path.replace("{slug}", PAIR).replace("{id}", "abc").replace("{name}", "gold.zip")
            found += [(method, path) for method in sorted(route.methods)]
    return found


@pytest.fixture
def stranger(app: FastAPI) -> TestClient:
    return TestClient(app, base_url=ORIGIN, follow_redirects=False)


# -------------------------------------------------------------------------------------------------- without a token


def test_nothing_is_told_to_who_has_no_session(app: FastAPI, stranger: TestClient) -> None:
    asked = [path for path in routes(app) if path[1] not in OPEN]
    assert len(asked) > 25, "the walk over the routes found them"
    for method, path in asked:
        answer = stranger.request(method, path, headers={"origin": ORIGIN})
        assert answer.status_code == 401, (method, path)
        assert "SmolAgents" not in answer.text
    assert stranger.get("/", cookies={"desk": "made-up"}).status_code == 401


def test_the_token_lets_one_in_once(stranger: TestClient, access: Access, app: FastAPI) -> None:
    token = access.token()
    assert stranger.get("/enter", params={"token": token[:-1]}).status_code == 403
    assert stranger.get("/enter").status_code == 403
    entered = stranger.get("/enter", params={"token": token})
    assert entered.status_code == 200
    cookie = entered.headers["set-cookie"]
    assert re.match(r"desk=[\w-]{40,}; HttpOnly; Path=/; SameSite=strict$", cookie)
    assert token not in entered.text
    assert stranger.get("/").status_code == 200
    assert TestClient(app, base_url=ORIGIN).get("/enter", params={"token": token}).status_code == 403


def test_a_new_token_takes_the_place_of_the_old_one(stranger: TestClient, access: Access) -> None:
    old = access.token()
    access.token()
    assert stranger.get("/enter", params={"token": old}).status_code == 403


def test_no_token_is_no_token(access: Access) -> None:
    """Before one is made, and after it was used, the empty text is not it."""
    assert access.redeem("") is None
    access.redeem(access.token())
    assert access.redeem("") is None


def test_a_session_ends(access: Access) -> None:
    now = [0.0]
    access.clock = lambda: now[0]
    cookie = access.open("Anna", "approver")
    assert access.find(cookie) is not None
    now[0] = LIFETIME + 1
    assert access.find(cookie) is None


def test_signing_out_ends_the_session(anna: Editor) -> None:
    assert anna.post("/leave").status_code == 200
    assert anna.get("/").status_code == 401


# ------------------------------------------------------------------------------------------------- from elsewhere


def test_every_change_wants_the_csrf_token_and_our_origin(app: FastAPI, anna: Editor) -> None:
    posts = [path for method, path in routes(app) if method == "POST" and path != "/sign-in"]
    assert len(posts) > 18
    for path in posts:
        for wrong in (
            {"x-csrf-token": ""}, {"x-csrf-token": "x" * 43}, {"origin": "http://evil.example"}, {"origin": ""},
            {"origin": "null"}, {"origin": f"http://{HOST}.evil.example"}, {"origin": "https://127.0.0.1:8765"},
            {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
        ):  # fmt: skip
            assert anna.post(path, headers=wrong).status_code == 403, (path, wrong)
    assert not {method for method, _ in routes(app)} - {"GET", "POST"}, "and there is no other way to change a thing"


def test_another_sessions_csrf_token_does_not_do(anna: Editor, editor: Callable[..., Editor]) -> None:
    ben = editor("Ben", "editor")
    assert anna.change("save", target=TARGET, text="It.", headers={"x-csrf-token": ben.csrf}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:9999", "localhost.evil.example:8765", ""])
def test_another_host_name_is_not_ours(anna: Editor, host: str) -> None:
    """A name that an attacker points at this machine reaches the desk, and is told nothing."""
    answer = anna.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "SmolAgents" not in answer.text


def test_what_every_answer_says(anna: Editor, stranger: TestClient) -> None:
    answers = [anna.get(path) for path in ("/", f"/items/{PAIR}", "/nowhere", "/static/desk.js")]
    answers += [stranger.get("/"), anna.post("/new", headers={"origin": "http://evil.example"})]
    for answer in answers:
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in answer.headers
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY
    assert anna.get("/").headers["cache-control"] == "no-store"
    shown = anna.get(f"/items/{PAIR}/preview").headers["content-security-policy"]
    assert "script-src" not in shown
    assert re.search(r"default-src 'none'; style-src 'sha256-[\w+/=]+';", shown)


def test_what_breaks_says_no_more_than_that(anna: Editor, monkeypatch: pytest.MonkeyPatch, store: DeskStore) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(store, "queue", broken)
    answer = anna.get("/")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY


def test_no_page_needs_an_inline_script_or_style(anna: Editor) -> None:
    for path in ("/", f"/items/{PAIR}", "/new", "/runs", "/statistics", "/history", f"/items/{PAIR}/history"):
        text = anna.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text), path
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), path


# ------------------------------------------------------------------------------------------------------- too much


def test_a_body_that_is_too_large_is_refused_however_it_comes(anna: Editor) -> None:
    headers = {"origin": ORIGIN, "x-csrf-token": anna.csrf, "content-type": "application/x-www-form-urlencoded"}
    large = b"text=" + b"a" * MAX_BODY
    assert anna.client.post("/new", content=large, headers=headers).status_code == 413

    taken = []

    def chunks() -> Iterator[bytes]:
        for _ in range(64):
            taken.append(1)
            yield b"a" * (MAX_BODY // 16)

    assert anna.client.post("/new", content=chunks(), headers=headers).status_code == 413
    assert anna.client.post("/new", content=b"a", headers={**headers, "content-length": "-1"}).status_code in (400, 413)


def test_too_many_fields_are_refused(anna: Editor) -> None:
    answer = anna.post("/new", **{f"f{n}": "x" for n in range(4000)})
    assert answer.status_code == 400


# ---------------------------------------------------------------------------------------------------- path tricks


@pytest.mark.parametrize(
    "slug",
    ["..", "../desk.sqlite", "%2e%2e", "..%2fdesk.sqlite", "%2fetc%2fpasswd", "a%00b", "A", "x" * 400, "a/b",
     "smolagents-2-vs-mistral-3b%0a", "-", "%e2%80%ae", "..;", "..%5c.."],
)  # fmt: skip
def test_no_slug_leads_anywhere_else(anna: Editor, slug: str) -> None:
    for path in (f"/items/{slug}", f"/items/{slug}/preview", f"/items/{slug}/history", f"/runs/{slug}"):
        answer = anna.get(path)
        # a browser folds dots away before it asks, so that this may be another page of ours
        folded = answer.request.url.path in ("/", "/preview", "/history", "/desk.sqlite", "/desk.sqlite/history")
        assert answer.status_code in (303, 404, 307) or (folded and "<title>" in answer.text), path
        assert "SQLite" not in answer.text
        assert "root:" not in answer.text
    assert anna.post(f"/items/{slug}/save", revision=0, target=TARGET, text="It.").status_code in (404, 405, 307)


@pytest.mark.parametrize(
    "path", ["/static/../guard.py", "/static/%2e%2e/guard.py", "/static/..%2fguard.py", "/static//etc/passwd",
             "/static/..%5cguard.py", "/exports/..%2f..%2fdesk.sqlite", "/exports/%2e%2e"],
)  # fmt: skip
def test_static_files_are_those_of_the_desk(anna: Editor, path: str) -> None:
    answer = anna.get(path)
    assert answer.status_code in (303, 404)
    assert "import" not in answer.text


@pytest.mark.parametrize(
    "target", ["../../x", "smolagents-2", "a/b/c", "smolagents-2/builder/../x", "", "\x00", "x" * 5000]
)
def test_no_target_leads_anywhere_else(anna: Editor, target: str) -> None:
    assert anna.change("save", target=target, text="It.").status_code == 404
    assert anna.get(f"/items/{PAIR}/difference", params={"target": target}).status_code in (404, 422)


# -------------------------------------------------------------------------------------------------- other people


def test_another_users_item_is_theirs(anna: Editor, editor: Callable[..., Editor]) -> None:
    ben = editor("Ben", "editor")
    assert anna.change("claim").status_code == 200
    before = anna.revision()
    for action, fields in {
        "save": {"target": TARGET, "text": "It is mine."}, "undo": {}, "claim": {}, "release": {},
        "overrule": {"tool": "smolagents-2", "persona": "builder", "decision": "skip", "reason": "No."},
        "regenerate": {"tool": "smolagents-2", "persona": "builder"},
    }.items():  # fmt: skip
        assert ben.change(action, **fields).status_code == 403, action
    assert anna.revision() == before
    assert "Take over" in ben.get(f"/items/{PAIR}").text
    assert ben.change("claim", take_over="1").status_code == 200
    assert ben.change("save", target=TARGET, text="It is mine.").status_code == 200


def test_an_editor_does_not_approve_publish_or_withdraw(
    editor: Callable[..., Editor], cleared: Callable[..., None]
) -> None:
    ben, anna = editor("Ben", "editor"), editor()
    cleared()
    assert ben.change("approve").status_code == 403
    assert anna.change("approve").status_code == 200
    assert ben.change("publish").status_code == 403
    assert anna.change("publish").status_code == 200
    assert ben.change("withdraw", reason="No.").status_code == 403


def test_what_somebody_else_did_is_not_ones_own_to_undo(editor: Callable[..., Editor]) -> None:
    anna, ben = editor(), editor("Ben", "editor")
    assert anna.change("save", target=TARGET, text="It is short.").status_code == 200
    assert ben.change("undo").status_code == 403


# ------------------------------------------------------------------------------------------------------ passwords


@pytest.fixture
def network(store: DeskStore, runner: Runner) -> TestClient:
    """A desk that is open to a network, with the users Ben and Cleo."""
    store.add_user("Ben", "correct horse battery", "editor")
    store.add_user("Cleo", "staple under the stairs", "approver")

    def check(name: str, password: str):  # type: ignore[no-untyped-def]
        user = store.login(name, password)
        return user.role if user else None

    app = create_app(store, Access(None, check), runner, hosts=frozenset({HOST}), passwords=True, sync=3600)
    return TestClient(app, base_url=ORIGIN, follow_redirects=False)


def sign_in(client: TestClient, name: str, password: str) -> int:
    return client.post("/sign-in", data={"name": name, "password": password}, headers={"origin": ORIGIN}).status_code


def test_a_password_lets_its_user_in(network: TestClient, store: DeskStore) -> None:
    assert network.get("/").headers["location"] == "/sign-in"
    assert network.get("/enter", params={"token": ""}).status_code == 403
    assert sign_in(network, "Ben", "wrong") == 403
    assert sign_in(network, "nobody", "correct horse battery") == 403
    assert network.get("/").status_code == 303
    assert sign_in(network, "Ben", "correct horse battery") == 303
    assert network.get("/session").json()["role"] == "editor"
    # whoever was taken away is so at once, and so is a role
    store.add_user("Ben", "correct horse battery", "approver")
    assert network.get("/session").status_code in (303, 401)
    assert sign_in(network, "Ben", "correct horse battery") == 303
    store.remove_user("Ben", by="Cleo")
    assert network.get("/").status_code == 303


def test_a_form_from_elsewhere_cannot_sign_anybody_in(network: TestClient) -> None:
    data = {"name": "Ben", "password": "correct horse battery"}
    assert network.post("/sign-in", data=data, headers={"origin": "http://evil.example"}).status_code == 403


def test_guessing_is_slowed_down() -> None:
    now, asked = [1000.0], []

    def check(name: str, password: str):  # type: ignore[no-untyped-def]
        asked.append(name)
        return "editor" if password == "right" else None

    access = Access(None, check, clock=lambda: now[0])
    from panel.desk.web.access import TooManyTries

    for _ in range(TRIES_NAME):
        assert access.sign_in("10.0.0.1", "Ben", "guess") is None
        now[0] += 1
    with pytest.raises(TooManyTries) as error:
        access.sign_in("10.0.0.1", "Ben", "right")
    assert 0 < error.value.wait <= WINDOW
    assert len(asked) == TRIES_NAME, "the password is not even looked at"
    assert access.sign_in("10.0.0.2", "Ben", "right"), "nobody else is kept out by it"
    for number in range(40):
        try:
            access.sign_in("10.0.0.1", f"user{number}", "guess")
        except TooManyTries:
            break
    else:
        pytest.fail("one address may try every name")
    now[0] += WINDOW + 1
    assert access.sign_in("10.0.0.1", "Ben", "right")


def test_the_sign_in_form_says_so(network: TestClient) -> None:
    for _ in range(TRIES_NAME):
        assert sign_in(network, "Cleo", "guess") == 403
    answer = network.post(
        "/sign-in", data={"name": "Cleo", "password": "staple under the stairs"}, headers={"origin": ORIGIN}
    )
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


# ------------------------------------------------------------------------------------------------------- addresses


ALL = "0.0.0.0"  # noqa: S104 - it is refused here


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_what_is_loopback(host: str) -> None:
    assert Address(host).loopback


@pytest.mark.parametrize("host", [ALL, "::", "192.168.1.5", "desk.example.org", "127.evil.example"])
def test_what_is_not_loopback(host: str) -> None:
    assert not Address(host).loopback


def test_a_network_demands_users_and_a_name(tmp_path: Path) -> None:
    store = DeskStore(tmp_path)
    try:
        assert checked(Address(), store) == Address()
        with pytest.raises(SetupError, match="desk user add"):
            checked(Address("192.168.1.5"), store)
        store.add_user("Cleo", "staple under the stairs", "approver")
        assert checked(Address("192.168.1.5"), store).hosts == {"192.168.1.5:8765"}
        with pytest.raises(SetupError, match="--name"):
            checked(Address(ALL), store)
        named = Address(ALL, names=("Desk.Example.org",), certificate=Path("c.pem"), port=443)
        assert checked(named, store).hosts == {"desk.example.org", "desk.example.org:443"}
        assert named.url() == "https://Desk.Example.org:443"
    finally:
        store.close()


def test_the_store_is_told_who_did_it(anna: Editor, store: DeskStore) -> None:
    anna.change("save", target=TARGET, text="It is short.")
    assert store.history(PAIR, limit=1)[0].by == "Anna"
    assert User("Anna", "approver").name == anna.name
