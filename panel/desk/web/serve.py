"""Starting the desk: who may come in from where, the address that is printed, and an end without loose ends."""

from __future__ import annotations

import ipaddress
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from panel.desk import DeskStore
from panel.desk.web.access import Access, Role
from panel.desk.web.app import create_app
from panel.desk.web.runs import Runner
from panel.errors import SetupError

#: Seconds that requests have to end once the desk is told to.
PATIENCE = 3


@dataclass(frozen=True)
class Address:
    """Where the desk listens. `names` are further host names that it answers to (behind a proxy, in a network)."""

    host: str = "127.0.0.1"
    port: int = 8765
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None

    @property
    def scheme(self) -> str:
        return "https" if self.certificate is not None else "http"

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> frozenset[str]:
        """What a browser may call us: addresses with the port, and without it where it is the scheme's own."""
        known = {"127.0.0.1", "localhost", "[::1]"} if self.loopback else set()
        if self.host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            known.add(f"[{self.host}]" if ":" in self.host else self.host)
        known |= {name.lower() for name in self.names}
        usual = {"http": 80, "https": 443}[self.scheme]
        plain = {name for name in known if ":" not in name.rpartition("]")[2]}
        with_port = {f"{name}:{self.port}" for name in plain} | (known - plain)
        return frozenset(name.lower() for name in with_port | (plain if self.port == usual else set()))

    def url(self) -> str:
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        if self.names:
            host = self.names[0]
        elif ":" in host:
            host = f"[{host}]"
        return f"{self.scheme}://{host}" if ":" in host.rpartition("]")[2] else f"{self.scheme}://{host}:{self.port}"


def checked(address: Address, store: DeskStore) -> Address:
    """`address`, if it is safe to listen there.

    Raises:
        SetupError: it is open to a network, and there are no users, or no name to answer to.
    """
    if address.loopback:
        return address
    if not store.users():
        raise SetupError(
            f"{address.host} can be reached from a network, and nobody has a password yet",
            field="--host", fix="add users first: review-panel desk user add NAME --role approver",
        )  # fmt: skip
    if not address.hosts:
        raise SetupError(
            f"{address.host} is every address of this machine, so the desk cannot tell which name is its own",
            field="--host", fix="name it: --name desk.example.org",
        )  # fmt: skip
    return address


def serve(
    address: Address,
    store: DeskStore,
    runner: Runner,
    *,
    owner: str,
    say: Callable[[str], None],
    opened: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until Ctrl-C.

    Args:
        owner: who the one-time address lets in, where the desk listens on this machine alone.
        say: tells the person at the terminal.
        opened: is given the address once the desk listens.

    Raises:
        SetupError: the address is taken, or not safe to listen on.
    """
    import uvicorn

    address = checked(address, store)
    passwords = not address.loopback

    def check(name: str, password: str) -> Role | None:
        user = store.login(name, password)
        return user.role if user is not None else None

    access = Access(None if passwords else owner, check)
    app = create_app(
        store, access, runner, hosts=address.hosts, scheme=address.scheme, cookie=f"desk-{address.port}",
        passwords=passwords,
    )  # fmt: skip

    def entrance() -> str:
        return f"{address.url()}/" if passwords else f"{address.url()}/enter?token={access.token()}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: Sequence[object] | None = None) -> None:
            await super().startup(sockets)  # type: ignore[arg-type]
            if self.started:
                where = entrance()
                say(f"The desk is open: {where}\nCtrl-C closes it.")
                opened(where)

        async def shutdown(self, sockets: Sequence[object] | None = None) -> None:
            runner.closing.set()  # lets go who watches a run; else the server would wait for them
            await super().shutdown(sockets)  # type: ignore[arg-type]

    config = uvicorn.Config(
        app, host=address.host, port=address.port, log_level="warning", access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=PATIENCE, h11_max_incomplete_event_size=64 << 10, ws="none",
        ssl_certfile=address.certificate, ssl_keyfile=address.key, backlog=256,
    )  # fmt: skip
    server = Server(config)
    if not passwords and sys.stdin is not None and sys.stdin.isatty():
        threading.Thread(target=_more_addresses, args=(entrance, say), daemon=True).start()
    try:
        server.run()
    except SystemExit as error:  # uvicorn's way to say that the port is taken
        raise SetupError(
            f"{address.host}:{address.port} cannot be listened on",
            field="--port", fix="choose another port, or end what holds it",
        ) from error  # fmt: skip
    except KeyboardInterrupt:
        pass
    busy = any(job.status == "running" for job in runner.jobs())
    store.close()
    say("The desk is closed; everything is saved." + (" Reviews that were finished are kept." if busy else ""))
    if busy:
        # a run cannot be stopped half-way; what it computes with must not be torn down under it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _more_addresses(entrance: Callable[[], str], say: Callable[[str], None]) -> None:
    """Enter at the terminal prints another one-time address."""
    for _ in sys.stdin:
        say(f"Another address, for one use: {entrance()}")
