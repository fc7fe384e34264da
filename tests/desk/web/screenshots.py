"""Pictures of the desk for a person to look at: `python -m tests.desk.web.screenshots OUTDIR [NAME...]`.

The queue, the review screen (one sentence looked at, one being edited), the running panel and the form for a new
tool, in light and dark, on a desk's screen and on a phone. For development only; see `tests.screenshots`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from panel.desk import DeskStore
from panel.desk.types import User
from panel.personas import load_personas
from tests import scripted
from tests.desk.web.live import PATIENCE, Live, Unhurried, chromium, serving, until
from tests.fixtures_records import sample_data, unscored
from tests.screenshots import SCHEMES

WIDTHS = {1280: 900, 390: 844}
ANNA = User("Anna Lindqvist", "approver")
EXAMPLE = "smolagents-2-vs-mistral-3b"
TEXT = (
    "Queries run in parallel across every core of the machine. The manual shows each command with a complete example. "
    "Backups stop while the nightly index is rebuilt. A plan for small teams costs $12 per seat. Sign in to read more."
)


class Slow(Unhurried):
    pause = 2.0


def furnish(store: DeskStore, outputs: Path) -> None:
    """A morning's work: records in every state."""
    from panel.records import Comparison
    from panel.render import write_pages

    example = Path(__file__).parents[3] / "outputs" / "example" / "comparison.json"
    records: list[dict[str, Any]] = [json.loads(example.read_text(encoding="utf-8"))]
    names = (
        ("duckdb", "DuckDB", "chatwoot", "Chatwoot"), ("aider", "Aider", "kite", "Kite"),
        ("whisper", "Whisper", "coqui-tts", "Coqui TTS"), ("trivy", "Trivy", "bitwarden", "Bitwarden"),
        ("beancount", "Beancount", "tallycrest", "Tallycrest"),
    )  # fmt: skip
    for number, (one, first, two, second) in enumerate(names):
        data = sample_data(2)
        text = json.dumps(data).replace("smolagents-2", one).replace("SmolAgents 2.0", first)
        data = json.loads(text.replace("mistral-3b", two).replace("Mistral 3B", second))
        if number % 2:
            unscored(data["tools"][1]["reviews"][number % 4], "no valid answer in 3 tries")
        records.append(data)
    for data in records:
        from tests.fixtures_records import tally

        if data is not records[0]:
            tally(data)
        record = Comparison.model_validate(data)
        write_pages(record, outputs / "-vs-".join(tool.slug for tool in record.tools))
    store.sync()
    store.set_flip_rates({"kite": 0.12, "duckdb": 0.03})
    for slug, last in (("duckdb-vs-chatwoot", "approve"), ("beancount-vs-tallycrest", "publish")):
        for _ in range(200):
            item = store.item(slug)
            if not item.open_blockers:
                break
            b = item.open_blockers[0]
            at = {"revision": item.row.revision, "user": ANNA}
            if b.waivable:
                store.waive(slug, b.key, "Read, and it is so.", **at)
            elif b.kind == "unscored":
                store.overrule(slug, b.tool, b.persona, "skip", "Read the dossier myself.", **at)
            else:
                store.save(slug, b.target, "It is so.", **at)
        store.approve(slug, revision=store.item(slug).row.revision, user=ANNA)
        if last == "publish":
            store.publish(slug, revision=store.item(slug).row.revision, user=ANNA)
    item = store.item(EXAMPLE)
    target = next(t for t in item.texts if t.startswith("smolagents-2/builder/"))
    text = f"{item.texts[target].current[:-1]}, says the manual."
    store.save(EXAMPLE, target, text, revision=0, user=ANNA)
    store.overrule(
        EXAMPLE, "smolagents-2", "business-buyer", "skip", "There is nobody to call at night.",
        revision=store.item(EXAMPLE).row.revision, user=ANNA,
    )  # fmt: skip


def shoot(live: Live, folder: Path, names: list[str]) -> None:
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(live.entrance())
        page.wait_for_url(f"{live.url}/")
        run = ""
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)

                def keep(name: str, whole: bool = False, at: str = f"{width}-{scheme}") -> None:
                    page.screenshot(path=folder / f"{name}-{at}.png", full_page=whole)

                if "queue" in names:
                    page.goto(f"{live.url}/")
                    page.keyboard.press("j")
                    keep("queue")
                if "review" in names:
                    page.goto(f"{live.url}/items/{EXAMPLE}")
                    page.locator('[data-review$="/competitor-analyst"] .sentence .text').nth(2).focus()
                    page.locator('[data-review$="/competitor-analyst"]').first.scroll_into_view_if_needed()
                    keep("review")
                if "editing" in names:
                    page.goto(f"{live.url}/items/{EXAMPLE}#edit")
                    area = page.locator(".sentence.open textarea")
                    before = area.input_value()
                    area.press_sequentially(" It has 7777 users.")
                    page.locator(".sentence.open .findings button").first.wait_for()
                    page.locator(".sentence.open").scroll_into_view_if_needed()
                    keep("editing")
                    area.fill(before)
                    page.keyboard.press("Escape")
                    page.wait_for_timeout(1500)
                if "new" in names:
                    page.goto(f"{live.url}/new")
                    page.locator("#name").fill("Lanternfish 1.2")
                    page.locator("#category").fill("Databases")
                    page.locator("#summary").fill("Lanternfish 1.2 stores tables in one file.")
                    page.locator("#source").fill("https://example.com/lanternfish")
                    page.locator("#paste").fill(TEXT)
                    page.locator("[data-cut]").click()
                    until(page, "document.querySelectorAll('[data-fact]').length >= 4")
                    page.locator("[data-fact] [type=checkbox]").nth(1).uncheck()
                    page.locator("#slug").fill("Lantern Fish")
                    page.locator("#slug").blur()
                    page.locator("#slug-e:not(:empty)").wait_for()
                    page.evaluate("scrollTo(0, 0)")
                    keep("new")
                if "run" in names:
                    if not run:
                        page.goto(f"{live.url}/new")
                        for name, value in {"name": "Lanternfish", "category": "Databases", "tagline": "A database",
                                            "summary": "It stores tables.", "entry_price": "Free", "paste": TEXT,
                                            "source": "https://example.com"}.items():  # fmt: skip
                            page.locator(f"#{name}").fill(value)
                        page.locator("[data-cut]").click()
                        until(page, "document.querySelectorAll('[data-fact]').length >= 4")
                        page.locator("#rival").select_option("mistral-3b")
                        page.locator("#start").click()
                        page.wait_for_url("**/runs/*")
                        page.locator(".readers .chip").first.wait_for()
                        run = page.url
                    page.goto(run)
                    keep("run")
                for name, path in (("statistics", "/statistics"), ("history", "/history")):
                    if name in names:
                        page.goto(live.url + path)
                        keep(name)
        browser.close()


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(f"usage: python -m tests.desk.web.screenshots OUTDIR [NAME...]\n\n{__doc__}")
    names = sys.argv[2:] or ["queue", "review", "editing", "new", "run", "statistics", "history"]
    model = scripted.scripted_engine(load_personas(), skips=["business-buyer"])
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        store = DeskStore(outputs)
        furnish(store, outputs)
        with serving(store, outputs, lambda _: Slow(model._write, model._rate), owner=ANNA.name) as live:
            shoot(live, Path(sys.argv[1]), names)
        store.close()


if __name__ == "__main__":
    main()
