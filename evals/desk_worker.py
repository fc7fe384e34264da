"""The process that `evals.desk_killed` kills: it works at a desk without end, and says what was acknowledged.

    python -m evals.desk_worker autosave|publish|migration FOLDER START

One JSON line on standard output for each acknowledgement, written out before the next thing is begun. A kill may come
from the first line `{"ready": …}` on, of publications from `{"begun": …}` on.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

from panel.desk.database import Database
from panel.desk.schema import MIGRATIONS
from panel.desk.store import DeskStore
from panel.desk.types import User

ITEM = "example"
EDITOR, APPROVER = User("Ann", "editor"), User("Bea", "approver")

#: One that rewrites every row, as a real one may have to.
TRIAL = (
    "CREATE TABLE history_2 (id INTEGER PRIMARY KEY, line TEXT NOT NULL)",
    "INSERT INTO history_2 SELECT id, at || ' ' || by || ' ' || action || ' ' || target || detail FROM history",
    "CREATE INDEX history_2_lines ON history_2 (line)",
    "ALTER TABLE items ADD COLUMN trial TEXT",
    "UPDATE items SET trial = title || revision",
)
WITH_TRIAL = (*MIGRATIONS, TRIAL)


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def sentence(number: int) -> str:
    """A text that the dossier has no quarrel with, and that names its number in words of its own."""
    letters = "".join("abcdefghij"[int(digit)] for digit in str(number))
    return f"The primitive is clear: it runs on a machine of one's own, draft {letters}."


def number_in(text: str) -> int | None:
    """The number of the first `sentence` in `text`."""
    _, found, rest = text.partition(", draft ")
    letters = rest.partition(".")[0]
    if not found or not letters or set(letters) - set("abcdefghij"):
        return None
    return int("".join(str("abcdefghij".index(letter)) for letter in letters))


def targets(store: DeskStore) -> list[str]:
    return [name for name in sorted(store.item(ITEM).texts) if name.count("/") == 2 and not name.endswith("/quote")]


def autosave(folder: Path, start: int) -> None:
    """Save one text after another, each under the next number."""
    store = DeskStore(folder)
    names, revision = targets(store), store.item(ITEM).row.revision
    say(ready=True)
    for number in itertools.count(start):
        target = names[number % len(names)]
        revision = store.save(ITEM, target, sentence(number), revision=revision, user=EDITOR).revision
        say(number=number, target=target, revision=revision)


def publish(folder: Path, start: int) -> None:
    """Change a text, approve, publish, and withdraw every fifth time."""
    store = DeskStore(folder)
    target = targets(store)[0]
    for number in itertools.count(start):
        row = store.item(ITEM).row
        revision = row.revision
        if row.state not in ("draft", "in review"):
            revision = store.reopen(ITEM, revision=revision, user=EDITOR).revision
        revision = store.save(ITEM, target, sentence(number), revision=revision, user=EDITOR).revision
        for blocker in store.item(ITEM).open_blockers:
            revision = store.waive(ITEM, blocker.key, "for the trial", revision=revision, user=EDITOR).revision
        revision = store.approve(ITEM, revision=revision, user=APPROVER).revision
        say(begun=True)
        done = store.publish(ITEM, revision=revision, user=APPROVER)
        say(number=number, action="publish", files=done.files)
        if number % 5 == 4:
            done = store.withdraw(ITEM, sentence(number), revision=done.revision, user=APPROVER)
            say(number=number, action="withdraw", files=done.files)


def migration(folder: Path, _: int) -> None:
    """Open the file, which has to be brought from its first version to the last."""
    say(ready=True)
    Database(folder / "desk.sqlite", WITH_TRIAL).close()
    say(done=True)


if __name__ == "__main__":
    {"autosave": autosave, "publish": publish, "migration": migration}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
