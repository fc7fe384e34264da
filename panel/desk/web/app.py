"""The application: routes, static files, and the one place where errors become answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from panel.desk import DeskStore
from panel.desk.types import Blocked, FieldError, Forbidden, NotFound, Stale, WrongState
from panel.desk.web import changes, enter, screens, tool, watch
from panel.desk.web.access import Access, Session
from panel.desk.web.context import HERE, SignedIn, SignedOut, Web, desk_of, page
from panel.desk.web.guard import HEADERS, Guard
from panel.desk.web.runs import Runner
from panel.errors import PanelError
from panel.pages import __file__ as pages_file

log = logging.getLogger(__name__)

#: Seconds between looks for records that a command line wrote meanwhile.
SYNC = 5.0

_TITLES = {
    NotFound: (404, "Not found"), Forbidden: (403, "Not allowed"), FieldError: (422, "This cannot be taken"),
    Stale: (409, "Somebody else was faster"), Blocked: (409, "Something stands in the way"),
    WrongState: (409, "Not possible now"),
}  # fmt: skip


def create_app(
    store: DeskStore,
    access: Access,
    runner: Runner,
    *,
    hosts: frozenset[str],
    scheme: str = "http",
    cookie: str = "desk",
    passwords: bool = False,
    sync: float = SYNC,
) -> FastAPI:
    """The desk as an ASGI application.

    Args:
        hosts: what the `Host` header may be, port included.
        scheme: http, or https where the server (or what stands before it) speaks TLS.
        cookie: the name of the session's cookie; cookies know no ports, so two desks need two names.
        passwords: users sign in by name; else the one-time token of `access` lets its owner in.
        sync: seconds between looks for new records.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        runner.start()
        keeper = threading.Thread(target=_keep_in_step, args=(store, runner.closing, sync), daemon=True)
        keeper.start()
        yield
        runner.stop()
        keeper.join(timeout=10)

    app = FastAPI(title="Review Panel desk", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    secure = scheme == "https"
    app.state.web = Web(store, access, runner, f"__Host-{cookie}" if secure else cookie, secure, passwords)
    for part in (enter, screens, changes, tool, watch):
        app.include_router(part.router)

    @app.get("/session")
    def session(who: SignedIn) -> Response:
        """The token of the session that the cookie has now, for a page that was open before."""
        return JSONResponse({"user": who.user, "role": who.role, "csrf": who.csrf})

    @app.get("/static/page.css")
    def page_css() -> Response:
        """The style sheet of the published page, which the desk's own stands on."""
        from pathlib import Path

        return FileResponse(Path(pages_file).parent / "page.css", headers={"cache-control": "no-cache"})

    app.mount("/static", _Static(directory=HERE / "static"))
    _handle_errors(app)
    app.add_middleware(Guard, hosts=hosts, scheme=scheme)
    return app


class _Static(StaticFiles):
    """Static files are asked for anew each time (and mostly found unchanged): an upgrade is seen at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers["cache-control"] = "no-cache"
        return answer


def _keep_in_step(store: DeskStore, closing: threading.Event, seconds: float) -> None:
    told: set[tuple[str, str]] = set()
    while True:
        try:
            for path, problem in set(store.sync().problems) - told:
                told.add((path, problem))
                log.warning("%s: %s", path, problem)
        except PanelError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("looking for new records failed")
        if closing.wait(seconds):
            return


# ------------------------------------------------------------------------------------------------------ errors


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(SignedOut)
    async def signed_out(request: Request, _: SignedOut) -> Response:
        web = desk_of(request)
        if _wants_json(request) or request.method != "GET":
            return JSONResponse({"error": "You are signed out."}, 401)
        if web.passwords:
            from starlette.responses import RedirectResponse

            return RedirectResponse("/sign-in", 303)
        return page("signed_out", None, status=401, passwords=False, used=False)

    @app.exception_handler(PanelError)
    async def ours(request: Request, error: PanelError) -> Response:
        status, title = _TITLES.get(type(error), (400, "This did not work"))
        details: dict[str, Any] = {}
        if isinstance(error, Stale):
            details = {"revision": error.revision, "changes": [vars(change) for change in error.changes]}
        elif isinstance(error, Blocked):
            details = {"blockers": [{"kind": b.kind, "message": b.message} for b in error.blockers]}
        elif isinstance(error, FieldError):
            details = {"field": error.field, "fix": error.fix}
        text = f"{error.problem}. {error.fix}." if isinstance(error, FieldError) else str(error)
        return await _answer(request, status, title, text, details)

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        titles = {404: "Not found", 405: "Not possible", 403: "Refused"}
        return await _answer(request, error.status_code, titles.get(error.status_code, "Refused"), str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, _: RequestValidationError) -> Response:
        return await _answer(request, 422, "This cannot be taken", "The address holds something that cannot be read.")

    @app.exception_handler(500)
    async def broken(request: Request, _: Exception) -> Response:
        answer = await _answer(request, 500, "Something broke", "It is in the log of the desk. What was saved is safe.")
        answer.headers.update(HEADERS)  # this handler stands outside the guard
        return answer


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


async def _answer(
    request: Request, status: int, title: str, text: str, details: dict[str, Any] | None = None
) -> Response:  # fmt: skip
    if _wants_json(request):
        return JSONResponse({"error": text, **(details or {})}, status)
    session: Session | None = desk_of(request).access.find(request.cookies.get(desk_of(request).cookie))
    yours = ""
    if status in (409, 422) and request.method == "POST":
        # the body was read by the route, and is kept with the request's form
        form = await request.form()
        yours = next((v for name in ("text", "reason", "fact") if isinstance(v := form.get(name), str)), "")
    slug = request.path_params.get("slug")
    known = (details or {}).get("changes"), (details or {}).get("blockers")
    from urllib.parse import quote

    return page(
        "problem", session, status=status, title=title, message=text[:2000], changes=known[0] or [],
        blockers=known[1] or [], yours=yours, back=f"/items/{quote(slug, safe='')}" if slug and status != 404 else "/",
    )  # fmt: skip
