"""Does the desk lose an edit when many work at it at once? Starts one on this machine, and lets editors at it.

    python -m evals.desk_load                              20 editors for a minute, 40 items
    python -m evals.desk_load --editors 5 --seconds 10 --items 5000

Every editor has sentences of their own, several editors to an item, so that they are in each other's way (409) all
the time and must try again on the new revision, as the page's script does. Between edits they look at the queue,
search, and open items. In the end every sentence must read as its editor's last acknowledged edit says, and the
history must hold as many edits as were acknowledged: fewer were lost, more were done twice.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.shared import note, report, run
from panel.errors import SetupError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

RECORD = Path(__file__).resolve().parents[1] / "outputs" / "example" / "comparison.json"
#: Items that are edited; the rest only fills the queue.
EDITED = 5


@dataclass
class Result:
    """What was done and found. Milliseconds are what a client waited, on a machine that the editors share."""

    editors: int = 0
    seconds: float = 0.0
    items: int = 0
    requests: int = 0
    edits_acknowledged: int = 0
    edits_in_history: int = 0
    told_to_try_again: int = 0
    milliseconds: dict[str, dict[str, float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def targets(record: dict[str, Any]) -> list[str]:
    """Every sentence of the record that can be edited."""
    return [
        f"{tool['slug']}/{review['persona']}/{beat['name']}"
        for tool in record["tools"]
        for review in tool["reviews"]
        for beat in review["beats"]
    ]


class Editor:
    """One editor: a session, sentences of their own, and what was acknowledged for them."""

    def __init__(self, name: str, client: Any, csrf: str, own: list[tuple[str, str]], result: Result) -> None:
        self.name, self._client, self._own, self._result = name, client, own, result
        self._headers = {"x-csrf-token": csrf, "accept": "application/json", "origin": str(client.base_url).rstrip("/")}
        self._revisions: dict[str, int] = {}
        self.acknowledged: dict[tuple[str, str], str] = {}
        self.waits: dict[str, list[float]] = {}
        self._number = 0

    async def work(self, until: float, chance: random.Random) -> None:
        while time.monotonic() < until:
            await self._edit(*chance.choice(self._own))
            look = chance.choice(("/", "/?q=sandbox", f"/items/{chance.choice(self._own)[0]}"))
            await self._get("queue" if look == "/" else "search" if "q=" in look else "item", look)
            await asyncio.sleep(chance.uniform(0.0, 0.2))

    async def _get(self, what: str, path: str) -> Any:
        started = time.monotonic()
        answer = await self._client.get(path)
        self.waits.setdefault(what, []).append((time.monotonic() - started) * 1000)
        self._result.requests += 1
        if answer.status_code != 200:
            self._result.faults.append(f"{self.name}: {path} answered {answer.status_code}")
        return answer

    async def _edit(self, item: str, target: str) -> None:
        if item not in self._revisions:
            answer = await self._get("revision", f"/items/{item}/revision")
            self._revisions[item] = answer.json()["revision"]
        self._number += 1
        text = f"{self.name} was here for the {self._number}th time."
        for _ in range(500):
            started = time.monotonic()
            answer = await self._client.post(
                f"/items/{item}/save", headers=self._headers,
                data={"target": target, "text": text, "revision": self._revisions[item]},
            )  # fmt: skip
            self.waits.setdefault("save", []).append((time.monotonic() - started) * 1000)
            self._result.requests += 1
            said = answer.json()
            if answer.status_code == 200:
                self._revisions[item] = said["revision"]
                self.acknowledged[item, target] = text
                self._result.edits_acknowledged += 1
                return
            if answer.status_code != 409 or "revision" not in said:
                self._result.faults.append(f"{self.name}: a save was answered {answer.status_code} {said}")
                return
            if any(change["target"] == target for change in said["changes"]):
                self._result.faults.append(f"{self.name}: somebody else wrote to {target}")
            self._result.told_to_try_again += 1
            self._revisions[item] = said["revision"]
        self._result.faults.append(f"{self.name}: gave up on {target}")


def measured(waits: list[float]) -> dict[str, float]:
    ranked = sorted(waits)
    return {
        "count": len(ranked),
        "median": round(ranked[len(ranked) // 2], 1),
        "p95": round(ranked[int(len(ranked) * 0.95)], 1),
        "worst": round(ranked[-1], 1),
    }


async def _work(url: str, cookies: list[str], seconds: float, result: Result) -> dict[tuple[str, str], str]:
    import httpx

    record = json.loads(RECORD.read_text(encoding="utf-8"))
    sentences = [(f"item-{n}", target) for n in range(min(EDITED, result.items)) for target in targets(record)]
    random.Random(7).shuffle(sentences)  # noqa: S311
    editors, clients = [], []
    for number, cookie in enumerate(cookies):
        client = httpx.AsyncClient(base_url=url, cookies={"desk": cookie}, timeout=120)
        clients.append(client)
        csrf = (await client.get("/session")).json()["csrf"]
        own = sentences[number :: len(cookies)]
        editors.append(Editor(f"Editor {number + 1}", client, csrf, own, result))
    until = time.monotonic() + seconds
    await asyncio.gather(*(e.work(until, random.Random(n)) for n, e in enumerate(editors)))  # noqa: S311
    for client in clients:
        await client.aclose()
    waits: dict[str, list[float]] = {}
    for editor in editors:
        for what, times in editor.waits.items():
            waits.setdefault(what, []).extend(times)
    result.milliseconds = {what: measured(times) for what, times in sorted(waits.items())}
    return {place: text for editor in editors for place, text in editor.acknowledged.items()}


def _check(folder: Path, acknowledged: dict[tuple[str, str], str], result: Result) -> None:
    """Read the desk's file as it was left."""
    from panel.desk import DeskStore

    store = DeskStore(folder)
    counted: Counter[str] = Counter()
    for number in range(min(EDITED, result.items)):
        slug = f"item-{number}"
        item, before = store.item(slug), None
        for (where, target), text in acknowledged.items():
            if where == slug and item.texts[target].current != text:
                stands = item.texts[target].current
                result.faults.append(f"{slug} {target}: {text!r} was acknowledged, and {stands!r} stands there")
        while events := store.history(slug, limit=500, before=before):
            counted.update(event.action for event in events)
            before = events[-1].id
    store.close()
    result.edits_in_history = counted["edit"]
    if counted["edit"] != result.edits_acknowledged:
        result.faults.append(
            f"{result.edits_acknowledged} edits were acknowledged, {counted['edit']} are in the history"
        )


def _serve(folder: Path, editors: int) -> None:
    """The desk in a process of its own; says on its first line where it listens and with which cookies."""
    import socket

    import uvicorn

    from panel.desk import DeskStore
    from panel.desk.web.access import Access
    from panel.desk.web.app import create_app
    from panel.desk.web.runs import Runner
    from panel.requests import Engine

    def no_engine(_: object) -> Engine:
        raise SetupError("nothing is run here", fix="see panel.desk")

    store = DeskStore(folder)
    store.sync()
    access = Access(None)
    listening = socket.create_server(("127.0.0.1", 0))
    where = "{}:{}".format(*listening.getsockname())
    desk = create_app(store, access, Runner(store, folder, no_engine), hosts=frozenset({where}))
    cookies = [access.open(f"Editor {number + 1}", "editor") for number in range(editors)]
    print(json.dumps({"url": f"http://{where}", "cookies": cookies}), flush=True)
    uvicorn.Server(uvicorn.Config(desk, log_level="warning", access_log=False)).run(sockets=[listening])


@app.command()
def main(
    editors: Annotated[int, typer.Option("--editors", min=1, max=200)] = 20,
    seconds: Annotated[float, typer.Option("--seconds", min=1)] = 60,
    items: Annotated[int, typer.Option("--items", min=1, help="How many stand in the queue.")] = 40,
    serve: Annotated[Path | None, typer.Option("--serve", hidden=True)] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Let editors work at one desk at once, and count what was acknowledged and what is there."""
    if serve is not None:
        _serve(serve, editors)
        return
    folder = Path(tempfile.mkdtemp(prefix="desk-load-"))
    result = Result(editors=editors, seconds=seconds, items=items)
    try:
        for number in range(items):
            (folder / f"item-{number}").mkdir()
            shutil.copy(RECORD, folder / f"item-{number}" / "comparison.json")
        command = [sys.executable, "-m", "evals.desk_load", "--serve", str(folder), "--editors", str(editors)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            said = json.loads(server.stdout.readline() or "{}")
            if not said:
                raise SetupError("the desk did not start", fix="start it by hand: review-panel desk")
            note(f"{editors} editors work for {seconds:.0f} s")
            acknowledged = asyncio.run(_work(said["url"], said["cookies"], seconds, result))
        finally:
            server.terminate()
            server.wait(60)
        _check(folder, acknowledged, result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = [["", "count", "median ms", "p95 ms", "worst ms"]]
    rows += [[what, *(str(number) for number in each.values())] for what, each in result.milliseconds.items()]
    told = [
        f"{result.editors} editors, {result.seconds:.0f} s, {result.items} items: {result.edits_acknowledged} edits "
        f"acknowledged, {result.edits_in_history} in the history, {result.told_to_try_again} told to try again",
        *result.faults,
    ]
    report(asdict(result), rows, told, as_json=as_json)
    if result.faults:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
