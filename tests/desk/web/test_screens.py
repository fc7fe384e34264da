"""The screens and the changes, as forms that work without a script; what our script gets is the same in JSON."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from httpx import Response

from panel.desk import DeskStore
from panel.desk.types import User
from panel.desk.web.runs import MAX_WAITING, Opens, Runner
from panel.errors import EngineError, SetupError
from panel.records import Dossier
from panel.requests import Engine
from tests.desk.web.conftest import PAIR, Editor, put_record
from tests.fixtures_records import sample_data, unscored
from tests.html_page import Page

TARGET = "smolagents-2/builder/primitive"
FORM = {
    "name": "Lanternfish 1.2", "slug": "lanternfish", "category": "Databases", "tagline": "A small database",
    "summary": "Lanternfish 1.2 stores tables in one file.", "entry_price": "Free", "license": "",
    "rivals": "Quaydb\nBramble", "rival": "", "paste": "", "ship": "", "total": "", "source": "",
    "evidence.0.keep": "1", "evidence.0.id": "E1", "evidence.0.kind": "capability",
    "evidence.0.text": "Queries run in parallel across every core.", "evidence.0.source": "https://example.com/a",
    "evidence.1.id": "E2", "evidence.1.kind": "docs", "evidence.1.text": "It is dropped.", "evidence.1.source": "",
    "evidence.7.keep": "1", "evidence.7.id": "E3", "evidence.7.kind": "limitation",
    "evidence.7.text": "Backups stop while the index is rebuilt.", "evidence.7.source": "https://example.com/b",
}  # fmt: skip


def shown(answer: Response) -> Page:
    assert answer.status_code == 200, answer.text[:2000]
    return Page(answer.text)


def ended(runner: Runner, id: str) -> Any:
    job = runner.find(id)
    assert job is not None
    for _ in range(6000):
        if job.status not in ("waiting", "running"):
            return job
        time.sleep(0.05)
    raise AssertionError(f"still {job.status}")


# ------------------------------------------------------------------------------------------------------- the queue


def test_the_queue_shows_what_a_person_wants_to_know(anna: Editor) -> None:
    page = shown(anna.get("/"))
    rows = [text for a, text in page.all("tr") if "data-row" in a]
    assert len(rows) == 2
    pair = " ".join(next(text for text in rows if "Mistral 3B" in text).split())
    assert "SmolAgents 2.0 vs Mistral 3B" in pair
    assert "75%" in pair
    assert "3–1" in pair
    assert "draft" in pair
    assert ("SmolAgents 2.0: 3 ship, 1 skip, 0 unscored") in {a.get("aria-label") for a, _ in page.all("span")}


def test_filters_and_search(anna: Editor, outputs: Path, store: DeskStore) -> None:
    data = sample_data(3)
    unscored(data["tools"][2]["reviews"][0], "the cable is out")
    put_record(outputs, data)
    store.sync()

    def found(query: str) -> int:
        return len([1 for a, _ in shown(anna.get(f"/?{query}")).all("tr") if "data-row" in a])

    assert found("") == 3
    assert found("q=plainbox") == 1
    assert found("q=WebAssembly+sandbox") == 3
    assert found("q=nothing-like-it") == 0
    assert found("only=unscored") == 1
    assert found("state=draft") == 3
    assert found("state=published") == 0
    assert found("state=../../x&only=%00") == 3, "what is no filter filters nothing"
    assert anna.get("/?page=0").status_code == 422
    assert anna.get("/?q=" + "x" * 300).status_code == 422


def test_pages(anna: Editor, outputs: Path, store: DeskStore) -> None:
    for number in range(60):
        data = sample_data(1)
        data["tools"][0] |= {"slug": f"tool-{number}", "name": f"Tool {number}"}
        put_record(outputs, data)
    store.sync()
    first, second = (shown(anna.get(f"/?page={n}")) for n in (1, 2))
    names = [{a["data-row"] for a, _ in page.all("tr") if "data-row" in a} for page in (first, second)]
    assert [len(each) for each in names] == [50, 12]
    assert not names[0] & names[1]
    assert "51–62 of 62" in second.visible


# ----------------------------------------------------------------------------------------------------- one item


def test_the_review_screen_has_everything_beside_it(anna: Editor) -> None:
    page = shown(anna.get(f"/items/{PAIR}"))
    sentences = page.all("span", "sentence")
    assert len(sentences) == 2 * (5 + 4 + 5 + 4) + 2
    by_target = {a["data-target"]: a for a, _ in sentences}
    assert by_target[TARGET]["data-cites"] == "E1"
    evidence = [a for a, _ in page.all("li") if "data-id" in a]
    assert len(evidence) == 8 + 6
    bars = [a for a, _ in page.all("li") if "data-persona" in a]
    assert len(bars) == 4 * (8 + 6), "each reviewer's pull on each piece of evidence"
    labels = {a["for"] for a, _ in page.all("label") if "for" in a}
    fields = {a["id"] for tag, a in page.tags if tag in ("textarea", "select") and "id" in a}
    assert fields <= labels
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_an_edit_is_kept_beside_the_draft(anna: Editor, store: DeskStore) -> None:
    saved = anna.change("save", target=TARGET, text="The primitive is a loop, with 7777 users.", cites="E1, E2")
    assert saved.status_code == 200
    data = saved.json()
    assert [span["text"] for span in data["spans"]] == ["7777"]
    assert (data["revision"], data["state"], data["cites"]) == (1, "in review", ["E1", "E2"])
    text = store.item(PAIR).texts[TARGET]
    assert text.draft.startswith("The primitive is a loop that writes Python")
    pieces = anna.get(f"/items/{PAIR}/difference", params={"target": TARGET}).json()
    assert "".join(p["text"] for p in pieces if p["op"] != "gone") == text.current
    assert "".join(p["text"] for p in pieces if p["op"] != "new") == text.draft
    page = shown(anna.get(f"/items/{PAIR}"))
    assert [t for _, t in page.all("mark", "ungrounded")][:1] == ["7777"]
    undone = anna.change("undo").json()
    assert (undone["target"], undone["text"]) == (TARGET, text.draft)
    assert anna.change("redo").json()["text"] == text.current


def test_a_form_without_script_does_the_same(anna: Editor, store: DeskStore) -> None:
    fields = {"target": TARGET, "text": "It is short.", "revision": 0}
    answer = anna.post(f"/items/{PAIR}/save", json=False, headers={"x-csrf-token": ""}, csrf=anna.csrf, **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/items/{PAIR}?done=saved")
    assert "Saved." in anna.get(answer.headers["location"]).text
    assert store.item(PAIR).texts[TARGET].current == "It is short."


def test_the_second_editor_is_told(editor: Callable[..., Editor], store: DeskStore) -> None:
    anna, ben = editor(), editor("Ben", "editor")
    assert ben.post(f"/items/{PAIR}/save", revision=0, target=TARGET, text="Ben wrote this.").status_code == 200
    refused = anna.post(f"/items/{PAIR}/save", revision=0, target=TARGET, text="Anna wrote that.")
    assert refused.status_code == 409
    (change,) = refused.json()["changes"]
    assert (change["by"], change["target"], change["text"]) == ("Ben", TARGET, "Ben wrote this.")
    plain = anna.post(f"/items/{PAIR}/save", json=False, revision=0, target=TARGET, text="Anna wrote that.")
    assert plain.status_code == 409
    both = Page(plain.text)
    assert "Ben wrote this." in both.visible
    assert [text for _, text in both.all("textarea")] == ["Anna wrote that."]
    assert store.item(PAIR).texts[TARGET].current == "Ben wrote this."


def test_what_cannot_be_taken_is_said_at_its_field(anna: Editor) -> None:
    for fields, field in (
        ({"text": "x" * 1001}, "text"), ({"text": "a\u202eb"}, "text"), ({"text": "a\x1bb"}, "text"),
        ({"text": "It.", "cites": "E99"}, "cites"), ({"text": "It.", "revision": "x"}, "revision"),
    ):  # fmt: skip
        answer = anna.change("save", **({"target": TARGET} | fields))
        assert answer.status_code == 422, fields
        assert answer.json()["field"] == field
    assert anna.revision() == 0


def test_overruling_needs_a_reason_and_is_shown_as_the_editors(anna: Editor) -> None:
    whose = {"tool": "smolagents-2", "persona": "business-buyer"}
    assert anna.change("overrule", decision="ship", reason="", **whose).status_code == 422
    assert anna.change("overrule", decision="maybe", reason="So.", **whose).status_code == 422
    assert anna.change("overrule", decision="ship", reason="So.", tool="smolagents-2", persona="x").status_code == 404
    assert anna.change("overrule", decision="ship", reason="They answered.", **whose).status_code == 200
    page = shown(anna.get(f"/items/{PAIR}"))
    assert "verdict of Anna, the reviewer said skip" in page.visible
    assert "They answered." in page.visible
    assert "100%" in page.visible


def test_a_confirmed_fact_becomes_evidence(anna: Editor, store: DeskStore) -> None:
    anna.change("save", target=TARGET, text="The primitive is a loop, with 7777 users.")
    fields = {"tool": "smolagents-2", "target": TARGET, "kind": "adoption", "source": "https://example.com/users"}
    assert anna.change("confirm", fact="", **fields).status_code == 422
    saved = anna.change("confirm", fact="It has 7777 users.", **fields).json()
    assert saved["spans"] == []
    assert saved["cites"][-1] == "E9"
    assert "confirmed here" in shown(anna.get(f"/items/{PAIR}")).visible


def test_what_is_in_the_way_is_listed_and_can_be_waived(anna: Editor, store: DeskStore) -> None:
    item = store.item(PAIR)
    assert item.open_blockers, "the sample is not spotless"
    refused = anna.change("approve")
    assert refused.status_code == 409
    assert len(refused.json()["blockers"]) == len(item.open_blockers)
    page = shown(anna.get(f"/items/{PAIR}"))
    (approve,) = [a for a, _ in page.all("button") if a.get("id") == "approve"]
    assert "disabled" in approve
    for blocker in item.open_blockers[:3]:
        assert " ".join(blocker.message.split()) in page.visible
    flag = next(b for b in item.open_blockers if b.waivable)
    assert anna.change("waive", key=flag.key, reason="").status_code == 422
    assert anna.change("waive", key=flag.key, reason="It does.").json()["open"] == len(item.open_blockers) - 1
    hard = [b for b in item.open_blockers if not b.waivable]
    assert all(anna.change("waive", key=b.key, reason="It does.").status_code == 403 for b in hard)


def test_from_approval_to_withdrawal(anna: Editor, cleared: Callable[..., None], store: DeskStore) -> None:
    cleared()
    assert anna.change("publish").status_code == 409
    assert anna.change("approve").status_code == 200
    assert anna.change("save", target=TARGET, text="Too late.").status_code == 409
    assert anna.change("regenerate", tool="smolagents-2", persona="builder").status_code == 409
    assert anna.change("publish").status_code == 200
    folder = store.site / PAIR
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert anna.change("publish").status_code == 200
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert anna.change("withdraw", reason="").status_code == 422
    assert anna.change("withdraw", reason="The maker asked.").status_code == 200
    assert "The maker asked." in (folder / "index.html").read_text(encoding="utf-8")
    history = shown(anna.get(f"/items/{PAIR}/history")).visible
    for words in ("approve", "publish", "withdraw", "Anna"):
        assert words in history
    assert anna.change("reopen").status_code == 200
    assert store.item(PAIR).row.state == "in review"


def test_the_preview_is_the_page_that_readers_get(anna: Editor) -> None:
    anna.change("save", target=TARGET, text="It is short.")
    page = shown(anna.get(f"/items/{PAIR}/preview"))
    assert "It is short." in page.visible
    assert not page.all("script")


# ------------------------------------------------------------------------------------------------- the new tool


def test_a_form_becomes_a_run_and_a_draft(anna: Editor, runner: Runner, store: DeskStore) -> None:
    answer = anna.post("/new", json=False, do="start", **{**FORM, "rival": "mistral-3b"})
    assert answer.status_code == 303
    job = ended(runner, answer.headers["location"].removeprefix("/runs/"))
    assert (job.status, job.problem) == ("done", "")
    assert job.result == "lanternfish-vs-mistral-3b"
    item = store.item(job.result)
    assert [e.id for e in item.record.tools[0].evidence] == ["E1", "E3"], "what was dropped is not in it"
    assert item.record.tools[0].rivals == ("Quaydb", "Bramble")
    page = shown(anna.get(answer.headers["location"]))
    assert page.visible.count("done") >= 8
    assert len(page.all("article", "lane")) == 8
    assert "E1" in page.visible
    assert "Lanternfish" in shown(anna.get("/runs")).visible


def test_watching_a_run(anna: Editor, runner: Runner) -> None:
    where = anna.post("/new", json=False, do="start", **FORM).headers["location"]
    ended(runner, where.removeprefix("/runs/"))
    text = anna.get(f"{where}/events").text
    told = [json.loads(line) for line in re.findall(r"(?m)^data: (.*)$", text)]
    assert [one["what"] for one in told if not one["tool"]] == ["waiting", "loading", "done"]
    assert told[-1]["result"] == "lanternfish"
    builder = [one["what"] for one in told if one["persona"] == "builder"]
    assert builder[:2] == ["started", "weigh_evidence"]
    assert builder[-1] == "scored"
    weighed = next(one["about"] for one in told if one["what"] == "weigh_evidence")
    assert sorted(one.split()[0] for one in weighed) == ["E1", "E3"]
    assert all(re.fullmatch(r"E\d+\u00a0[+-]\d+\.\d", one) for one in weighed)
    first, second = (abs(float(one.split()[1])) for one in weighed)
    assert first >= second
    page = shown(anna.get(where))
    filled = [chip for chip, _ in page.all("span", "chip") if "read" in chip["class"].split()]
    assert len(filled) == sum(len(one["about"]) for one in told if one["what"] == "read_evidence")
    assert weighed[0].split()[1].replace("-", "−") in page.visible
    read = [one["about"] for one in told if one["what"] == "read_evidence"]
    assert {id for each in read for id in each} <= {"E1", "E3"}
    assert read
    # whoever was cut off gets what came since, and not the rest again
    later = anna.get(f"{where}/events", headers={"last-event-id": str(len(told) - 3)}).text
    assert len(re.findall("(?m)^data: ", later)) == 2


def test_the_form_says_everything_that_is_wrong(anna: Editor, runner: Runner) -> None:
    wrong = {**FORM, "name": "", "slug": "Not A Slug", "evidence.7.source": "", "evidence.0.kind": "gossip"}
    answer = anna.post("/new", json=False, do="start", **wrong)
    assert answer.status_code == 422
    page = Page(answer.text)
    errors = {a["data-error"]: text for a, text in page.all("p", "error") if text}
    # rows are numbered anew: E3 is the third of those that were sent
    assert set(errors) == {"name", "slug", "evidence.2.source", "evidence.0.kind"}
    assert {a["name"] for _, a in page.tags if a.get("aria-invalid") == "true"} == set(errors)
    assert runner.jobs() == []
    checked = anna.post("/new/check", **wrong).json()
    assert {one["field"] for one in checked["problems"]} == set(errors)
    assert not checked["whole"]
    assert anna.post("/new/check", **FORM).json() == {"problems": [], "known": False, "whole": True}


def test_a_pasted_text_becomes_rows(anna: Editor) -> None:
    text = "Queries run in parallel across every core. A plan for small teams costs $12 per seat. Sign in"
    found = anna.post("/new/candidates", paste=text, first="4").json()
    assert [one["id"] for one in found["candidates"]] == ["E4", "E5"]
    assert [one["kind"] for one in found["candidates"]] == ["capability", "pricing"]
    page = shown(anna.post("/new", json=False, do="paste", **{**FORM, "paste": text, "source": "https://example.com"}))
    rows = [t for a, t in page.all("textarea") if (a.get("name") or "").startswith("evidence.")]
    # the textarea of the template, which the script copies, is the last
    assert [row.strip() for row in rows][-3:] == [*(one["text"] for one in found["candidates"]), ""]
    assert anna.post("/new/candidates", paste=text, first="x").status_code == 422


def test_a_tool_is_not_its_own_rival(anna: Editor) -> None:
    assert (
        anna.post("/new", json=False, do="start", **{**FORM, "slug": "mistral-3b", "rival": "mistral-3b"}).status_code
        == 422
    )
    assert anna.post("/new", json=False, do="start", **{**FORM, "rival": "../x"}).status_code == 404


# ---------------------------------------------------------------------------------------------------------- runs


def test_one_reviewer_is_asked_again(anna: Editor, runner: Runner, store: DeskStore) -> None:
    before = store.item(PAIR)
    run = anna.change("regenerate", tool="mistral-3b", persona="futurist").json()["run"]
    job = ended(runner, run)
    assert (job.status, job.problem, job.result) == ("done", "", PAIR)
    item = store.item(PAIR)
    assert item.record == before.record, "an offer changes nothing that readers see"
    offer = next(o for o in item.offers["mistral-3b/futurist"] if o.state == "open")
    assert offer.review.provenance.seed == 8, "the sample has seed 7"
    page = shown(anna.get(f"/items/{PAIR}"))
    assert "Version 2" in page.visible
    name = offer.review.beats[0].name
    assert anna.change("accept", offer=offer.id, part="1").status_code == 422
    assert anna.change("accept", offer=offer.id, part="1", beat=name).status_code == 200
    assert store.item(PAIR).texts[f"mistral-3b/futurist/{name}"].current == offer.review.beats[0].text
    assert anna.change("accept", offer=offer.id).status_code == 200
    assert anna.change("accept", offer=999).status_code == 404


def test_a_run_that_fails_says_why_and_the_next_one_goes_on(
    anna: Editor, runner: Runner, monkeypatch: pytest.MonkeyPatch, opens: Opens
) -> None:
    def broken(_: object) -> Engine:
        raise EngineError("the model is not there", hint="pull it")

    monkeypatch.setattr(runner, "_opens", broken)
    first = anna.post("/new", json=False, do="start", **FORM).headers["location"]
    job = ended(runner, first.removeprefix("/runs/"))
    assert job.status == "failed"
    assert "the model is not there. pull it" in shown(anna.get(first)).visible
    monkeypatch.setattr(runner, "_opens", opens)
    second = anna.post("/new", json=False, do="start", **FORM).headers["location"]
    assert ended(runner, second.removeprefix("/runs/")).status == "done"


def test_the_engine_is_opened_once(store: DeskStore, outputs: Path, opens: Opens, other_dossier: Dossier) -> None:
    opened = []

    def counting(on_load: Callable[[], None]) -> Engine:
        opened.append(1)
        return opens(on_load)

    runner = Runner(store, outputs, counting)
    runner.start()
    jobs = [runner.compare([other_dossier], User("Anna", "editor")) for _ in range(2)]
    assert [ended(runner, job.id).status for job in jobs] == ["done", "done"]
    assert opened == [1]
    runner.stop()


def test_what_waits_can_be_cancelled_and_is_bounded(
    store: DeskStore, outputs: Path, opens: Opens, other_dossier: Dossier
) -> None:
    runner = Runner(store, outputs, opens)  # not started: everything waits
    jobs = [runner.compare([other_dossier], User("Anna", "editor")) for _ in range(MAX_WAITING)]
    with pytest.raises(SetupError, match="waiting"):
        runner.compare([other_dossier], User("Anna", "editor"))
    assert runner.cancel(jobs[0])
    assert not runner.cancel(jobs[0])
    runner.compare([other_dossier], User("Anna", "editor"))
    runner.start()
    runner.stop()


def test_only_who_asked_or_an_approver_cancels(
    editor: Callable[..., Editor], runner: Runner, other_dossier: Dossier
) -> None:
    ben = editor("Ben", "editor")
    job = runner.compare([other_dossier], User("Cleo", "editor"))
    assert ben.post(f"/runs/{job.id}/cancel").status_code == 403
    assert ben.post("/runs/nowhere/cancel").status_code == 404
    ended(runner, job.id)
    assert editor().post(f"/runs/{job.id}/cancel").status_code == 409


# ----------------------------------------------------------------------------------------------------- statistics


def test_statistics_and_exports(anna: Editor, cleared: Callable[..., None]) -> None:
    anna.change("save", target=TARGET, text="It is short.")
    whose = {"tool": "smolagents-2", "persona": "business-buyer"}
    anna.change("overrule", decision="ship", reason="They answered.", **whose)
    page = shown(anna.get("/statistics"))
    assert "They answered." in page.visible
    assert "primitive" in page.visible
    table = anna.get("/exports/draft-against-final.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert "It is short." in table.text
    cleared()
    assert anna.change("approve").status_code == 200
    packed = zipfile.ZipFile(io.BytesIO(anna.get("/exports/gold.zip").content))
    assert "cases/smolagents-2/gold.yaml" in packed.namelist()
    assert anna.get("/exports/desk.sqlite").status_code == 303
