"""What the tests of the desk's state share: folders with records, and people."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from panel.desk import DeskStore
from panel.desk.types import Item, User
from panel.records import Comparison, Review
from panel.render import to_json

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "outputs" / "example" / "comparison.json"

ANN, BEA, CAL = User("Ann", "editor"), User("Bea", "approver"), User("Cal", "editor")

#: The item of EXAMPLE, a text of it, and what the rules have nothing against in its place.
ITEM, PRIMITIVE = "example", "smolagents-2/builder/primitive"
PLAIN = "The primitive is clear: an agent writes Python, and it runs inside a WebAssembly sandbox."


def put(outputs: Path, data: dict[str, Any], slug: str = "pair") -> Path:
    """Write a record where a run would."""
    path = outputs / slug / "comparison.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(Comparison.model_validate(data)), encoding="utf-8")
    return path


def put_example(outputs: Path) -> Path:
    path = outputs / ITEM / "comparison.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(EXAMPLE, path)
    return path


def example_data() -> dict[str, Any]:
    return dict(json.loads(EXAMPLE.read_text(encoding="utf-8")))


def clock() -> Callable[[], str]:
    """A clock that moves on by a second at each look."""
    ticks = iter(range(86_400))

    def look() -> str:
        seconds = next(ticks)
        return f"2026-03-05T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}+00:00"

    return look


def revision(store: DeskStore, slug: str = ITEM) -> int:
    return store.item(slug).row.revision


def review_of(item: Item, tool: str, persona: str, *, machine: bool = False) -> Review:
    record = item.draft if machine else item.record
    return next(r for t in record.tools if t.slug == tool for r in t.reviews if r.persona == persona)


def redrafted(review: Review, **beats: str) -> Review:
    """`review` as another run might have drafted it."""
    new = tuple(b.model_copy(update={"text": beats.get(b.name.replace("-", "_"), b.text)}) for b in review.beats)
    return review.model_copy(update={"beats": new, "quote": " ".join(b.text for b in new)})


def approve(store: DeskStore, slug: str = ITEM) -> int:
    """Approve the item as it is; returns the revision."""
    return store.approve(slug, revision=revision(store, slug), user=BEA).revision


def publish(store: DeskStore, slug: str = ITEM) -> dict[str, bytes]:
    """Publish the item; returns the files by name."""
    done = store.publish(slug, revision=revision(store, slug), user=BEA)
    return {path.name: path.read_bytes() for path in Path(done.folder).iterdir()}
