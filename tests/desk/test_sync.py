"""Taking in what runs write, and finding it in the queue."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from panel.desk import DeskStore
from panel.desk.queue import match_of
from panel.desk.reading import rows
from panel.desk.types import FieldError, QueueFilter
from tests.desk.state import ANN, BEA, ITEM, PLAIN, PRIMITIVE, approve, clock, example_data, put, put_example, revision
from tests.fixtures_records import sample_data, tally, unscored


@pytest.fixture
def several(tmp_path: Path) -> Any:
    """A store with five items: `example` (agreed), `split` (halved), `open` (unscored), `alone` (one tool), `plain`."""
    outputs = tmp_path / "outputs"
    put_example(outputs)
    data = example_data()
    for review in data["tools"][0]["reviews"][:2]:
        review.update(decision="skip", p_ship=0.4)
    data["tools"][0]["name"] = "Halved Tool"
    tally(data)
    put(outputs, data, "split")
    data = sample_data(2)
    unscored(data["tools"][0]["reviews"][0], "the engine stopped")
    tally(data)
    put(outputs, data, "open")
    put(outputs, sample_data(1), "alone")
    store = DeskStore(outputs, clock=clock())
    store.sync()
    with closing(store):
        yield store


def slugs(store: DeskStore, **show: Any) -> list[str]:
    return [row.slug for row in store.queue(QueueFilter(**show)).rows]


def test_every_record_becomes_an_item(several: DeskStore) -> None:
    page = several.queue()
    assert page.total == 4
    assert page.counts == {"draft": 4, "in review": 0, "approved": 0, "published": 0, "withdrawn": 0}
    by = {row.slug: row for row in page.rows}
    assert (by["alone"].kind, by["split"].kind) == ("review", "comparison")
    assert by["alone"].title == "SmolAgents 2.0"
    assert by["open"].unscored == 1
    assert [tool.percent for tool in by["example"].tools] == [100, 100]
    assert dict(by["open"].tools[0].decisions) == {
        "builder": "unscored", "competitor-analyst": "ship", "futurist": "ship", "business-buyer": "skip",
    }  # fmt: skip


def test_disagreements_come_first_and_what_is_done_last(several: DeskStore) -> None:
    order = slugs(several)
    assert order[0] == "split"
    assert order[-1] == "example"  # all agree, nothing is flagged
    approve(several)
    assert slugs(several)[-1] == "example"
    row = next(row for row in several.queue().rows if row.slug == "split")
    assert row.split == 1.0


def test_the_queue_is_filtered(several: DeskStore) -> None:
    assert slugs(several, only="unscored") == ["open"]
    assert slugs(several, only="split")[0] == "split"
    assert slugs(several, kind="review") == ["alone"]
    assert slugs(several, states=("approved",)) == []
    assert slugs(several, only="edited") == []
    several.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    assert slugs(several, only="edited") == slugs(several, states=("in review",)) == [ITEM]
    several.claim("alone", ANN)
    assert slugs(several, owner="Ann") == ["alone"]
    assert slugs(several, sort="title")[0] == "split"  # Halved before SmolAgents
    assert slugs(several, sort="updated")[0] == ITEM
    assert several.queue(offset=3, limit=2).total == 4
    assert len(several.queue(offset=3, limit=2).rows) == 1


def test_the_search_finds_words_of_names_quotes_and_evidence(several: DeskStore) -> None:
    assert slugs(several, query="halved") == ["split"]
    assert slugs(several, query="HALV") == ["split"]  # the last word may be a beginning
    assert slugs(several, query="halv ") == []
    assert slugs(several, query="halved sandbox") == ["split"]
    assert slugs(several, query="halved zebra") == []
    several.save(ITEM, "pick", "Zebras would pick Mistral.", revision=0, user=ANN)
    assert slugs(several, query="zebra") == [ITEM]
    several.undo(ITEM, revision=1, user=ANN)
    assert slugs(several, query="zebra") == []


@pytest.mark.parametrize(
    "query", ['"', "*", "a OR b", "NEAR(a b)", "title:x", "-x", "^x", "(", "a AND", "'; DROP TABLE items; --", "\x00"]
)
def test_a_query_is_words_and_never_an_operator(several: DeskStore, query: str) -> None:
    assert set(slugs(several, query=query)) <= {"alone", "example", "open", "split"}
    assert several.queue().total == 4


def test_a_query_has_an_end() -> None:
    with pytest.raises(FieldError, match="longer than 200"):
        match_of("x" * 201)


def test_syncing_again_changes_nothing(several: DeskStore) -> None:
    before = several.history()
    assert several.sync() == type(several.sync())((), (), ())
    assert several.history() == before


def test_an_untouched_item_takes_the_newer_record(store: DeskStore, outputs: Path) -> None:
    data = example_data()
    data["tools"][0]["tagline"] = "Something new"
    put(outputs, data, ITEM)
    assert store.sync().changed == (ITEM,)
    assert store.item(ITEM).record.tools[0].tagline == "Something new"
    assert store.item(ITEM).row.revision == 0


def test_a_touched_item_is_offered_what_differs(store: DeskStore, outputs: Path) -> None:
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    data = example_data()
    data["tools"][0]["tagline"] = "Something new"
    review = data["tools"][1]["reviews"][2]
    review["beats"][0]["text"] = "The thesis is that small models matter."
    review["quote"] = " ".join(beat["text"] for beat in review["beats"])
    put(outputs, data, ITEM)
    assert store.sync().changed == (ITEM,)
    item = store.item(ITEM)
    assert item.texts[PRIMITIVE].current == PLAIN
    assert item.record.tools[0].tagline != "Something new"
    ((target, versions),) = item.offers.items()
    assert target == "mistral-3b/futurist"
    assert [(v.version, v.state) for v in versions] == [(1, "accepted"), (2, "open")]
    assert item.row.revision == 1  # nothing that readers see has changed
    store.sync()
    assert len(store.item(ITEM).offers[target]) == 2


def test_an_approved_item_stays_as_it_was_approved(store: DeskStore, outputs: Path) -> None:
    approve(store)
    before = store.item(ITEM).record
    data = example_data()
    data["pick"]["why"] = "Because."
    put(outputs, data, ITEM)
    store.sync()
    assert store.item(ITEM).record == before


def test_what_is_no_record_is_reported_once_and_passed_over(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    put_example(outputs)
    twice = sample_data(2)
    twice["tools"][1]["slug"] = twice["tools"][0]["slug"]
    (outputs / "twice").mkdir()
    (outputs / "twice" / "comparison.json").write_text(json.dumps(twice))
    for name, text in {
        "junk": "{",
        "list": "[]",
        "other": '{"schema": "other/1"}',
        "large": "x" * (1 << 20) + "x",
    }.items():
        (outputs / name).mkdir()
        (outputs / name / "comparison.json").write_text(text)
    (outputs / "Bad Name").mkdir()
    (outputs / "Bad Name" / "comparison.json").write_text("{}")
    outside = tmp_path / "outside"
    put(tmp_path, sample_data(1), "outside")
    os.symlink(outside, outputs / "link")
    (outputs / "reviews").mkdir()
    with closing(DeskStore(outputs)) as store:
        report = store.sync()
        assert report.added == ("example",)
        assert [Path(path).parent.name for path, _ in report.problems] == ["junk", "large", "list", "other", "twice"]
        assert store.sync().problems == report.problems
        assert store.queue().total == 1


def test_a_missing_folder_is_an_empty_queue(tmp_path: Path) -> None:
    with closing(DeskStore(tmp_path / "nowhere" / "outputs")) as store:
        assert store.sync().added == ()
        assert store.queue().rows == ()


def test_a_hostile_card_is_shown_and_cannot_be_approved(tmp_path: Path) -> None:
    """A record may hold what no dossier may: marks that turn text around, half a megabyte in one field."""
    data = example_data()
    data["tools"][0].update(name="Evil\u202e<script>\x1b[2J", tagline="x" * 500_000)
    put(tmp_path, data, "evil")
    with closing(DeskStore(tmp_path)) as store:
        store.sync()
        row = store.queue().rows[0]
        assert row.title == "Evil<script>[2J vs Mistral 3B"
        assert row.tools[0].name == "Evil<script>[2J"
        item = store.item("evil")
        assert item.dossiers["smolagents-2"] is None
        (blocker,) = item.open_blockers
        assert "no valid dossier (name: contains the unprintable character U+202E" in blocker.message
        assert not blocker.waivable
        assert slugs(store, query="evil") == ["evil"]
        with pytest.raises(Exception, match="stand in the way"):
            store.approve("evil", revision=0, user=BEA)
        with pytest.raises(Exception, match="no valid dossier"):
            store.confirm("evil", "smolagents-2", "A fact.", "x", "docs", revision=0, user=ANN)


def test_flip_rates_raise_what_is_known_to_flip(several: DeskStore) -> None:
    assert several.queue().rows[-1].slug == "example"
    assert several.set_flip_rates({"mistral-3b": 0.4, "nothing": 0.1}) == 1
    row = next(row for row in several.queue().rows if row.slug == "example")
    assert row.flip_rate == 0.4
    assert [tool.flip_rate for tool in row.tools] == [None, 0.4]
    assert slugs(several, only="flips")
    several.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)  # and it stays
    assert several.item(ITEM).row.flip_rate == 0.4
    with pytest.raises(FieldError):
        several.set_flip_rates({"mistral-3b": 1.5})


def test_the_queue_reads_no_record_and_uses_its_indexes(several: DeskStore) -> None:
    with several._context.database.read() as connection:
        for where, order in (("", "urgency DESC, id"), ("WHERE state = 'draft' ", "urgency DESC, id")):
            sql = f"SELECT * FROM items {where}ORDER BY {order} LIMIT 50"  # noqa: S608 - as the queue makes it
            plan = rows(connection, f"EXPLAIN QUERY PLAN {sql}")
            assert all("USING INDEX" in row["detail"] for row in plan)
            assert not any("TEMP B-TREE" in row["detail"] for row in plan)
    assert revision(several) == 0
