"""How the page looks, as far as a machine can tell: contrast and width."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from panel import render
from panel.records import Comparison
from tests.fixtures_records import sample_comparison, sample_data
from tests.html_page import Page


def tokens(css: str) -> dict[str, dict[str, str]]:
    """The colour tokens by theme: the first `:root` is light, the second one changes it for dark."""
    blocks = re.findall(r":root\s*\{(.*?)\}", css, re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", block)) for block in blocks)
    assert set(light) == set(dark)
    return {"light": light, "dark": dark}


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast of two colours: black on white is 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_readable(theme: str) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    css = Page(render.to_html(sample_comparison())).all("style")[0][1]
    colours = tokens(css)[theme]
    grounds = ["paper", "surface", "mark"]
    pairs = [(text, ground) for text in ("ink", "soft", "muted", "link") for ground in grounds]
    pairs += [("ship", "paper"), ("skip", "paper"), ("skip", "surface"), ("on-ship", "ship"), ("draft", "draft-tint")]
    weak = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: round(ratio, 2) for pair, ratio in weak.items() if ratio < 4.5} == {}
    shapes = [("bar-ship", "track"), ("bar-skip", "track"), ("soft", "track"), ("line", "paper")]
    assert [(one, other) for one, other in shapes if contrast(colours[one], colours[other]) < 3] == []


@pytest.mark.browser
def test_no_page_is_wider_than_a_phone(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    if not Path(os.environ.get("CHROMIUM", "/usr/bin/chromium")).exists():
        pytest.skip("no Chromium")
    from tests.screenshots import shoot

    data = sample_data(3)
    data["tools"][1]["name"] = "W" * 120
    data["tools"][0]["evidence"][0]["source"] = "https://example.org/" + "a" * 300
    assert shoot(render.write_pages(Comparison.model_validate(data), tmp_path)["html"], tmp_path) == []
