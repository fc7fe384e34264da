"""Pictures of a page for a person to look at: `python -m tests.screenshots PAGE.html OUTDIR`.

For development only: it wants the `playwright` package and a Chromium (`CHROMIUM` names it; else /usr/bin/chromium).
The emulated phone is 390 px wide whatever the smallest window of the browser. Exit code 1 where the page is wider
than its window.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

WIDTHS = {390: 844, 1280: 900}
SCHEMES = ("light", "dark")


def shoot(page_file: Path, folder: Path) -> list[str]:
    """Write `<width>-<scheme>.png` into `folder`; returns what is wrong with the layout, one sentence each."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    problems = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        for width, height in WIDTHS.items():
            for scheme in SCHEMES:
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                page.goto(page_file.resolve().as_uri())
                page.screenshot(path=folder / f"{width}-{scheme}.png", full_page=True)
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    problems.append(f"{width} px, {scheme}: the page is {wide} px wide")
                page.close()
        browser.close()
    return problems


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python -m tests.screenshots PAGE.html OUTDIR\n\n{__doc__}")
    sys.exit("\n".join(shoot(Path(sys.argv[1]), Path(sys.argv[2]))) or 0)
