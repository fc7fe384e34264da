"""The file of answers: shared, killed, damaged, pruned."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from panel.engines import answers
from panel.engines.answers import AnswerStore
from panel.engines.answers_file import SCHEMA
from panel.engines.identity import Identity
from panel.errors import EngineError, SetupError
from panel.requests import EngineInfo

ROOT = Path(__file__).parents[2]
MODEL = b"m" * 32


def key(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def identity(model: str = "embedded", sha256: str = "a" * 64) -> Identity:
    return Identity(EngineInfo("openvino", "1", model, sha256), {"precision": "f32"})


def keep(store: AnswerStore, *names: str, answer: str = "answer") -> None:
    store.put(MODEL, {key(name): (name, f"{answer} {name}") for name in names})


def held(store: AnswerStore, *names: str) -> set[str]:
    found = store.get(key(name) for name in names)
    return {name for name in names if key(name) in found}


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000_000.0

    def __call__(self) -> float:
        return self.time


# -------------------------------------------------------------------------------------------------------- keeping


def test_an_answer_comes_back_as_it_was(answers_file: Path) -> None:
    store = AnswerStore(answers_file)
    text = '["Ünïcode \\" and\\nlines ✓",1,2]'
    assert store.put(MODEL, {key("a"): ("draft/a", text)}) == {key("a"): text}
    assert store.get([key("a"), key("b"), key("a")]) == {key("a"): text}
    store.close()
    again = AnswerStore(answers_file)
    assert again.get([key("a")]) == {key("a"): text}


def test_more_keys_than_fit_in_one_query(answers_file: Path) -> None:
    store = AnswerStore(answers_file)
    names = [str(n) for n in range(1234)]
    keep(store, *names)
    assert held(store, *names, "other") == set(names)


def test_the_first_answer_stays_unless_it_is_replaced(answers_file: Path) -> None:
    store = AnswerStore(answers_file)
    store.put(MODEL, {key("a"): ("a", "first")})
    assert store.put(MODEL, {key("a"): ("a", "second"), key("b"): ("b", "other")}) == {
        key("a"): "first",
        key("b"): "other",
    }
    assert store.put(MODEL, {key("a"): ("a", "third")}, replace=[key("a")]) == {key("a"): "third"}
    assert store.get([key("a")]) == {key("a"): "third"}


def test_a_batch_is_kept_whole_or_not_at_all(answers_file: Path) -> None:
    store = AnswerStore(answers_file)
    with pytest.raises(sqlite3.ProgrammingError):
        store.put(MODEL, {key("a"): ("a", "fine"), key("b"): (object(), "not")})  # type: ignore[dict-item]
    assert store.get([key("a")]) == {}
    keep(store, "a")
    assert held(store, "a") == {"a"}


def test_a_row_that_was_tampered_with_counts_as_absent(answers_file: Path) -> None:
    store = AnswerStore(answers_file)
    keep(store, "a", "b", "c", "d")
    with sqlite3.connect(answers_file) as db:
        db.execute("UPDATE answers SET answer = 'answer x' WHERE name = 'a'")
        db.execute("UPDATE answers SET answer = (SELECT answer FROM answers WHERE name = 'c') WHERE name = 'b'")
        db.execute("UPDATE answers SET answer = x'00ff' WHERE name = 'd'")
    assert held(store, "a", "b", "c", "d") == {"c"}
    keep(store, "a", "b", "d")
    assert held(store, "a", "b", "c", "d") == {"a", "b", "c", "d"}, "and is written again"


def test_prompts_are_not_kept(answers_file: Path) -> None:
    store = AnswerStore(answers_file)
    store.put(MODEL, {key("a secret prompt"): ("draft/builder/lanternfish", "an answer")})
    store.close()
    data = answers_file.read_bytes()
    assert b"an answer" in data
    assert b"secret" not in data


def test_after_closing_whoever_asks_is_told(answers_file: Path) -> None:
    store = AnswerStore(answers_file)
    store.close()
    with pytest.raises(EngineError, match="the run was stopped"):
        store.get([key("a")])


def test_the_default_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REVIEW_PANEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REVIEW_PANEL_ANSWERS")
    assert answers.default_path() == tmp_path / "cache" / "answers.sqlite"
    monkeypatch.setenv("REVIEW_PANEL_ANSWERS", "~/mine.sqlite")
    assert answers.default_path() == Path.home() / "mine.sqlite"


# --------------------------------------------------------------------------------------------------------- sharing


def child(path: Path, code: str, **options: object) -> subprocess.Popen[str]:
    """A process of its own, with `store`, `keep` and `key` as above."""
    head = (
        "import sys; from pathlib import Path; from tests.engines.test_answers import *\n"
        f"store = AnswerStore(Path({str(path)!r}))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + code], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def test_two_processes_write_at_once(answers_file: Path) -> None:
    """Neither loses anything, and where both compute the same they go on with the same."""
    code = """
print("ready", flush=True)
sys.stdin.readline()
for batch in range(40):
    names = [f"own {me} {batch} {n}" for n in range(5)]
    keep(store, *names)
    both = key(f"both {batch}")
    print(store.put(MODEL, {both: (f"both {batch}", f"by {me}")})[both], flush=True)
"""
    children = [child(answers_file, f"me = {me}\n{code}") for me in range(3)]
    for one in children:  # all of them have opened, and made, the file
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    said = []
    for one in children:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in children:
        out, _ = one.communicate(timeout=300)
        assert one.returncode == 0
        said.append(out.splitlines())
    assert said[0] == said[1] == said[2]
    assert len(said[0]) == 40
    store = AnswerStore(answers_file)
    names = [f"own {me} {batch} {n}" for me in range(3) for batch in range(40) for n in range(5)]
    assert held(store, *names) == set(names)


def test_a_kill_loses_nothing_that_was_acknowledged(answers_file: Path) -> None:
    code = """
batch = 0
while True:
    keep(store, *[f"{batch} {n}" for n in range(20)])
    print(batch, flush=True)
    batch += 1
"""
    for round_ in range(2):
        killed = child(answers_file, code.replace("batch = 0", f"batch = {round_ * 100_000}"))
        assert killed.stdout is not None
        acknowledged = [int(killed.stdout.readline()) for _ in range(30)]
        os.kill(killed.pid, signal.SIGKILL)
        rest = killed.stdout.read().split("\n")
        killed.wait()
        acknowledged += [int(line) for line in rest[:-1]]  # the last line may be cut
        with sqlite3.connect(answers_file) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store = AnswerStore(answers_file)
        names = [f"{batch} {n}" for batch in acknowledged for n in range(20)]
        assert held(store, *names) == set(names)
        (count,) = sqlite3.connect(answers_file).execute("SELECT count(*) FROM answers").fetchone()
        assert count % 20 == 0, "no half of a batch either"
        store.close()


def test_threads_share_one_store(answers_file: Path) -> None:
    store = AnswerStore(answers_file)
    failures: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for n in range(30):
                keep(store, f"{me} {n}")
                assert held(store, f"{me} {n}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(kept.answers for kept in store.kept()) == 240


def test_a_writer_that_keeps_others_waiting_too_long(answers_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    AnswerStore(answers_file).close()
    monkeypatch.setattr("panel.engines.answers_file.PATIENCE", 0.05)
    store = AnswerStore(answers_file)
    other = sqlite3.connect(answers_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SetupError, match=r"locked.*Fix: wait for the process that writes to it"):
        keep(store, "a")
    other.execute("COMMIT")
    keep(store, "a")
    assert held(store, "a")


# ----------------------------------------------------------------------------------------------------- wrong files


def text_file(path: Path) -> None:
    path.write_text("What I did on my holidays. " * 100)


def foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE holidays (day TEXT)")


def newer(path: Path) -> None:
    AnswerStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")


def cut_short(path: Path) -> None:
    store = AnswerStore(path)
    keep(store, *map(str, range(2000)))
    store.close()
    os.truncate(path, 3 * 4096)


def scribbled_over(path: Path) -> None:
    store = AnswerStore(path)
    keep(store, *map(str, range(2000)))
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (text_file, "is no file of model answers. Fix: name another file with --answers"),
        (foreign_database, "is no file of model answers. Fix: name another file with --answers"),
        (newer, f"its schema is {SCHEMA + 1}, this one knows {SCHEMA}). Fix: install the newer version"),
        (cut_short, "Fix: delete the file: its answers are computed again"),
        (scribbled_over, "Fix: delete the file: its answers are computed again"),
        (Path.mkdir, "Fix: check that you may write there"),
    ],
)
def test_a_file_that_cannot_be_used(answers_file: Path, spoil: Callable[[Path], None], says: str) -> None:
    """The message names the file, and the file stays as it is."""
    spoil(answers_file)
    before = answers_file.read_bytes() if answers_file.is_file() else None
    with pytest.raises(SetupError) as caught:
        keep(AnswerStore(answers_file), *map(str, range(100)))
    assert says in str(caught.value)
    assert caught.value.path == answers_file
    assert before is None or answers_file.read_bytes() == before


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"file.*Fix: check that you may write there, or name another file"):
        AnswerStore(tmp_path / "file" / "answers.sqlite")
    system = Path("/proc/answers.sqlite")  # nobody can make files there, root neither
    if system.parent.is_dir():
        with pytest.raises(SetupError, match=r"/proc/answers.sqlite.*Fix: check that you may write there"):
            AnswerStore(system)


def test_an_empty_file_becomes_one_of_ours(answers_file: Path) -> None:
    answers_file.touch()
    keep(AnswerStore(answers_file), "a")


# ------------------------------------------------------------------------------------------------------- read only


def test_reading_only_writes_nothing(answers_file: Path) -> None:
    clock = Clock()
    store = AnswerStore(answers_file, now=clock)
    keep(store, "a")
    store.close()
    before = answers_file.read_bytes()
    clock.time += 10 * answers.USE_GRAIN
    reader = AnswerStore(answers_file, read_only=True, now=clock)
    assert held(reader, "a", "b") == {"a"}
    with pytest.raises(SetupError, match="readonly"):
        keep(reader, "b")
    reader.close()
    assert answers_file.read_bytes() == before
    assert [path.name for path in answers_file.parent.iterdir()] == [answers_file.name], "nor does it leave anything"


def test_reading_where_nothing_may_be_written(answers_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even beside the file, as SQLite would like to."""
    store = AnswerStore(answers_file)
    keep(store, "a")
    store.close()
    monkeypatch.setattr("panel.engines.answers_file.os.access", lambda *_: False)
    opened: list[str] = []
    connect = sqlite3.connect

    def watched(database: object, **options: object) -> sqlite3.Connection:
        opened.append(str(database))
        return connect(database, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr("panel.engines.answers_file.sqlite3.connect", watched)
    reader = AnswerStore(answers_file, read_only=True)
    assert held(reader, "a") == {"a"}
    assert opened[0].endswith("?mode=ro&immutable=1")
    assert [path.name for path in answers_file.parent.iterdir()] == [answers_file.name]


def test_reading_beside_a_writer(answers_file: Path) -> None:
    writer = AnswerStore(answers_file)
    keep(writer, "a")
    reader = AnswerStore(answers_file, read_only=True)
    assert held(reader, "a") == {"a"}
    keep(writer, "b")
    assert held(reader, "b") == {"b"}


def test_reading_what_is_not_there(answers_file: Path) -> None:
    with pytest.raises(SetupError, match=r"there is no such file of answers\. Fix: run the same command without"):
        AnswerStore(answers_file, read_only=True)
    assert not answers_file.exists()


# ---------------------------------------------------------------------------------------------------------- models


def test_models_by_the_name_that_people_gave_the_last_used_first(answers_file: Path) -> None:
    clock = Clock()
    store = AnswerStore(answers_file, now=clock)
    old, new = identity(sha256="a" * 64), identity(sha256="b" * 64)
    for one in (old, new):
        clock.time += 1
        store.remember("embedded", one)
    store.remember("other", identity("other", "c" * 64))
    assert store.models("openvino", "embedded") == [new, old]
    assert store.models("transformers", "embedded") == []
    clock.time += 1
    store.remember("embedded", old)
    assert store.models("openvino", "embedded") == [old, new]


def test_what_is_held_model_by_model(answers_file: Path) -> None:
    clock = Clock()
    store = AnswerStore(answers_file, now=clock)
    one = identity()
    store.remember("embedded", one)
    store.put(one.id, {key("a"): ("a", "x"), key("b"): ("b", "x")})
    clock.time += 60
    store.put(one.id, {key("c"): ("c", "x")})
    keep(store, "of a model that nobody knows")
    assert [(k.info, k.answers, k.newest - k.oldest) for k in store.kept()] == [(one.info, 3, 60), (None, 1, 0)]


def test_an_identity_that_cannot_be_read_is_left_out(answers_file: Path) -> None:
    store = AnswerStore(answers_file)
    store.remember("embedded", identity())
    with sqlite3.connect(answers_file) as db:
        db.execute("UPDATE models SET identity = '[1, 2]'")
    assert store.models("openvino", "embedded") == []
    store.remember("embedded", identity())
    assert store.models("openvino", "embedded") == [identity()]


# ----------------------------------------------------------------------------------------------------------- prune


def test_prune_by_age_looks_at_the_last_use(answers_file: Path) -> None:
    clock = Clock()
    store = AnswerStore(answers_file, now=clock)
    keep(store, "old", "used")
    clock.time += 20 * 86_400
    keep(store, "new")
    assert held(store, "used")
    clock.time += 15 * 86_400
    assert store.prune(keep_seconds=30 * 86_400) == 1
    assert held(store, "old", "used", "new") == {"used", "new"}


def test_a_use_is_noted_once_an_hour(answers_file: Path) -> None:
    clock = Clock()
    store = AnswerStore(answers_file, now=clock)
    keep(store, "a")
    used = "SELECT used_at FROM answers"
    clock.time += answers.USE_GRAIN - 10
    held(store, "a")
    assert sqlite3.connect(answers_file).execute(used).fetchone() == (1_000_000_000,)
    clock.time += 20
    held(store, "a")
    assert sqlite3.connect(answers_file).execute(used).fetchone() == (int(clock.time),)


def test_prune_by_size_drops_the_least_recently_used_and_shrinks_the_file(answers_file: Path) -> None:
    clock = Clock()
    store = AnswerStore(answers_file, now=clock)
    for n in range(20):
        clock.time += 1
        store.put(MODEL, {key(f"{n} {k}"): (f"{n} {k}", "x" * 1000) for k in range(50)})
    limit = 400_000
    assert store.bytes_used() > 2 * limit
    dropped = store.prune(max_bytes=limit)
    assert 0 < dropped < 1000
    assert limit / 2 < store.bytes_used() <= limit
    assert answers_file.stat().st_size <= limit
    ages = [int(name.split()[0]) for name in held(store, *(f"{n} {k}" for n in range(20) for k in range(50)))]
    assert len(ages) == 1000 - dropped
    assert set(ages) == set(range(min(ages), 20)), "the newest are there"
    assert store.prune(max_bytes=limit) == 0


def test_prune_to_nothing(answers_file: Path) -> None:
    clock = Clock()
    store = AnswerStore(answers_file, now=clock)
    store.remember("embedded", identity())
    keep(store, "a", "b")
    assert store.prune(max_bytes=0) == 2
    assert store.models("openvino", "embedded") != [], "a run may have just begun"
    clock.time += 25 * answers.USE_GRAIN
    assert store.prune(keep_seconds=0) == 0
    assert store.models("openvino", "embedded") == []
    keep(store, "a")
    assert held(store, "a")
