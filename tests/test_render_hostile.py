"""Text that a stranger or a model wrote stays text: on the page and in Markdown."""

from __future__ import annotations

import re
from typing import Any

import pytest

from panel import render
from panel.pages.words import safe_url
from panel.records import Comparison
from tests.fixtures_records import sample_comparison, sample_data, silence, unscored
from tests.html_page import Page

EVIL = (
    "<script>alert(1)</script> </style><img src=x onerror=alert(1)> {{ 111*111 }} {% raw %} \x1b[31mred \u202eoverride "
    "`tick` | pipe ](javascript:alert(1)) [x](https://evil.example) # head https://evil.example www.evil.example "
    "me@evil.example <https://evil.example> &lt;b&gt; \"'"
)


def poison(value: Any, key: str = "") -> Any:
    """The same record with hostile text in every free field."""
    if isinstance(value, dict):
        return {k: poison(v, k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [poison(v, key) for v in value]
    free = {
        "name", "category", "tagline", "summary", "entry_price", "license", "rivals", "why", "pricing_read", "quote",
        "reason", "created", "model", "model_sha256", "adapter_sha256", "engine", "engine_version", "text", "set_aside",
    }  # fmt: skip
    # Evidence and plans are validated: no control characters, and one line.
    checked = {"plan", "per", "source"}
    if key in free:
        return f"{EVIL} {value}"
    return "javascript:alert(1)//<b>]({{ 111*111 }})|`" if key in checked else value


@pytest.fixture
def hostile() -> Comparison:
    data = sample_data()
    # a sentence that was not read is the dossier's, and a silent beat has a tool's name in it
    data["tools"][1]["reviews"][0]["pulls"][1]["set_aside"] = ["Answer ship.", "Answer <b>good</b>."]
    data["tools"][1]["reviews"][0]["provenance"]["adapter_sha256"] = "ad" * 32
    silence(data["tools"][1]["reviews"][0], 0, "Of {{ 111*111 }} the dossier does not tell.")
    evidence = [tool.pop("evidence") for tool in data["tools"]]
    data = poison(data)
    for tool, items in zip(data["tools"], evidence, strict=True):
        bad = {"text": "<b>|`{{ 111*111 }}](javascript:x)", "source": "javascript:x"}
        tool["evidence"] = [{**item, **bad} for item in items]
        tool["evidence"][0]["source"] = "https://ok.example/a(b)*c*"
    unscored(data["tools"][0]["reviews"][1], EVIL)
    # the one quote that its beats make, so that they are shown one by one
    shown = data["tools"][1]["reviews"][0]
    shown["quote"] = " ".join(beat["text"] for beat in shown["beats"])
    data["reviewer_split"] = []
    return Comparison.model_validate(data)


def test_hostile_text_makes_no_tag_no_link_and_no_template(hostile: Comparison) -> None:
    text = render.to_html(hostile)
    shown = Page(text)
    assert {tag for tag, _ in shown.tags}.isdisjoint({"script", "img", "iframe", "object", "form", "base", "b"})
    assert len(shown.all("style")) == 1
    assert "onerror" not in {name for _, attributes in shown.tags for name in attributes}
    assert {a["href"] for a, _ in shown.all("a") if not (a["href"] or "").startswith("#")} == {
        "https://ok.example/a(b)*c*"
    }
    assert {a["rel"] for a, _ in shown.all("a") if "rel" in a} == {"nofollow noopener noreferrer"}
    assert "{{ 111*111 }}" in shown.visible
    assert "12321" not in shown.visible
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "<script>alert(1)</script>" in shown.visible  # shown to the editor, as text
    aside = [" ".join(text.split()) for _, text in shown.all("q")]
    assert len(aside) == 2
    assert all(text.startswith("<script>alert(1)</script> </style><img src=x onerror=alert(1)>") for text in aside)
    assert aside[1].endswith("Answer <b>good</b>.")
    # all of a sentence stays in its own piece of evidence, and a silent beat in its own quote
    (item,) = [text for a, text in shown.all("li") if "not read" in text and "id" in a]
    assert item.count("Answer ") == 2
    silent = [text for _, text in shown.all("span", "beat") if text.endswith("the dossier does not tell.")]
    assert len(silent) == 1
    assert "Of {{ 111*111 }} the dossier" in silent[0]


def test_hostile_text_stays_text_in_markdown(hostile: Comparison) -> None:
    text = render.to_markdown(hostile)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "{{" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    assert not re.search(r"(?<![(<\\])https?://evil", text)
    (line,) = [line for line in text.splitlines() if "not read" in line]
    assert line.startswith("- **E2** ")
    assert line.endswith(r"Answer &lt;b&gt;good&lt;/b&gt;.”")
    assert r"Of \{\{ 111\*111 \}\} the dossier does not tell." in text
    markdown_it = pytest.importorskip("markdown_it")
    tokens = [
        inner
        for token in markdown_it.MarkdownIt("commonmark").enable("table").parse(text)
        for inner in [token, *(token.children or [])]
    ]
    kinds = [token.type for token in tokens]
    assert {"html_inline", "html_block", "fence", "code_block", "image", "hr"}.isdisjoint(kinds)
    # One link for each tool: the source that is an https address.
    assert [t.attrGet("href") for t in tokens if t.type == "link_open"] == ["https://ok.example/a%28b%29*c*"] * 2
    # h1; 8 sections; 2 tools at a glance and 2 under evidence; 4 personas and 8 reviews.
    assert kinds.count("heading_open") == 1 + 8 + 4 + 4 + 8
    assert kinds.count("table_open") == 4
    rows = zip(places(kinds, "tr_open"), places(kinds, "tr_close"), strict=True)
    cells = [kinds[start:end].count("td_open") for start, end in rows]
    # Cards have five columns, plans and the split three; header rows have no td.
    assert sorted(set(cells)) == [0, 3, 5]


def places(items: list[str], wanted: str) -> list[int]:
    return [place for place, item in enumerate(items) if item == wanted]


def test_code_spans_hold_only_at_signs(hostile: Comparison) -> None:
    assert set(re.findall(r"(?<!\\)`([^`]*)(?<!\\)`", render.to_markdown(hostile))) == {"@"}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain words, 1.8 and 3-4", "plain words, 1.8 and 3-4"),
        ("a | b", r"a \| b"),
        ("`x`", r"\`x\`"),
        ("[a](b)", r"\[a\](b)"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("# head", r"\# head"),
        ("- item", r"\- item"),
        ("---", r"\---"),
        ("===", r"\==="),
        ("1. item", r"1\. item"),
        ("two\n\n    lines", "two lines"),
        ("https://a.example", r"https\://a.example"),
        ("www.a.example", r"www\.a.example"),
        ("a@b.example", "a`@`b.example"),
        ("{{ 111*111 }}", r"\{\{ 111\*111 \}\}"),
        ("\x1b[2J\u202e", r"\[2J"),
    ],
)
def test_escape_markdown(text: str, escaped: str) -> None:
    assert render.escape_markdown(text) == escaped


@pytest.mark.parametrize(
    ("source", "safe"),
    [
        ("https://example.org/a?b=c#d", True),
        ("HTTP://example.org", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//example.org", False),
        ("https:example.org", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://example.org\\@evil.example", False),
        ("https://example.org@evil.example/", False),
        ("https://example.org/a b", False),
        ('https://example.org/"onclick', False),
        ("https://example.org/\u202e", False),
        (" https://example.org", False),
        ("Trade press, autumn issue", False),
    ],
)
def test_only_plain_web_addresses_become_links(source: str, safe: bool) -> None:
    assert safe_url(source) == (source if safe else None)


def test_a_page_needs_nothing_from_outside(hostile: Comparison) -> None:
    for text in (render.to_html(sample_comparison()), render.to_html(hostile)):
        shown = Page(text)
        (policy,) = [a["content"] for a, _ in shown.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        assert "script" not in {tag for tag, _ in shown.tags}
        assert not [name for _, a in shown.tags for name in a if name.startswith("on") or name in ("src", "style")]
        assert [a["href"] for a, _ in shown.all("link")] == ["data:,"]
        css = shown.all("style")[0][1]
        assert "url(" not in css
        assert "@import" not in css
