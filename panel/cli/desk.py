"""`review-panel desk`: the editors' desk, and who may use it."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from panel.cli.options import DEFAULT_OUT, ModelChoice, OpenOption, RunChoice, engine_options, run_options, takes
from panel.errors import SetupError

if TYPE_CHECKING:
    from panel.desk import DeskStore

app = typer.Typer(help="The editors' desk: read, correct, decide, approve, publish.", invoke_without_command=True)
user_app = typer.Typer(help="Who may use a desk that is open to a network.", no_args_is_help=True)
app.add_typer(user_app, name="user")

OutOption = Annotated[Path, typer.Option("--out", help="Folder of the records; the desk keeps its state there.")]


def _store(out: Path, site: Path | None = None, personas: Path | None = None) -> DeskStore:
    from panel.desk import DeskStore
    from panel.personas import load_personas

    return DeskStore(out, site=site, personas=load_personas(personas))


@app.callback(epilog="Example: review-panel desk --open")
@takes(chosen=engine_options, how=run_options)
def desk(
    context: typer.Context,
    chosen: ModelChoice,
    how: RunChoice,
    out: OutOption = DEFAULT_OUT,
    site: Annotated[
        Path | None, typer.Option("--site", help="Folder that is published to; default: site, in --out.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; anything but this machine demands users with passwords.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8765,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Host name that the desk answers to, with its port if unusual.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option("--certificate", help="TLS certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="The certificate's private key (PEM).")] = None,
    editor: Annotated[
        str | None, typer.Option("--editor", help="Your name, as pages name who answers for them; default: login name.")
    ] = None,
    open_page: OpenOption = False,
) -> None:
    """Open the editors' desk in a browser. The address that is printed lets one person in, once."""
    if context.invoked_subcommand is not None:
        return
    from panel.cli import show
    from panel.desk.web.runs import Runner
    from panel.desk.web.serve import Address, serve

    def opened(address: str) -> None:
        if open_page:
            import webbrowser

            webbrowser.open(address)

    store = _store(out, site, how.personas)
    runner = Runner(
        store, out, lambda on_load: how.open(chosen, on_load),
        personas=how.personas, prompts=how.prompts, seed=how.seed, loop=how.loop, fresh=how.fresh,
    )  # fmt: skip
    serve(
        Address(host, port, tuple(name or ()), certificate, key), store, runner,
        owner=editor or getpass.getuser(), say=show.note, opened=opened,
    )  # fmt: skip


@app.command(epilog="Example: review-panel desk flips outputs/evals/stability/stability.json")
def flips(
    record: Annotated[Path, typer.Argument(help="What review-panel eval stability wrote.", show_default=False)],
    out: OutOption = DEFAULT_OUT,
) -> None:
    """Tell the desk how often each tool's verdicts flip; the queue shows it, and sorts by it too."""
    from panel.cli import show
    from panel.desk.flips import flip_rates

    rates = flip_rates(record)
    store = _store(out)
    try:
        store.sync()
        show.note(
            f"flip rates of {len(rates)} tools are kept; {store.set_flip_rates(rates)} of them stand in the queue"
        )
    finally:
        store.close()


@user_app.command("add", epilog="Example: review-panel desk user add Anna --role approver")
def user_add(
    name: Annotated[str, typer.Argument(help="As pages will name them.")],
    role: Annotated[str, typer.Option("--role", help="editor, or approver (who may publish).")] = "editor",
    out: OutOption = DEFAULT_OUT,
) -> None:
    """Add a user, or give one a new password and role. The password is asked for, or read from standard input."""
    from panel.cli import show

    if role not in ("editor", "approver"):
        raise SetupError("there is no such role", field="--role", fix="choose editor or approver")
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise SetupError("the two are not the same", field="password", fix="type it twice")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    store = _store(out)
    try:
        store.add_user(name, password, "approver" if role == "approver" else "editor")
    finally:
        store.close()
    show.note(f"{name} may use the desk as {role}")


@user_app.command("remove", epilog="Example: review-panel desk user remove Anna")
def user_remove(name: Annotated[str, typer.Argument()], out: OutOption = DEFAULT_OUT) -> None:
    """Take away somebody's access; the history keeps their name."""
    from panel.cli import show

    store = _store(out)
    try:
        store.remove_user(name, by=getpass.getuser())
    finally:
        store.close()
    show.note(f"{name} has no access any more")


@user_app.command("list", epilog="Example: review-panel desk user list")
def user_list(out: OutOption = DEFAULT_OUT) -> None:
    """Who may use the desk, and as what."""
    from panel.cli import show

    store = _store(out)
    try:
        for user in store.users():
            show.line(f"{user.name}  {user.role}")
    finally:
        store.close()
