"""What every request passes before any route sees it, and what every answer carries.

A page that a browser has open somewhere else must not be able to speak to the desk: not by name (a host name that is
pointed at this machine, "DNS rebinding"), not by a form or a script on another site. So the `Host` header must be one
of ours, and whatever changes something must come from our own origin. The CSRF token, which needs a session, is
checked in `panel.desk.web.access`.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: A dossier may have 1 MiB (`panel.inputs.MAX_BYTES`), and more once it is written as form fields.
MAX_BODY = 2 << 20

SAFE = frozenset({"GET", "HEAD"})

#: No inline script or style anywhere, nothing from elsewhere, never inside another site's frame; and no script of
#: ours may turn text into markup (trusted types).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: with it browsers send `Origin: null` along with our own forms. No other site learns anything.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


class TooLarge(Exception):
    """More bytes came than a request may have."""


class Guard:
    """ASGI middleware: host, origin, size, headers.

    Args:
        hosts: what the `Host` header may be, port included ("127.0.0.1:8765").
        scheme: http or https, as the browser sees it.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], scheme: str = "http", max_body: int = MAX_BODY) -> None:
        self._app, self._hosts, self._scheme, self._max = app, hosts, scheme, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return

        started = False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, dressed)
            return
        try:
            await self._app(scope, self._counted(receive), dressed)
        except TooLarge:
            if started:
                raise
            await _too_large()(scope, receive, dressed)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return PlainTextResponse("This address is not the desk's.\n", 421)
        if scope["method"] in SAFE:
            return None
        # Browsers always say where a POST comes from; who does not is not a browser with our page in it.
        if headers.getlist("origin") != [f"{self._scheme}://{hosts[0].lower()}"]:
            return PlainTextResponse("Refused: this request does not come from a page of the desk.\n", 403)
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return PlainTextResponse("Refused: this request comes from another site.\n", 403)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return PlainTextResponse("Refused: no such length.\n", 400)
        return _too_large() if int(length) > self._max else None

    def _counted(self, receive: Receive) -> Receive:
        """`receive` that stops at the limit, also where a body comes in chunks and has not said how long it is."""
        count = 0

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            if message["type"] == "http.request":
                count += len(message.get("body", b""))
                if count > self._max:
                    raise TooLarge
            return message

        return counted


def _too_large() -> PlainTextResponse:
    return PlainTextResponse(f"Refused: more than {MAX_BODY >> 20} MiB.\n", 413, {"connection": "close"})
