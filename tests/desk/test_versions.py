"""Verdicts, regenerated reviews, confirmed facts, flags."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from panel.desk import DeskStore
from panel.desk.types import Blocked, FieldError, Forbidden, NotFound, WrongState
from panel.records import Beat
from tests.desk.state import ANN, BEA, ITEM, PLAIN, PRIMITIVE, put, redrafted, review_of, revision
from tests.fixtures_records import sample_data, tally, unscored

REVIEW = "smolagents-2/builder"
OTHER = "The primitive is clear: code that an agent writes is executed as Python, and nothing reaches the host machine."


# ------------------------------------------------------------------------------------------------------ verdicts


def test_an_overruled_verdict_is_the_editors_and_counts(store: DeskStore) -> None:
    before = store.item(ITEM).record.tools[0].panel
    store.overrule(ITEM, "smolagents-2", "builder", "skip", "It is too young.", revision=0, user=ANN)
    item = store.item(ITEM)
    assert (before.ship, before.percent) == (4, 100)
    assert (item.record.tools[0].panel.ship, item.record.tools[0].panel.percent) == (3, 75)
    assert item.record.reviewer_split[0].decisions["smolagents-2"] == "skip"
    assert item.record.pick.slug == "mistral-3b"
    told = item.overruled[REVIEW]
    assert (told.machine, told.decision, told.reason, told.by) == ("ship", "skip", "It is too young.", "Ann")
    review = review_of(item, "smolagents-2", "builder")
    assert (review.decision, review.p_ship) == ("skip", None)
    assert item.row.tools[0].percent == 75
    assert item.open_blockers == ()  # who overrules has seen that the quote says otherwise
    store.overrule(ITEM, "smolagents-2", "builder", None, "", revision=1, user=ANN)
    item = store.item(ITEM)
    assert item.overruled == {}
    assert item.record.tools[0].panel == before
    assert item.record.pick == item.draft.pick


def test_overruling_needs_a_reason_and_another_verdict(store: DeskStore) -> None:
    for decision, reason, says in (
        ("skip", "", "empty"), ("skip", " \n", "empty"), ("skip", "x" * 1001, "longer"), ("ship", "x", "ship itself"),
        ("maybe", "x", "ship or skip"),
    ):  # fmt: skip
        with pytest.raises(FieldError, match=says):
            store.overrule(ITEM, "smolagents-2", "builder", decision, reason, revision=0, user=ANN)  # type: ignore[arg-type]
    for tool, persona in (("nothing", "builder"), ("smolagents-2", "nobody")):
        with pytest.raises(NotFound):
            store.overrule(ITEM, tool, persona, "skip", "x", revision=0, user=ANN)
    assert revision(store) == 0


def test_an_unscored_review_gets_the_editors_verdict(tmp_path: Path) -> None:
    data = sample_data(1)
    unscored(data["tools"][0]["reviews"][0], "the engine stopped")
    tally(data)
    put(tmp_path, data, "alone")
    with closing(DeskStore(tmp_path)) as store:
        store.sync()
        assert [b.message for b in store.item("alone").blockers if b.kind == "unscored"] == [
            "is unscored: the engine stopped"
        ]
        store.overrule("alone", "smolagents-2", "builder", "ship", "I built with it.", revision=0, user=ANN)
        item = store.item("alone")
        assert [b for b in item.blockers if b.kind == "unscored"] == []
        assert item.record.tools[0].panel.unscored == 0
        assert item.overruled[REVIEW].machine == "unscored"


# ------------------------------------------------------------------------------------------------------ versions


def test_a_regenerated_review_waits_until_it_is_accepted(store: DeskStore) -> None:
    original = review_of(store.item(ITEM), "smolagents-2", "builder")
    offer = store.offer(ITEM, redrafted(original, primitive=OTHER), "smolagents-2", user=ANN, note="seed 2")
    assert (offer.version, offer.state, offer.by, offer.note) == (2, "open", "Ann", "seed 2")
    assert review_of(store.item(ITEM), "smolagents-2", "builder") == original
    assert revision(store) == 0
    store.accept(ITEM, offer.id, revision=0, user=ANN)
    item = store.item(ITEM)
    assert review_of(item, "smolagents-2", "builder").beats[0].text == OTHER
    assert review_of(item, "smolagents-2", "builder", machine=True) == original
    assert [(o.version, o.state) for o in item.offers[REVIEW]] == [(1, "old"), (2, "accepted")]
    assert item.texts[PRIMITIVE].draft == OTHER  # a machine's too
    # the old one is kept, and may come back
    store.accept(ITEM, item.offers[REVIEW][0].id, revision=1, user=ANN)
    item = store.item(ITEM)
    assert review_of(item, "smolagents-2", "builder") == original
    assert [(o.version, o.state) for o in item.offers[REVIEW]] == [(1, "accepted"), (2, "old")]


def test_accepting_whole_puts_edits_of_that_review_aside_and_undo_brings_them_back(store: DeskStore) -> None:
    elsewhere = "mistral-3b/builder/primitive"
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    store.save(ITEM, elsewhere, "The primitive is clear: the weights are open.", revision=1, user=ANN)
    original = review_of(store.item(ITEM), "smolagents-2", "builder", machine=True)
    offer = store.offer(ITEM, redrafted(original, primitive=OTHER), "smolagents-2", user=ANN)
    store.accept(ITEM, offer.id, revision=2, user=ANN)
    item = store.item(ITEM)
    assert (item.texts[PRIMITIVE].current, item.texts[PRIMITIVE].by) == (OTHER, None)
    assert item.texts[elsewhere].by == "Ann"
    store.undo(ITEM, revision=3, user=ANN)
    assert store.item(ITEM).texts[PRIMITIVE].current == PLAIN
    store.redo(ITEM, revision=4, user=ANN)
    assert store.item(ITEM).texts[PRIMITIVE].current == OTHER


def test_a_version_may_be_accepted_sentence_by_sentence(store: DeskStore) -> None:
    original = review_of(store.item(ITEM), "smolagents-2", "builder")
    bet = "Working with it stays pleasant, since a custom tool runs in the sandbox with no container."
    offer = store.offer(ITEM, redrafted(original, primitive=OTHER, dx_bet=bet), "smolagents-2", user=ANN)
    store.accept(ITEM, offer.id, revision=0, user=ANN, beats=["primitive"])
    review = review_of(store.item(ITEM), "smolagents-2", "builder")
    assert [beat.text for beat in review.beats[:2]] == [OTHER, original.beats[1].text]
    assert store.item(ITEM).offers[REVIEW][1].state == "open"
    assert not (review.beats[0].model_extra or {}).get("edited_by")  # the sentence is a machine's
    with pytest.raises(NotFound):
        store.accept(ITEM, offer.id, revision=1, user=ANN, beats=["nothing"])
    store.accept(ITEM, offer.id, revision=1, user=ANN, beats=["dx-bet"])
    assert review_of(store.item(ITEM), "smolagents-2", "builder").beats[1].text == bet


def test_a_version_may_be_declined_and_stays(store: DeskStore) -> None:
    original = review_of(store.item(ITEM), "smolagents-2", "builder")
    offer = store.offer(ITEM, redrafted(original, primitive=OTHER), "smolagents-2", user=ANN)
    assert store.decline(ITEM, offer.id, user=ANN).state == "declined"
    with pytest.raises(WrongState):
        store.decline(ITEM, offer.id, user=ANN)
    with pytest.raises(NotFound):
        store.decline(ITEM, 999, user=ANN)
    store.accept(ITEM, offer.id, revision=0, user=ANN)  # on second thoughts
    assert review_of(store.item(ITEM), "smolagents-2", "builder").beats[0].text == OTHER


def test_an_unscored_version_cannot_be_accepted(store: DeskStore) -> None:
    original = review_of(store.item(ITEM), "smolagents-2", "builder")
    failed = original.model_copy(update={"status": "unscored", "decision": None, "reason": "no", "beats": ()})
    offer = store.offer(ITEM, failed, "smolagents-2", user=ANN)
    with pytest.raises(WrongState, match="unscored"):
        store.accept(ITEM, offer.id, revision=0, user=ANN)
    with pytest.raises(NotFound):
        store.offer(ITEM, original, "nothing", user=ANN)
    large = original.model_copy(update={"quote": "x" * 300_000})
    with pytest.raises(FieldError, match="too large"):
        store.offer(ITEM, large, "smolagents-2", user=ANN)


# --------------------------------------------------------------------------------------------------- the rules


def test_what_is_typed_is_checked_by_the_rules_of_drafts(store: DeskStore) -> None:
    text = "The primitive is clear: 900 agents in Berlin use LangGraph inside WebAssembly."
    checked = store.check(ITEM, PRIMITIVE, text)
    assert [(text[s.start : s.end], s.level) for s in checked.spans] == [
        ("900", "ungrounded"), ("Berlin", "ungrounded"), ("LangGraph", "uncited"),
    ]  # fmt: skip
    assert checked.spans[2].why == "LangGraph is not in E1"
    assert revision(store) == 0
    assert [s.level for s in store.check(ITEM, PRIMITIVE, text, cites=["E1", "E7"]).spans] == ["ungrounded"] * 2
    draft = store.item(ITEM).texts[PRIMITIVE].draft
    assert store.check(ITEM, PRIMITIVE, draft) == store.item(ITEM).texts[PRIMITIVE].checked
    assert store.check(ITEM, PRIMITIVE, draft).spans == ()
    # number words are numbers, the first word of a sentence may be capitalised, the opening words are the persona's
    assert [s.text for s in store.check(ITEM, "smolagents-2/builder/quote", "Nine lives. It runs.").spans] == ["Nine"]
    assert store.check(ITEM, "smolagents-2/builder/moment-of-truth", "In the first ten minutes it helps.").spans == ()
    with pytest.raises(FieldError, match="longer"):
        store.check(ITEM, PRIMITIVE, "x" * (1 << 20))


def test_problems_of_a_sentence_are_flags(store: DeskStore) -> None:
    problems = store.check(ITEM, PRIMITIVE, "Bananas grow best beside warm rivers in spring.").problems
    assert "is not supported by E1" in problems
    denied = "The primitive is clear: code that an agent writes is not executed as Python inside a WebAssembly sandbox."
    assert "turns the sense of E1 around" in store.check(ITEM, PRIMITIVE, denied).problems
    assert store.check(ITEM, PRIMITIVE, PLAIN, cites=[]).problems == ("cites nothing",)


def test_an_ungrounded_number_blocks_until_it_is_confirmed(store: DeskStore, outputs: Path) -> None:
    text = "The primitive is clear: 901 agents in Berlin write Python."
    saved = store.save(ITEM, PRIMITIVE, text, revision=0, user=ANN)
    assert saved.open_blockers == 1
    (blocker,) = store.item(ITEM).open_blockers
    assert (blocker.kind, blocker.target, blocker.tool, blocker.persona) == (
        "ungrounded", PRIMITIVE, "smolagents-2", "builder",
    )  # fmt: skip
    assert blocker.message == "names 901, Berlin, which the dossier does not have"
    with pytest.raises(Forbidden, match="cannot be waived"):
        store.waive(ITEM, blocker.key, "I know", revision=1, user=ANN)
    with pytest.raises(Blocked) as refused:
        store.approve(ITEM, revision=1, user=BEA)
    assert refused.value.blockers == (blocker,)
    record = (outputs / ITEM / "comparison.json").read_bytes()
    saved = store.confirm(
        ITEM, "smolagents-2", "There are 901 agents in Berlin.", "https://example.org/berlin", "adoption",
        revision=1, user=ANN, target=PRIMITIVE,
    )  # fmt: skip
    assert saved.cites == ("E1", "E14")
    assert saved.checked.spans == ()
    assert saved.open_blockers == 0
    assert (outputs / ITEM / "comparison.json").read_bytes() == record
    first, second = store.dossier_versions("smolagents-2")
    assert [e.id for e in second.dossier.evidence][-1] == "E14"
    assert second.dossier.evidence[:-1] == first.dossier.evidence
    assert (second.version, second.by, second.note) == (2, "Ann", "E14 confirmed in example")
    item = store.item(ITEM)
    assert item.dossiers["smolagents-2"] == second
    assert item.record.tools[0].evidence == second.dossier.evidence
    assert item.draft.tools[0].evidence == first.dossier.evidence
    # one step back: the sentence cites it no more, and the item is held against the first version again
    store.undo(ITEM, revision=2, user=ANN)
    assert store.item(ITEM).dossiers["smolagents-2"] == first
    assert len(store.item(ITEM).open_blockers) == 1
    assert store.dossier_versions("smolagents-2") == (first, second)
    store.redo(ITEM, revision=3, user=ANN)
    assert store.item(ITEM).open_blockers == ()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"fact": ""}, "fact"), ({"fact": "x" * 401}, "fact"), ({"fact": "a\nb"}, "fact"),
        ({"fact": "a\u202eb"}, "fact"),
        ({"source": ""}, "source"), ({"source": "y" * (1 << 20)}, "source"), ({"kind": "gossip"}, "kind"),
        ({"target": "mistral-3b/builder/primitive"}, "target"), ({"target": "smolagents-2/builder/quote"}, "target"),
    ],
)  # fmt: skip
def test_a_fact_is_confirmed_with_all_that_evidence_needs(store: DeskStore, change: dict[str, str], field: str) -> None:
    given = {"fact": "A fact.", "source": "a book", "kind": "docs", "target": ""} | change
    with pytest.raises(FieldError) as refused:
        store.confirm(ITEM, "smolagents-2", revision=0, user=ANN, **given)
    assert refused.value.field == field
    assert len(str(refused.value)) < 400
    assert len(store.dossier_versions("smolagents-2")) == 1


def test_a_flag_is_waived_for_the_text_that_it_was_about(store: DeskStore) -> None:
    text = "The primitive is clear: a sandbox beside LangGraph, where agents write Python."
    store.save(ITEM, PRIMITIVE, text, revision=0, user=ANN)
    open_ = store.item(ITEM).open_blockers
    assert "names LangGraph, which E1 does not" in [b.message for b in open_]
    number = 1
    for blocker in open_:
        with pytest.raises(FieldError):
            store.waive(ITEM, blocker.key, "", revision=number, user=ANN)
        store.waive(ITEM, blocker.key, "Said in E7.", revision=number, user=ANN)
        number += 1
    item = store.item(ITEM)
    assert item.open_blockers == ()
    assert [b.waiver.reason for b in item.blockers if b.waiver] == ["Said in E7."] * len(open_)
    assert item.row.flagged == 0
    store.save(ITEM, PRIMITIVE, text.replace("beside", "like"), revision=number, user=ANN)
    assert len(store.item(ITEM).open_blockers) == len(open_)  # another text, another flag
    with pytest.raises(NotFound):
        store.waive(ITEM, "0" * 16, "x", revision=number + 1, user=ANN)


def test_a_text_that_argues_for_the_other_verdict_is_flagged(store: DeskStore) -> None:
    text = "The primitive is weak, since code that an agent writes is executed as Python inside a WebAssembly sandbox."
    store.save(ITEM, PRIMITIVE, text, revision=0, user=ANN)
    assert any("does not argue for ship" in b.message for b in store.item(ITEM).open_blockers)
    store.save(ITEM, PRIMITIVE, PLAIN, revision=1, user=ANN, cites=["E8"])
    assert any("rests on E8, which pulls the other way" in b.message for b in store.item(ITEM).open_blockers)


def test_the_shipped_example_has_nothing_against_it(store: DeskStore) -> None:
    """The desk holds a record to the rules that it was drafted by, so a fresh draft has no flags."""
    assert store.item(ITEM).blockers == ()


def test_a_dossier_written_by_hand_is_kept_and_known(store: DeskStore) -> None:
    version = store.item(ITEM).dossiers["mistral-3b"]
    assert version is not None
    assert store.known_tools() == (("mistral-3b", "Mistral 3B"), ("smolagents-2", "SmolAgents 2.0"))
    assert store.keep_dossier(version.dossier, user=ANN) == version
    new = version.dossier.model_copy(update={"slug": "another", "name": "Another"})
    kept = store.keep_dossier(new, user=ANN, note="from the form")
    assert (kept.version, kept.dossier, kept.by) == (1, new, "Ann")
    assert ("another", "Another") in store.known_tools()


def test_a_beat_of_the_machine_is_not_told_from_its_own_text(store: DeskStore) -> None:
    """Putting the draft's own words back is no edit."""
    draft = review_of(store.item(ITEM), "smolagents-2", "builder").beats[0]
    assert isinstance(draft, Beat)
    store.save(ITEM, PRIMITIVE, PLAIN, revision=0, user=ANN)
    store.save(ITEM, PRIMITIVE, draft.text, revision=1, user=ANN, cites=list(draft.cites))
    assert not store.item(ITEM).row.edited
