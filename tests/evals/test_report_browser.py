"""The report page in a real Chromium: its filters, what a mark says, no violation that axe finds, and no script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.report.html import to_html
from evals.stability.record import Stability
from tests.evals.stability_example import example, example_gate
from tests.evals.test_report import baseline, hostile

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium")]
pytest.importorskip("playwright")


def edited() -> Stability:
    """A run whose builder was described in other words."""
    run = example()
    builder = run.about.personas["builder"].model_copy(update={"text": "audience: a lawyer\n\nPlain and short."})
    personas = {**run.about.personas, "builder": builder}
    return run.model_copy(update={"about": run.about.model_copy(update={"personas": personas})})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    pages = {
        "plain": to_html(example()),
        "judged": to_html(edited(), example_gate(), baseline()),
        "hostile": to_html(*hostile()),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A window; what the console complains of (a script or a style that the policy refuses, say) fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    window = context.new_page()
    wrong: list[str] = []
    window.on("pageerror", lambda error: wrong.append(str(error)))
    window.on("console", lambda message: wrong.append(message.text))
    window.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    yield window
    context.close()
    assert wrong == []


def cells(page: Any) -> set[tuple[str, str]]:
    """Tool and persona of the rows that can be seen."""
    return {
        (row.evaluate("row => row.parentElement.dataset.tool"), row.get_attribute("data-persona"))
        for row in page.locator("tr[data-flags]:visible").all()
    }


def box(page: Any, name: str) -> Any:
    return page.get_by_role("checkbox", name=name)


def test_filters_leave_what_was_asked_for(page: Any, files: dict[str, Path]) -> None:
    page.goto(files["judged"].as_uri())
    everything = {(tool, who) for tool in ("lanternfish", "bramble") for who in ("builder", "futurist")}
    assert cells(page) == everything
    assert page.locator("#shown").inner_text() == "4 of 4 cells shown"
    box(page, "flipped").check()
    assert cells(page) == {("lanternfish", "builder")}
    assert page.locator("#shown").inner_text() == "1 of 4 cells shown"
    assert not page.locator("tbody[data-tool=bramble]").is_visible()  # nor the heading of a tool without cells
    box(page, "are wrong").check()
    assert cells(page) == {("lanternfish", "builder"), ("bramble", "futurist")}
    assert page.locator("article.change").is_visible()
    box(page, "Builder").uncheck()
    assert cells(page) == {("bramble", "futurist")}
    assert not page.locator("article.change").is_visible()
    box(page, "Futurist").uncheck()
    assert cells(page) == set()
    assert page.locator("#shown").inner_text() == "No cell is like that."
    page.get_by_role("button", name="Show all").click()
    page.get_by_text("4 of 4 cells shown").wait_for()
    assert cells(page) == everything


def test_a_mark_says_what_turned_it(page: Any, files: dict[str, Path]) -> None:
    page.goto(files["judged"].as_uri())
    mark = page.get_by_role("button", name="rewording, wording 1: ship 0.58 → skip 0.44")
    tip = mark.locator(".tip")
    assert tip.bounding_box()["height"] <= 1
    mark.focus()
    assert tip.bounding_box()["height"] > 30
    assert "Backups stop <nightly>." in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.bounding_box()["height"] <= 1
    page.locator("h1").hover()
    mark.hover()
    assert tip.bounding_box()["height"] > 30


def test_without_a_script_the_page_is_whole(browser: Any, files: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(files["judged"].as_uri())
    assert page.locator("tr[data-flags]:visible").count() == 4
    assert not page.locator("#filters").is_visible()
    assert page.locator("h1").inner_text().startswith("Regress")
    mark = page.locator(".mark.failed").first
    mark.hover()
    assert mark.locator(".tip").bounding_box()["height"] > 30
    context.close()


def test_hostile_text_runs_nothing(page: Any, files: dict[str, Path]) -> None:
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto(files["hostile"].as_uri())
    assert page.locator("img").count() == 0
    box(page, "flipped").check()
    assert len(cells(page)) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["plain", "judged", "hostile"])
def test_axe_finds_nothing_and_nothing_is_too_wide(
    page: Any, files: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(files[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".mark.failed").first.focus()
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    found = Axe().run(page).response["violations"]
    assert [f"{one['id']}: {node['html'][:150]}" for one in found for node in one["nodes"]] == []
