"""What the routes share: who asks, what was posted, and how it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, HTTPException, Request, Response
from starlette.datastructures import FormData
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse

from panel.desk import DeskStore
from panel.desk.types import FieldError, User
from panel.desk.web.access import Access, Session, csrf_matches
from panel.records import strip_unprintable

if TYPE_CHECKING:
    from jinja2 import Environment

    from panel.desk.web.runs import Runner

HERE = Path(__file__).parent
#: A dossier of 200 pieces of evidence, four fields each, and as many that were proposed.
MAX_FIELDS = 3000
MAX_FIELD = 1 << 20


class SignedOut(Exception):
    """The request comes from nobody we know."""


@dataclass(frozen=True)
class Web:
    """One desk: its state, who may come in, what runs. `passwords` where users sign in by name."""

    store: DeskStore
    access: Access
    runner: Runner
    cookie: str
    secure: bool = False
    passwords: bool = False


def desk_of(request: Request) -> Web:
    web: Web = request.app.state.web
    return web


def signed_in(request: Request) -> Session:
    """The session of this request. Raises SignedOut."""
    web = desk_of(request)
    session = web.access.find(request.cookies.get(web.cookie))
    if session is None:
        raise SignedOut
    if web.passwords:  # a user who was taken away, or whose role changed, is so at once
        user = web.store.user(session.user)
        if user is None or user.role != session.role:
            raise SignedOut
    return session


@dataclass(frozen=True)
class Change:
    """A posted change that is known to come from our own form, and who sent it."""

    request: Request
    web: Web
    session: Session
    form: FormData

    @property
    def store(self) -> DeskStore:
        return self.web.store

    @property
    def user(self) -> User:
        return User(self.session.user, self.session.role)

    @property
    def revision(self) -> int:
        return self.number("revision")

    def text(self, name: str, default: str = "") -> str:
        """The field `name`, with line ends as Python writes them."""
        value = self.form.get(name, default)
        return value.replace("\r\n", "\n") if isinstance(value, str) else default

    def number(self, name: str) -> int:
        value = self.text(name)
        if not (value.isascii() and value.isdigit() and len(value) < 12):
            raise FieldError("this must be a whole number", field=name, fix="reload the page, and try again")
        return int(value)

    def given(self, name: str) -> list[str]:
        return [value for value in self.form.getlist(name) if isinstance(value, str)]

    @property
    def wants_json(self) -> bool:
        return "application/json" in self.request.headers.get("accept", "")

    def answer(self, data: Mapping[str, Any], *, then: str) -> Response:
        """`data` for our script, and the page `then` for a form."""
        return JSONResponse(dict(data)) if self.wants_json else RedirectResponse(then, 303)


async def changing(request: Request) -> Change:
    """Everything that changes something passes here: a session, and the CSRF token that belongs to it."""
    session = signed_in(request)
    try:
        form = await request.form(max_files=0, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD)
    except ValueError as error:
        raise HTTPException(400, "The form cannot be read.") from error
    given = request.headers.get("x-csrf-token") or form.get("csrf")
    if not isinstance(given, str) or not csrf_matches(session, given):
        raise HTTPException(403, "This form is not from your session. Reload the page, and try again.")
    return Change(request, desk_of(request), session, form)


Changing = Annotated[Change, Depends(changing)]
SignedIn = Annotated[Session, Depends(signed_in)]
Desk = Annotated[Web, Depends(desk_of)]


# ------------------------------------------------------------------------------------------------------- pages


def moment(at: str) -> str:
    """A time as people read it: 5 March 2026, 09:30. Always UTC, as it is kept."""
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        return at
    return f"{when.day} {when:%b %Y, %H:%M}"


@cache
def environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    def finalize(value: Any) -> Any:
        # Exactly `str`: Markup is what our own templates made.
        return strip_unprintable(value) if type(value) is str else value

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["moment"] = moment
    return made


def page(template: str, session: Session | None, *, status: int = 200, here: str = "", **values: Any) -> HTMLResponse:
    """The screen `template`; `here` is the address of its entry in the navigation."""
    text = environment().get_template(f"{template}.html.j2").render(session=session, here=here, **values)
    # lone surrogates cannot be sent; `finalize` strips them from values, and nothing else may hold them
    return HTMLResponse(text.encode("utf-8", "replace"), status)
