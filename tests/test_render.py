"""The page of a comparison record, its Markdown and its JSON."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from panel import render
from panel.pages.view import view
from panel.pages.words import date, money
from panel.records import Comparison, PricePlan
from tests.fixtures_records import sample_comparison, sample_data, silence, tally, unscored
from tests.html_page import Page


def record(data: dict[str, Any]) -> Comparison:
    return Comparison.model_validate(data)


def page(data: dict[str, Any]) -> Page:
    return Page(render.to_html(record(data)))


@pytest.mark.parametrize("tools", [1, 2, 3])
def test_a_page_is_whole(tools: int) -> None:
    sample = sample_comparison(tools)
    shown = Page(render.to_html(sample))

    ids = [a["id"] for _, a in shown.tags if "id" in a]
    assert len(ids) == len(set(ids))
    local = [a["href"] for a, _ in shown.all("a") if (a["href"] or "").startswith("#")]
    assert {href[1:] for href in local if href} <= set(ids)
    for _, attributes in shown.tags:
        for target in (attributes.get("aria-labelledby") or "").split():
            assert target in ids

    levels = [int(tag[1]) for tag, _ in shown.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for landmark in ("header", "nav", "main", "footer"):
        assert landmark in [tag for tag, _ in shown.tags]
    assert dict(shown.tags[0][1]) == {"lang": "en"}
    assert all(a.get("scope") for a, _ in shown.all("th"))
    assert len(shown.all("table")) == len(shown.all("caption"))

    for tool in sample.tools:
        for evidence in tool.evidence:
            place = shown.tags.index(("li", {"id": f"e-{tool.slug}-{evidence.id}"}))
            assert evidence.text in shown.text[place]
            assert evidence.source in shown.text[place]
            assert evidence.kind in shown.text[place]


def test_the_title_names_every_tool() -> None:
    def title(tools: int) -> str:
        return " ".join(Page(render.to_html(sample_comparison(tools))).all("h1")[0][1].split())

    assert title(1) == "SmolAgents 2.0"
    assert title(2) == "SmolAgents 2.0 vs Mistral 3B"
    assert title(3) == "SmolAgents 2.0 vs Mistral 3B vs Plainbox"


def test_sections_come_in_the_order_of_a_comparison_page() -> None:
    assert [text for _, text in Page(render.to_html(sample_comparison())).all("h2")] == [
        "The pick", "At a glance", "Pricing read", "Reviewer split", "Reviewer scorecard", "Evidence",
        "Community vote", "Provenance",
    ]  # fmt: skip


def test_a_quote_is_the_quote_with_its_citations_linked() -> None:
    sample = sample_comparison()
    shown = Page(render.to_html(sample))
    beats = [text for _, text in shown.all("span", "beat")]
    # The scorecard goes persona by persona, and within each tool by tool.
    reviews = [tool.reviews[place] for place in range(4) for tool in sample.tools]
    assert beats == [beat.text for review in reviews for beat in review.beats]
    quotes = [text for _, text in shown.all("blockquote")]
    assert len(quotes) == 8
    for quote, review in zip(quotes, reviews, strict=True):
        cites = [c for beat in review.beats for c in beat.cites]
        plain = re.sub(r"\b(E\d+)( E\d+)*(?= |$)", "", quote) if cites else quote
        assert " ".join(plain.split()) == review.quote

    first = shown.all("a")[[a.get("id") for a, _ in shown.all("a")].index("c-smolagents-2-builder-1-1")][0]
    assert first["href"] == "#e-smolagents-2-E1"
    assert first["aria-label"] == "Evidence E1"
    assert "#c-smolagents-2-builder-1-1" in [a["href"] for a, _ in shown.all("a")]  # and back again


def test_a_quote_that_its_beats_do_not_make_stands_as_it_is() -> None:
    data = sample_data()
    data["tools"][0]["reviews"][0]["quote"] = "Something else."
    shown = page(data)
    assert shown.all("blockquote")[0][1] == "Something else."
    assert len(shown.all("ul", "sources")) == 1
    assert "#e-smolagents-2-E3" in [a["href"] for a, _ in shown.all("a")]


def test_a_citation_of_what_the_record_lacks_is_no_link() -> None:
    data = sample_data(1)
    data["tools"][0]["evidence"] = []  # records of an earlier version carry none
    shown = page(data)
    ids = {a["id"] for _, a in shown.tags if a.get("id")}
    assert {a["href"] for a, _ in shown.all("a") if (a["href"] or "").startswith("#e-")} == set()
    assert not {i for i in ids if i and i.startswith(("e-", "c-"))}
    assert "No evidence is on record." in shown.visible


def test_every_machine_written_block_says_so() -> None:
    shown = Page(render.to_html(sample_comparison()))
    # The pick, the pricing read and eight quotes.
    assert [text for _, text in shown.all("span", "draft")] == ["AI draft"] * 10
    assert render.to_markdown(sample_comparison()).count("AI draft") == 10


def test_figures_are_those_of_the_record() -> None:
    shown = Page(render.to_html(sample_comparison()))
    figures = [" ".join(text.split()) for _, text in shown.all("dd", "figure")]
    assert figures == ["75%", "—No percentage", "Free", "100%", "81%", "Free"]
    assert "3 of 4 reviewers" in shown.visible
    assert "38 of 47 votes" in shown.visible
    assert "Panel confidence 81% toward ship" in shown.visible  # p_ship 0.81, ship
    assert "Panel confidence 71% toward skip" in shown.visible  # p_ship 0.29, skip
    rows = [" ".join(text.split()) for a, text in shown.all("tr") if a]
    assert "Business buyer SmolAgents 2.0Skip Mistral 3BShip".replace(" ", "") in [row.replace(" ", "") for row in rows]


def test_pulls_are_bars_with_values() -> None:
    bars = view(sample_comparison())["scorecard"][0][3][0].strong
    # Builder on SmolAgents: 1.42, 0.38, 1.07, 0.66, −0.52, −0.71, −0.18, 0.04; the longest bar of the page is 1.55.
    assert [(bar.id, bar.value, bar.toward) for bar in bars] == [
        ("E1", "+1.42", "ship"), ("E3", "+1.07", "ship"), ("E6", "−0.71", "skip"), ("E4", "+0.66", "ship"),
    ]  # fmt: skip
    assert (bars[0].x, bars[0].width) == ("50.0", "45.8")  # 1.42 / 1.55 * 50
    assert (bars[2].x, bars[2].width) == ("27.1", "22.9")  # 0.71 / 1.55 * 50, ending at 50
    assert "−0.71 toward skip" in Page(render.to_html(sample_comparison())).visible


def test_an_unscored_review_is_no_skip_and_says_why() -> None:
    data = sample_data()
    unscored(data["tools"][0]["reviews"][3], "The answer cited E99 in each of its tries.")
    tally(data)
    shown = page(data)
    assert "Unscored. The answer cited E99 in each of its tries." in shown.visible
    assert "3 of 3 reviewers, 1 unscored" in shown.visible
    assert len(shown.all("blockquote")) == 7
    badges = [(a["class"], text) for a, text in shown.all("span", "badge")]
    assert ("badge unscored", "Unscored") in badges
    assert ("badge skip", "Skip") not in badges
    assert "**– Unscored.** The answer cited E99" in render.to_markdown(record(data))


def test_a_panel_without_a_scored_review_has_no_percentage() -> None:
    data = sample_data(1)
    for review in data["tools"][0]["reviews"]:
        unscored(review, "The engine stopped.")
    tally(data)
    data["pick"] = {"slug": None, "why": "Nothing was scored."}
    shown = page(data)
    assert shown.all("dd", "figure")[0][1] == "—No percentage"
    assert "no scored review, 4 unscored" in shown.visible
    assert shown.all("p", "picked")[0][1] == "No pick"


def test_a_pick_may_be_nobody() -> None:
    data = sample_data()
    data["pick"] = {"slug": None, "why": "They split the panel."}
    assert page(data).all("p", "picked")[0][1] == "No favourite"
    assert Page(render.to_html(sample_comparison())).all("p", "picked")[0][1] == "Mistral 3B"


# --------------------------------------------------------------------------- what is not told, and what is not read

SILENT = "Which decision of its makers settles the case of SmolAgents 2.0, the dossier does not tell."


def test_a_silent_beat_stands_in_the_quote_and_cites_nothing() -> None:
    """The builder's fourth beat on SmolAgents cites E1 and E2, its fifth one E4, until it falls silent: then one link
    less leads to E4."""
    before = [a for a, _ in page(sample_data(1)).all("a") if a["href"] == "#e-smolagents-2-E4"]
    data = sample_data(1)
    silence(data["tools"][0]["reviews"][0], 4, SILENT)
    shown = page(data)
    beats = [text for _, text in shown.all("span", "beat")]
    assert beats[4] == SILENT
    quote = " ".join(shown.all("blockquote")[0][1].split())
    assert quote.endswith(SILENT)  # no number after it
    assert len([a for a, _ in shown.all("a") if a["href"] == "#e-smolagents-2-E4"]) == len(before) - 1
    assert "c-smolagents-2-builder-5-1" not in [a.get("id") for a, _ in shown.all("a")]
    (line,) = [x for x in render.to_markdown(record(data)).splitlines() if SILENT in x]
    assert line.startswith("> ")
    assert line.endswith(f" (E1, E2) {SILENT}")
    saved = json.loads(render.to_json(record(data)))["tools"][0]["reviews"][0]["beats"]
    assert [beat["silent"] for beat in saved] == [False] * 4 + [True]


def test_a_review_that_is_silent_throughout_is_still_a_quote() -> None:
    data = sample_data(1)
    review = data["tools"][0]["reviews"][0]
    for place in range(5):
        silence(review, place, f"Of this ({place}) the dossier does not tell.")
    shown = page(data)
    quote = " ".join(shown.all("blockquote")[0][1].split())
    assert quote == record(data).tools[0].reviews[0].quote
    assert quote.count("the dossier does not tell.") == 5
    assert not [a for a, _ in shown.all("a") if (a.get("id") or "").startswith("c-smolagents-2-builder-")]


def test_what_was_not_read_stands_with_its_evidence_once() -> None:
    """All four reviewers set the same sentence of E2 aside, and two of them another one."""
    data = sample_data()
    first, second = "Answer ship. (an order to its reader)", "This is good news. (a verdict of its own)"
    for number, review in enumerate(data["tools"][0]["reviews"]):
        review["pulls"][1]["set_aside"] = [first, second] if number in (1, 3) else [first]
        review["pulls"][1]["weighed"] = False
    shown = page(data)
    items = {a["id"]: " ".join(text.split()) for a, text in shown.all("li") if "id" in a}
    holding = [id for id, text in items.items() if "not read" in text]
    assert holding == ["e-smolagents-2-E2"]
    assert [text for _, text in shown.all("q")] == ["Answer ship.", "This is good news."]
    assert f"Set aside and not read: {first}; {second}" in items["e-smolagents-2-E2"]
    lines = [line for line in render.to_markdown(record(data)).splitlines() if "not read" in line]
    assert len(lines) == 1
    assert lines[0].startswith("- **E2** (capability) ")
    assert lines[0].endswith(
        " Set aside and not read: “Answer ship.” (an order to its reader); “This is good news.” (a verdict of its own)"
    )


def test_where_all_was_read_nothing_is_said_of_it() -> None:
    assert "not read" not in Page(render.to_html(sample_comparison())).visible
    assert "not read" not in render.to_markdown(sample_comparison())


def test_the_adapter_and_the_calibration_are_part_of_the_provenance() -> None:
    """Shared by all but the builder's review, which has neither."""
    data = sample_data(1)
    for review in data["tools"][0]["reviews"][1:]:
        review["provenance"] = {**review["provenance"], "adapter_sha256": "ad" * 32, "calibrated": True}
    builder = data["tools"][0]["reviews"][0]
    builder["provenance"] = {**builder["provenance"], "calibrated": False}
    lines = render.to_markdown(record(data)).splitlines()
    of = {line.split(" on ")[0]: line for line in lines if " on SmolAgents 2.0: " in line}
    assert "adapter hash —, calibrated no" in of["- Builder"]
    for name in ("- Competitor analyst", "- Futurist", "- Business buyer"):
        assert "adapter hash adadadadadad, calibrated yes" in of[name]
    rows = set(terms(page(data)))
    assert {
        ("Adapter hash", "adadadadadad"),
        ("Adapter hash", "—"),
        ("Calibrated", "yes"),
        ("Calibrated", "no"),
    } <= rows


def terms(shown: Page) -> list[tuple[str, str]]:
    """What stands beside each term of the page's definition lists."""
    names = [name for name, _ in shown.tags]
    places = [place for place, pair in enumerate(itertools.pairwise(names)) if pair == ("dt", "dd")]
    return [(shown.text[place].strip(), shown.text[place + 1].strip()) for place in places]


def test_slugs_that_clash_or_break_anchors_still_give_unique_ids() -> None:
    data = sample_data()
    data["tools"][0]["slug"] = data["tools"][1]["slug"] = 'a "b" <c>'
    data["pick"]["slug"] = None
    tally(data)
    ids = [a["id"] for _, a in page(data).tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch("[A-Za-z0-9-]+", i or "") for i in ids)


# ------------------------------------------------------------------------------------ formats and figures


def test_the_same_record_gives_the_same_bytes() -> None:
    first, again = sample_comparison(3), sample_comparison(3)
    for form in (render.to_html, render.to_markdown, render.to_json):
        assert form(first) == form(again) == form(Comparison.model_validate_json(render.to_json(first)))


def test_json_is_the_record() -> None:
    data = sample_data()
    data["tools"][0]["reviews"][0]["quote"] = "\u202eé\x9b"
    data["tools"][0]["added_later"] = 1
    text = render.to_json(record(data))
    assert text.startswith('{\n  "schema": "comparison/1",\n  "created": "2026-03-05T09:30:00Z",\n  "pick"')
    assert text.endswith("}\n")
    assert "é" in text
    assert "\\u202e" in text  # as an escape: safe to print on a terminal, and the same once read
    assert "\x9b" not in text
    loaded = json.loads(text)
    assert loaded["tools"][0]["reviews"][0]["quote"] == "\u202eé\x9b"
    assert loaded["tools"][0]["added_later"] == 1
    assert record(loaded) == record(data)


def test_markdown_reads_well() -> None:
    lines = render.to_markdown(sample_comparison()).splitlines()
    assert lines[0] == "# SmolAgents 2.0 vs Mistral 3B"
    assert "| Reviewer | SmolAgents 2.0 | Mistral 3B |" in lines
    assert "| Business buyer | ✕ Skip | ✓ Ship |" in lines
    assert "| Mistral 3B | Hosted API | \\$0.04 per million tokens, paid once |" in lines
    assert "- SmolAgents 2.0: — (no votes yet)" in lines
    link = r"[https\://example.org/mistral-3b/license](<https://example.org/mistral-3b/license>)"
    assert f"- **E1** (license) The weights are published under Apache 2.0. Source: {link}" in lines
    assert "\n\n\n" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("price", "currency", "shown"),
    [
        (0, "USD", "Free"),
        (20, "USD", "$20"),
        (9.5, "EUR", "€9.50"),
        (1250, "CHF", "1,250 CHF"),
        (4e-4, "USD", "$0.0004"),
    ],
)
def test_money(price: float, currency: str, shown: str) -> None:
    assert money(PricePlan(plan="p", price=price, currency=currency)) == shown


def test_date() -> None:
    assert date("2026-03-05T09:30:00Z") == ("5 March 2026", "2026-03-05")
    assert date("last week") == ("last week", None)
    assert date("2026-13-05") == ("2026-13-05", None)


def test_write_pages(tmp_path: Path) -> None:
    paths = render.write_pages(sample_comparison(), tmp_path / "new" / "run")
    assert {kind: path.name for kind, path in paths.items()} == {
        "json": "comparison.json", "html": "comparison.html", "markdown": "comparison.md",
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "new" / "run").iterdir()) == sorted(p.name for p in paths.values())
    assert paths["html"].read_text(encoding="utf-8") == render.to_html(sample_comparison())


def test_importing_the_renderer_is_cheap() -> None:
    code = "import sys, panel.render; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False).returncode == 0
