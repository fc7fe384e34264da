"""How long do the desk's queue and its search take with thousands of items?

    python -m evals.desk_queue --items 5000

The items are copies of the example with their own names, verdicts and states. Times are of the store, and of
whole answers of the desk (asked for, checked, laid out as a page), in the same process: wall clock, and beside it the
processor's time, which a busy machine lengthens less.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.desk_killed import EXAMPLE
from evals.shared import note, report, run
from panel.desk.store import DeskStore
from panel.desk.types import QueueFilter
from panel.errors import SetupError
from panel.merge import tally
from panel.records import Review

#: Milliseconds that the first page and a search may take.
FIRST_PAGE, SEARCH = 150, 100

_WORDS = "amber basil cedar delta ember fjord grove heron islet jade knoll larch maple north ochre pearl quartz".split()

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def fill(outputs: Path, items: int) -> None:
    """Write `items` records under `outputs`."""
    example = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    draw = random.Random(0)  # noqa: S311 - not secrets
    for number in range(items):
        data: dict[str, Any] = json.loads(json.dumps(example))
        for tool in data["tools"]:
            tool["name"] = f"{draw.choice(_WORDS).title()} {tool['name']} {number}"
            for review in tool["reviews"]:
                review.update(decision=draw.choice(["ship", "ship", "skip"]), p_ship=round(draw.random(), 4))
            tool["panel"] = tally([Review.model_validate(review) for review in tool["reviews"]]).model_dump()
        folder = outputs / f"item-{number:05d}"
        folder.mkdir(parents=True)
        (folder / "comparison.json").write_text(json.dumps(data), encoding="utf-8")


def timed(act: Callable[[], object], times: int) -> tuple[float, float, float]:
    """Median and 95th percentile of the wall clock, and median of the processor's time, in milliseconds."""
    walls, works = [], []
    for _ in range(times):
        wall, work = time.perf_counter(), time.process_time()
        act()
        walls.append((time.perf_counter() - wall) * 1000)
        works.append((time.process_time() - work) * 1000)
    return sorted(walls)[times // 2], sorted(walls)[times * 95 // 100], sorted(works)[times // 2]


def pages(store: DeskStore, out: Path) -> Callable[[str], object]:
    """Asks the desk for a page, as a browser does."""
    from starlette.testclient import TestClient

    from panel.desk.web.access import Access
    from panel.desk.web.app import create_app
    from panel.desk.web.runs import Runner
    from panel.requests import Engine

    def no_engine(_: object) -> Engine:
        raise SetupError("nothing is run here", fix="see panel.desk")

    access = Access("Anna")
    desk = create_app(store, access, Runner(store, out, no_engine), hosts=frozenset({"127.0.0.1:8765"}))
    client = TestClient(desk, base_url="http://127.0.0.1:8765")
    client.cookies.set("desk", access.open("Anna", "approver"), domain="127.0.0.1", path="/")

    def ask(path: str) -> object:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text[:200]
        return answer

    return ask


@app.command(epilog="Example: python -m evals.desk_queue --items 5000")
def main(
    items: Annotated[int, typer.Option(min=1)] = 5000,
    times: Annotated[int, typer.Option(min=1, help="How often each is asked for.")] = 40,
    out: Annotated[Path, typer.Option(help="Folder for the items.")] = Path("outputs/evals/desk_queue"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Time the first page, a later one, and searches. Exit code 1 if a median is over its bound."""
    shutil.rmtree(out, ignore_errors=True)
    note(f"writing {items} records")
    fill(out, items)
    result: dict[str, Any] = {"items": items}
    with closing(DeskStore(out)) as store:
        started = time.perf_counter()
        store.sync()
        result["first sync, seconds"] = round(time.perf_counter() - started, 1)
        page = pages(store, out)
        asked: dict[str, tuple[int, Callable[[], object]]] = {
            "first page, as the browser gets it": (FIRST_PAGE, lambda: page("/")),
            "search, as the browser gets it": (SEARCH, lambda: page("/?q=heron")),
            "first page": (FIRST_PAGE, lambda: store.queue()),
            "page 50": (FIRST_PAGE, lambda: store.queue(offset=2450)),
            "filtered": (FIRST_PAGE, lambda: store.queue(QueueFilter(states=("draft",), only="split"))),
            "search, one word": (SEARCH, lambda: store.queue(QueueFilter(query="heron"))),
            "search, in every item": (SEARCH, lambda: store.queue(QueueFilter(query="sandbox"))),
            "search, beginning": (SEARCH, lambda: store.queue(QueueFilter(query="sm"))),
            "search, three words": (SEARCH, lambda: store.queue(QueueFilter(query="webassembly mistral quartz"))),
            "sync with nothing new": (10_000, store.sync),
        }
        rows = [["", "median ms", "95th percentile", "processor ms", "bound"]]
        over = []
        for name, (bound, act) in asked.items():
            median, late, work = timed(act, times if bound < 10_000 else 3)
            result[name] = {"median": median, "p95": late, "processor": work, "bound": bound}
            rows.append([name, f"{median:.1f}", f"{late:.1f}", f"{work:.1f}", str(bound)])
            over += [f"{name}: {median:.1f} ms"] if median > bound else []
    report(result, rows, over, as_json=as_json)
    if over:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
