"""What was finished is found again under its key, whole or not at all, and each computation is written down once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import panel.store
from panel.errors import SetupError
from panel.merge import merge
from panel.records import Comparison, Dossier, Provenance, Review
from panel.store import Store, review_key

PROVENANCE = Provenance(
    model="m", model_sha256="0", engine="e", engine_version="1", persona_sha256="0", prompt_sha256="0",
    dossier_sha256="0", seed=0,
)  # fmt: skip
REVIEW = Review(
    persona="builder", status="scored", decision="ship", p_ship=0.75, quote="So. “é”", provenance=PROVENANCE
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "outputs")


def save(store: Store, key: str = "k", tool: str = "a") -> None:
    store.save_review(tool, key, REVIEW, {"schema": "trace/1", "steps": []}, now="2025-01-01T00:00:00+00:00")


def journal(store: Store) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store.folder / "journal.jsonl").read_text().splitlines()]


# --------------------------------------------------------------------------------------------------------- key


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "other"), ("model_sha256", "1"), ("adapter_sha256", "1"), ("engine", "other"),
        ("engine_version", "2"), ("persona_sha256", "1"), ("prompt_sha256", "1"), ("dossier_sha256", "1"), ("seed", 1),
    ],
)  # fmt: skip
def test_the_key_follows_all_that_a_review_depends_on(field: str, value: object) -> None:
    assert review_key(PROVENANCE.model_copy(update={field: value}), "led") != review_key(PROVENANCE, "led")


def test_the_key_follows_the_loop_and_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = review_key(PROVENANCE, "led")
    assert review_key(PROVENANCE, "free") != before
    monkeypatch.setattr(panel.store, "PIPELINE", panel.store.PIPELINE + 1)
    assert review_key(PROVENANCE, "led") != before


def test_the_key_does_not_follow_what_a_review_cost() -> None:
    cost = {"prompt_tokens": 9, "completion_tokens": 9, "seconds": 9.0, "steps": 9}
    assert review_key(PROVENANCE.model_copy(update=cost), "led") == review_key(PROVENANCE, "led")
    assert len(review_key(PROVENANCE, "led")) == 16


# ------------------------------------------------------------------------------------------------------ reviews


def test_a_review_comes_back_as_it_went(store: Store) -> None:
    save(store)
    assert store.load_review("a", "builder", "k") == REVIEW
    for other in (("b", "builder", "k"), ("a", "futurist", "k"), ("a", "builder", "l")):
        assert store.load_review(*other) is None


@pytest.mark.parametrize("spoil", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"{}", lambda d: b"\xff" + d])
def test_half_a_review_is_none(store: Store, spoil: Callable[[bytes], bytes]) -> None:
    save(store)
    (path,) = (p for p in (store.folder / "reviews").iterdir() if not p.name.endswith(".trace.json"))
    path.write_bytes(spoil(path.read_bytes()))
    assert store.load_review("a", "builder", "k") is None
    save(store)
    assert store.load_review("a", "builder", "k") == REVIEW


def test_a_review_that_was_not_scored_is_not_taken_for_a_finished_one(store: Store) -> None:
    save(store)
    unscored = REVIEW.model_copy(update={"status": "unscored", "decision": None, "p_ship": None, "reason": "it broke"})
    (path,) = (p for p in (store.folder / "reviews").iterdir() if not p.name.endswith(".trace.json"))
    path.write_text(unscored.model_dump_json())
    assert store.load_review("a", "builder", "k") is None


def test_the_trace_of_a_failure_is_kept_and_is_no_review(store: Store) -> None:
    store.save_trace("a", "builder", "k", {"schema": "trace/1", "steps": [{"raw": "é"}]})
    (path,) = (store.folder / "reviews").iterdir()
    assert json.loads(path.read_text(encoding="utf-8"))["steps"] == [{"raw": "é"}]
    assert store.load_review("a", "builder", "k") is None
    assert not (store.folder / "journal.jsonl").exists()


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_review_is_the_last_of_its_files(store: Store, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    """Killed between any two writes, a review is there with its trace or is not there; it is never computed unseen."""
    real, written = panel.store.write_atomic, []

    def write(path: Path, text: str) -> None:
        written.append(path.name)
        if len(written) == fails_at:
            raise SetupError("cannot be written: no space", path=path, fix="make room")
        real(path, text)

    monkeypatch.setattr(panel.store, "write_atomic", write)
    with pytest.raises(SetupError):
        save(store)
    assert written == ["a.builder.k.trace.json", "a.builder.k.json"][:fails_at]
    assert store.load_review("a", "builder", "k") is None
    assert not (store.folder / "journal.jsonl").exists()


# ------------------------------------------------------------------------------------------------------ journal


def test_every_computation_is_a_line(store: Store) -> None:
    save(store, "k")
    save(store, "l", tool="b")
    save(store, "k")
    lines = journal(store)
    assert [(line["tool"], line["persona"], line["key"]) for line in lines] == [
        ("a", "builder", "k"), ("b", "builder", "l"), ("a", "builder", "k"),
    ]  # fmt: skip
    assert all(line["at"] == "2025-01-01T00:00:00+00:00" for line in lines)


def test_lines_do_not_mix(store: Store) -> None:
    threads = [threading.Thread(target=lambda n=n: [save(store, f"{n}-{i}") for i in range(10)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["key"] for line in journal(store)) == sorted(f"{n}-{i}" for n in range(4) for i in range(10))


def test_a_folder_that_cannot_be_written_is_an_error_a_person_can_mend(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file, and no folder")
    with pytest.raises(SetupError, match="Fix: choose a folder that you may write to"):
        save(Store(tmp_path / "outputs"))
    (tmp_path / "other" / "journal.jsonl").mkdir(parents=True)
    with pytest.raises(SetupError, match=r"journal\.jsonl: cannot be written"):
        save(Store(tmp_path / "other"))


# ------------------------------------------------------------------------------------------------------ folders


def record(dossier: Dossier, *slugs: str) -> Comparison:
    dossiers = [dossier.model_copy(update={"slug": slug}) for slug in slugs]
    return merge(dossiers, {slug: [REVIEW] for slug in slugs}, created="")


def test_one_folder_per_set_of_tools(store: Store, dossier: Dossier) -> None:
    assert store.comparison_folder(record(dossier, "a")) == store.folder / "a"
    assert store.comparison_folder(record(dossier, "a", "b")) == store.folder / "a-vs-b"


def test_many_tools_still_make_a_name_that_a_file_system_takes(store: Store, dossier: Dossier) -> None:
    slugs = [f"{letter}{'x' * 62}{letter}" for letter in "abcdefgh"]
    folder = store.comparison_folder(record(dossier, *slugs))
    assert len(folder.name) <= 120
    folder.mkdir(parents=True)
    # alike in their first hundred letters, and yet two
    assert store.comparison_folder(record(dossier, *slugs[:-1])) != folder
