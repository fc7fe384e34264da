"""Coming in and going out: the one-time token, the password, signing out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from panel.desk.web.access import TooManyTries
from panel.desk.web.context import Changing, Desk, Web, page

router = APIRouter()


def _with_cookie(answer: Response, web: Web, cookie: str) -> Response:
    # without an age: it ends with the browser
    answer.set_cookie(web.cookie, cookie, httponly=True, samesite="strict", secure=web.secure, path="/")
    return answer


@router.get("/enter")
def enter(web: Desk, token: str = "") -> Response:
    """The address that the desk prints when it starts. It works once."""
    cookie = web.access.redeem(token[:200])
    if cookie is None:
        return page("signed_out", None, status=403, passwords=web.passwords, used=True)
    # A page and not a redirect: a strict cookie does not travel along a chain that another program started.
    return _with_cookie(page("entered", None), web, cookie)


@router.get("/sign-in")
def sign_in_form(web: Desk) -> Response:
    if not web.passwords:
        return page("signed_out", None, status=401, passwords=False, used=False)
    return page("sign_in", None, name="", problem="")


@router.post("/sign-in")
async def sign_in(request: Request, web: Desk) -> Response:
    """By name and password. There is no session yet, so no CSRF token either: the origin was checked by the guard."""
    from starlette.concurrency import run_in_threadpool

    if not web.passwords:
        return page("signed_out", None, status=403, passwords=False, used=False)
    form = await request.form(max_files=0, max_fields=4, max_part_size=4096)
    name, password = (str(form.get(field, ""))[:400] for field in ("name", "password"))
    address = request.client.host if request.client is not None else ""
    try:
        cookie = await run_in_threadpool(web.access.sign_in, address, name, password)
    except TooManyTries as error:
        problem = f"Too many tries. Wait {-(-error.wait // 60)} minutes, then try again."
        answer: Response = page("sign_in", None, status=429, name=name, problem=problem)
        answer.headers["retry-after"] = str(error.wait)
        return answer
    if cookie is None:
        return page("sign_in", None, status=403, name=name, problem="Name or password is wrong.")
    return _with_cookie(RedirectResponse("/", 303), web, cookie)


@router.post("/leave")
def leave(change: Changing) -> Response:
    change.web.access.close(change.request.cookies.get(change.web.cookie, ""))
    answer = page("signed_out", None, passwords=change.web.passwords, used=False)
    answer.delete_cookie(change.web.cookie, path="/")
    return answer
