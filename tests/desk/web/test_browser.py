"""The whole way in a real Chromium, from a pasted text to a published page and its withdrawal; every screen by axe."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from panel.desk import DeskStore
from panel.desk.web.runs import Opens
from panel.records import Dossier
from tests import scripted
from tests.desk.web.live import CHROMIUM, PATIENCE, Live, Unhurried, chromium, serving, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium"),
]
pytest.importorskip("playwright")

TEXT = """
Lanternfish 1.2 keeps tables in one file.

- Queries run in parallel across every core of the machine.
- The manual shows each command with a complete example.
- Backups stop while the nightly index is rebuilt.
- The source code is published under Apache-2.0.
- A plan for small teams costs $12 per seat.
- Hospitals in Norway store patient letters with it.
- Sorting 40 million rows takes 9 seconds on a laptop.
- Nobody outside the team has audited the encryption.

Sign in to read more
"""
CARD = {
    "name": "Lanternfish 1.2", "category": "Databases", "tagline": "A small analytical database for one machine",
    "summary": "Lanternfish 1.2 stores tables in one file and answers queries on a laptop.",
    "entry_price": "$12 per seat",
}  # fmt: skip
SLUG = "lanternfish-1-2-vs-bramble"


@pytest.fixture(scope="session")
def embedded() -> Callable[[Path], Opens]:
    """Opens the embedded model with answers in a file of their own; the model is loaded once, and stays loaded."""
    from panel.engines import find_engine
    from panel.engines.answers import AnswerStore
    from panel.engines.cached import CachedEngine

    identity, load = find_engine("openvino", "embedded", offline=True)
    loaded = functools.cache(load)
    return lambda answers: lambda _: CachedEngine(identity, loaded, AnswerStore(answers))


@pytest.fixture
def opens(personas: Any, request: pytest.FixtureRequest, answers_file: Path) -> Opens:
    """A scripted engine, or the embedded model where the test asks for it."""
    if getattr(request, "param", "scripted") == "embedded":
        made: Opens = request.getfixturevalue("embedded")(answers_file)
        return made
    model = scripted.scripted_engine(personas, skips=["business-buyer"])
    return lambda _: Unhurried(model._write, model._rate)


ENGINES = pytest.mark.parametrize(
    "opens", ["scripted", pytest.param("embedded", marks=pytest.mark.model)], indirect=True
)


@pytest.fixture
def live(store: DeskStore, outputs: Path, opens: Opens, other_dossier: Dossier) -> Iterator[Live]:
    from panel.desk.types import User

    store.keep_dossier(other_dossier, user=User("Anna", "approver"))
    with serving(store, outputs, opens) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = chromium(playwright)
        yield made
        made.close()


@pytest.fixture
def page(browser: Any, live: Live) -> Iterator[Any]:
    """A window in which Anna has come in; what the console complains of fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    window = context.new_page()
    wrong: list[str] = []
    window.on("pageerror", lambda error: wrong.append(str(error)))

    def heard(message: Any) -> None:
        # what the desk refuses, or a test cuts off, is told to the console as well, and is no mistake
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            wrong.append(message.text)

    window.on("console", heard)
    window.goto(live.entrance())
    window.wait_for_url(f"{live.url}/")
    yield window
    context.close()
    assert wrong == []


def published(live: Live) -> str:
    return (live.store.site / SLUG / "index.html").read_text(encoding="utf-8")


def sees(page: Any, locator: Any) -> None:
    """Wait until it is there, and the page that it is on has loaded: before, keys and buttons have no script yet."""
    locator.wait_for()
    page.wait_for_load_state()


def waive_all(page: Any, press: Callable[[Any], None]) -> None:
    """Let pass what is flagged, one after another, as a person would who has looked at it."""
    for _ in range(20):
        waiver = page.locator(".blockers li:not(.waived) details.waive").first
        if not waiver.count():
            return
        left = page.locator(".blockers li:not(.waived)").count()
        press(waiver.locator("summary"))
        waiver.locator("input[name=reason]").fill("Read, and it is so.")
        press(waiver.locator("button"))
        until(page, f"document.querySelectorAll('.blockers li:not(.waived)').length < {left}")
        page.wait_for_load_state()
    raise AssertionError("something stays in the way")


@ENGINES
def test_the_whole_way_by_mouse(page: Any, live: Live) -> None:
    page.get_by_role("link", name="New tool").click()
    for name, value in CARD.items():
        page.locator(f"#{name}").fill(value)
    assert page.locator("#slug").input_value() == "lanternfish-1-2"
    page.locator("#source").fill("https://example.com/lanternfish")
    page.locator("#paste").fill(TEXT)
    page.get_by_role("button", name="Cut it into facts").click()
    until(page, "document.querySelectorAll('[data-fact]').length >= 8")
    texts = [area.input_value() for area in page.locator("[data-fact] textarea").all()]
    assert "Hospitals in Norway store patient letters with it." in texts
    assert not any("Sign in" in text for text in texts)
    kinds = [field.input_value() for field in page.locator("[data-fact] select").all()]
    assert kinds[texts.index("The source code is published under Apache-2.0.")] == "license"
    # one is dropped, one is mended
    page.locator("[data-fact]").nth(texts.index("Hospitals in Norway store patient letters with it.")).locator(
        "[type=checkbox]"
    ).uncheck()
    page.locator("[data-fact] textarea").nth(texts.index("Nobody outside the team has audited the encryption.")).fill(
        "Nobody has audited the encryption."
    )
    page.locator("#rival").select_option("bramble")
    until(page, "document.querySelector('#ready').textContent.startsWith('Ready')")
    page.locator("#start").click()

    page.wait_for_url(re.compile(r"/runs/\w+$"))
    assert page.locator(".lane").count() == 8
    page.locator("#open-draft").wait_for()
    assert page.locator(".lane.scored").count() == 8
    assert "read" in page.locator(".lane").first.inner_text()
    assert page.locator(".readers .chip").count() > 4
    page.locator("#open-draft").click()

    page.wait_for_url(f"{live.url}/items/{SLUG}")
    assert "Hospitals" not in page.locator(".rail").inner_text()
    edit_a_quote(page, live)
    overrule(page)
    regenerate(page, live)
    waive_all(page, lambda button: button.click())
    page.locator("#approve").click()
    page.locator("#publish").click()
    sees(page, page.locator("#withdraw-open"))
    assert "Anna" in published(live)
    first = published(live)
    with page.expect_navigation():
        page.locator("#publish").click()
    page.get_by_text("Published.", exact=True).wait_for()
    assert published(live) == first
    page.locator("#withdraw-open").click()
    page.locator("#withdraw-r").fill("The maker asked for it.")
    page.locator("#withdraw button.danger").click()
    page.get_by_text("Withdrawn.").wait_for()
    assert "The maker asked for it." in published(live)
    assert "parallel" not in published(live)


def edit_a_quote(page: Any, live: Live) -> None:
    sentence = page.locator('[data-review^="lanternfish-1-2/"] .sentence[data-cites^="E"]').first
    target = sentence.get_attribute("data-target")
    sentence.locator(".text").hover()
    cites = (sentence.get_attribute("data-cites") or "").split()
    assert cites
    lit = page.locator(".rail-tool:not([hidden]) .evidence > li.lit strong").all_inner_texts()
    assert lit == cites
    assert page.locator(".evidence > li.lit .leaned").count() == len(cites)
    sentence.locator(".text").click()
    area = sentence.locator("textarea")
    draft = area.input_value()
    # a number that the dossier does not have is underlined while one types, and is not a way to approval
    area.press_sequentially(" It has 7777 users.")
    sentence.locator(".mirror mark.ungrounded").wait_for(state="attached")
    assert sentence.locator(".mirror mark.ungrounded").all_inner_texts() == ["7777"]
    assert sentence.locator(".findings button").inner_text() == "Confirm with a source"
    final = f"{draft[:-1]}, as one would want."
    area.fill(final)
    sentence.get_by_text("Saved", exact=True).wait_for()
    with page.expect_navigation():  # the page is loaded again, and "d" has to wait for that
        sentence.get_by_role("button", name="Done").click()
    assert page.locator(".sentence.edited").count() == 1
    assert page.locator(".sentence.open").count() == 0
    text = live.store.item(SLUG).texts[target]
    assert (text.draft, text.current, text.by) == (draft, final, "Anna")
    page.keyboard.press("d")
    page.locator(".sentence.edited ins").first.wait_for()
    added = " ".join(page.locator(".sentence.edited ins").all_inner_texts())
    assert "as one would want" in " ".join(added.split())
    page.keyboard.press("d")
    until(page, "!document.querySelector('.sentence ins')")


def overrule(page: Any) -> None:
    review = page.locator('[data-review="lanternfish-1-2/business-buyer"]')
    before = review.locator(".verdict .badge").inner_text()
    after = "Skip" if before == "Ship" else "Ship"
    review.get_by_role("button", name="Overrule").click()
    page.locator(f"dialog[open] [value={after.lower()}]").check()
    page.locator("dialog[open] textarea").fill("The price fits the budget.")
    page.locator("dialog[open] button.primary").click()
    sees(page, review.get_by_text("verdict of Anna"))
    assert review.locator(".verdict .badge").inner_text() == after
    assert "The price fits the budget." in review.inner_text()


def regenerate(page: Any, live: Live) -> None:
    review = page.locator('[data-review="bramble/futurist"]')
    review.get_by_role("button", name="Regenerate").click()
    sees(page, review.locator(".offer"))
    review.locator(".offer [name=beat]").first.check()
    review.get_by_role("button", name="Take the ticked sentences").click()
    sees(page, page.get_by_text("The new version is in use."))
    assert {offer.version for offer in live.store.item(SLUG).offers["bramble/futurist"]} == {1, 2}


# ------------------------------------------------------------------------------------------------- by keyboard alone


class Keys:
    """A person with a keyboard and nothing else."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def write(self, text: str) -> None:
        self.page.keyboard.insert_text(text)

    def to(self, selector: str, back: bool = False) -> None:
        """Tab until the focus is on `selector`, which must be visible to whoever looks for it."""
        for _ in range(250):
            if self.page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
                return
            self.press("Shift+Tab" if back else "Tab")
        raise AssertionError(f"the focus never comes to {selector}")


@ENGINES
def test_the_whole_way_by_keyboard_alone(page: Any, live: Live) -> None:
    keys = Keys(page)
    keys.press("?")
    assert page.locator("#keys").is_visible()
    keys.press("Escape")
    keys.press("j", "j", "k")
    assert page.locator("tr.at").count() == 1
    keys.press("g", "n")
    page.wait_for_url("**/new")
    for name in ("name", "category", "tagline", "summary", "entry_price"):
        keys.to(f"#{name}")
        keys.write(CARD[name])
    keys.to("#paste")
    keys.write(TEXT)
    keys.to("#source")
    keys.write("https://example.com/lanternfish")
    keys.to("[data-cut]")
    keys.press("Enter")
    until(page, "document.querySelectorAll('[data-fact]').length >= 8")
    until(page, "document.activeElement.name?.endsWith('.keep')")
    keys.press("Space")  # the first fact is dropped
    assert page.locator("[data-fact].dropped").count() == 1
    keys.to("#rival")
    keys.press("B")
    assert page.locator("#rival").input_value() == "bramble"
    keys.press("Control+Enter")
    page.wait_for_url(re.compile(r"/runs/\w+$"))
    until(page, "document.activeElement.id === 'open-draft'")
    keys.press("Enter")
    page.wait_for_url(f"{live.url}/items/{SLUG}")

    keys.press("J")  # the first review
    target = page.evaluate("document.activeElement.closest('.sentence').dataset.target")
    assert target.startswith("lanternfish-1-2/builder/")
    keys.press("e")
    until(page, "document.activeElement.tagName === 'TEXTAREA'")
    draft = page.evaluate("document.activeElement.value")
    keys.press("Control+a")
    keys.write(f"{draft[:-1]}, as one would want.")
    until(page, "document.querySelector('.sentence.open .saved').textContent === 'Saved'")
    with page.expect_navigation():
        keys.press("Escape")
    assert page.locator(".sentence.edited").count() == 1
    until(page, "document.activeElement.classList.contains('text')")
    with page.expect_navigation():
        keys.press("u")  # undone, and done again
    assert page.locator(".sentence.edited").count() == 0
    with page.expect_navigation():
        keys.press("U")
    sees(page, page.locator(".sentence.edited").first)
    assert live.store.item(SLUG).texts[target].edited

    until(page, "document.activeElement.classList.contains('text')")
    keys.press("x")
    page.locator("dialog[open]").wait_for()
    keys.to("dialog[open] textarea")
    keys.write("It is too young.")
    keys.to("dialog[open] button.primary")
    keys.press("Enter")
    sees(page, page.get_by_text("verdict of Anna"))

    keys.press("J", "J", "r")
    sees(page, page.locator(".offer"))
    keys.to(".offer button.primary")
    keys.press("Enter")
    sees(page, page.get_by_text("The new version is in use."))

    def press(locator: Any) -> None:
        locator.focus()
        keys.press("Enter")

    keys.press("b")
    waive_all(page, press)
    keys.press("a")
    sees(page, page.locator("#publish"))
    keys.press("a")
    sees(page, page.locator("#withdraw-open"))
    assert "Anna" in published(live)
    keys.press("w")
    until(page, "document.activeElement.id === 'withdraw-r'")
    keys.write("The maker asked for it.")
    keys.to("#withdraw button.danger")
    keys.press("Enter")
    page.get_by_text("Withdrawn.").wait_for()
    assert "The maker asked for it." in published(live)


# ----------------------------------------------------------------------------------------------------- every screen


def audit(page: Any) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:150]} ({node['failureSummary'][:200]})" for one in found for node in one["nodes"]
    ]


ITEM = "/items/smolagents-2-vs-mistral-3b"
PATHS = ("/", "/?q=sandbox", "/?q=nothinglikeit", ITEM, f"{ITEM}/history", "/new", "/runs", "/statistics", "/history")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Any, live: Live, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    wrong = {}
    for path in (*PATHS, "/items/nowhere"):
        page.goto(live.url + path)
        wrong[path] = audit(page)
    page.goto(live.url + ITEM)
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.locator(".sentence.open textarea").wait_for()
    wrong["editing"] = audit(page)
    page.keyboard.press("Escape")
    page.locator("[data-overrule]").first.click()
    wrong["overruling"] = audit(page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    wrong["keys"] = audit(page)
    assert {path: found for path, found in wrong.items() if found} == {}


def test_usable_on_a_phone(page: Any, live: Live) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in PATHS:
        page.goto(live.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        small = page.evaluate(
            """() => [...document.querySelectorAll('button, input:not([type=hidden]), select, textarea, summary')]
               .filter(e => e.checkVisibility() && !e.closest('.unseen'))
               .filter(e => !e.classList.contains('unseen'))
               .map(e => [e, (e.closest('label') ?? e).getBoundingClientRect()]).filter(([e, r]) => r.height < 20)
               .map(([e, r]) => e.outerHTML.slice(0, 80) + r.height)"""
        )
        assert small == [], path


def test_every_control_has_a_name_and_shows_its_focus(page: Any, live: Live) -> None:
    for path in ("/", ITEM, "/new"):
        page.goto(live.url + path)
        unseen = page.evaluate(
            """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
               .filter(e => e.checkVisibility() && !e.disabled && e.type !== 'hidden' && !e.closest('.unseen'))
               .filter(e => {
                   e.focus({focusVisible: true});
                   const style = getComputedStyle(e);
                   return document.activeElement === e && style.outlineStyle === 'none' && style.boxShadow === 'none';
               }).map(e => e.outerHTML.slice(0, 100))"""
        )
        assert unseen == [], path


def test_two_editors_on_one_sentence(page: Any, browser: Any, live: Live) -> None:
    """The second is told, sees both texts, and chooses; nothing is overwritten."""
    from panel.desk.types import User

    target = "smolagents-2/builder/primitive"
    slug = "smolagents-2-vs-mistral-3b"
    page.goto(f"{live.url}/items/{slug}")
    sentence = page.locator(f'[data-target="{target}"]')
    sentence.locator(".text").click()
    live.store.save(slug, target, "Ben wrote this.", revision=0, user=User("Ben", "editor"))
    area = sentence.locator("textarea")
    area.fill("Anna wrote that.")
    page.locator("#conflict[open]").wait_for()
    assert page.locator("#conflict-theirs").inner_text() == "Ben wrote this."
    assert page.locator("#conflict-yours").input_value() == "Anna wrote that."
    assert live.store.item(slug).texts[target].current == "Ben wrote this."
    page.locator("#conflict-save").click()
    sentence.get_by_text("Saved", exact=True).wait_for()
    assert live.store.item(slug).texts[target].current == "Anna wrote that."
    # what others change elsewhere on the page stands in nobody's way
    other = "smolagents-2/builder/dx-bet"
    live.store.save(slug, other, "Ben again.", revision=live.store.item(slug).row.revision, user=User("Ben", "editor"))
    area.fill("Anna once more.")
    page.locator("#meanwhile:not([hidden])").wait_for()
    sentence.get_by_text("Saved", exact=True).wait_for()
    now = live.store.item(slug).texts
    assert (now[target].current, now[other].current) == ("Anna once more.", "Ben again.")


def test_what_is_typed_outlives_a_desk_that_is_away(page: Any, live: Live) -> None:
    target, slug = "smolagents-2/builder/primitive", "smolagents-2-vs-mistral-3b"
    page.goto(f"{live.url}/items/{slug}")
    sentence = page.locator(f'[data-target="{target}"]')
    sentence.locator(".text").click()
    page.route("**/save", lambda route: route.abort())
    with page.expect_event("requestfailed"):
        sentence.locator("textarea").fill("Typed while it was away.")
    sentence.get_by_text("Not saved").wait_for()
    page.unroute("**/save")
    sentence.get_by_text("Saved", exact=True).wait_for()
    assert live.store.item(slug).texts[target].current == "Typed while it was away."
