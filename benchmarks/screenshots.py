"""Make the pictures of the README again, from the demo.

    python benchmarks/screenshots.py [--out docs/images]

A real server, a real Chromium (``chromium`` on the path, or Playwright's own) and a fresh workspace. The Prune page at
a ratio of 0.5, the gammas of the sparse-trained model, and a sparse run of eight epochs in its seventh: some minutes on
two CPU cores.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from pathlib import Path

from newcomer import PATIENCE_MS, ROOT, running_app
from playwright.sync_api import Page, sync_playwright

WIDTH = 1400
EPOCHS = 8
RUN_MS = 1_800_000


def open_page(page: Page, title: str) -> None:
    """Go to a page by the menu and wait until it has been drawn to its end."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
    page.get_by_role("heading", name=title, exact=True).wait_for()
    settle(page)


def settle(page: Page) -> None:
    """Wait until nothing is drawn any more; charts appear a moment after the words around them."""
    page.wait_for_timeout(1500)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(state="attached")
    page.wait_for_timeout(1500)


def take(page: Page, path: Path, height: int) -> None:
    """Write what is in sight, with the pointer and the keyboard's focus out of the way."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.mouse.move(WIDTH - 2, height - 2)
    page.evaluate("document.activeElement.blur()")
    settle(page)
    page.screenshot(path=path)
    print(path, flush=True)


def show_gammas(page: Page, address: str, out: Path) -> None:
    """Open the demo; what is seen first are the gammas of its sparse-trained model."""
    page.goto(address)
    page.get_by_role("button", name="Open the demo").click()
    page.get_by_text("All layers", exact=True).wait_for()
    take(page, out / "gammas.png", 1180)


def show_prune(page: Page, out: Path) -> None:
    """Slide the ratio to a half."""
    open_page(page, "Prune")
    slider = page.get_by_role("slider", name="Prune ratio")
    slider.focus()
    while float(slider.get_attribute("aria-valuetext") or slider.input_value()) < 0.5:
        slider.press("ArrowRight")
    page.get_by_text("0.50 asked", exact=True).wait_for()
    take(page, out / "prune.png", 1180)


def show_sparse_run(page: Page, out: Path) -> None:
    """Start a sparse run of the dense model, and look at it in its last epoch but one."""
    open_page(page, "Models")
    page.get_by_test_id("stSidebar").get_by_role("combobox").click()
    page.get_by_role("option", name="Demo: dense").click()
    page.get_by_text("Demo: dense is open").wait_for()
    open_page(page, "Train")
    epochs = page.get_by_test_id("stMain").get_by_role("spinbutton", name="Epochs", exact=True)
    epochs.fill(str(EPOCHS))
    epochs.press("Tab")
    settle(page)
    page.get_by_role("button", name="Start sparse training").click()
    last_but_one = re.compile(rf"Epoch {EPOCHS - 1} of {EPOCHS} · step [1-4] of")
    page.get_by_test_id("stMain").get_by_text(last_but_one).wait_for(timeout=RUN_MS)
    take(page, out / "jobs.png", 900)
    page.get_by_test_id("stMain").get_by_role("button", name="Stop", exact=True).click()
    # A worker that goes on would write into a folder that is being removed.
    page.get_by_test_id("stMain").get_by_role("button", name=re.compile("Resume|Try again|Run again")).first.wait_for()


def main() -> None:
    """Take all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder of the pictures")
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright, running_app(Path(name)) as address:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 1180}, color_scheme="light")
        page.set_default_timeout(PATIENCE_MS)
        show_gammas(page, address, out)
        show_prune(page, out)
        show_sparse_run(page, out)
        browser.close()


if __name__ == "__main__":
    main()
