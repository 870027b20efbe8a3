"""How long the demo takes a newcomer: open it, preview, prune at 0.5, fine-tune 3 epochs, export, download ONNX.

    python benchmarks/newcomer.py

A real server, a real Chromium (``chromium`` on the path, or Playwright's own) and a fresh workspace; prints the seconds
since the start after every step. The limit is five minutes on two CPU cores.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 300
PATIENCE_MS = 120_000


@contextmanager
def running_app(folder: Path) -> Iterator[str]:
    """Start the app with a workspace in the folder and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "Home.py"), "--server.port", str(port)],
        cwd=folder,
        env={**os.environ, "PRUNE_WORKSPACE": str(folder / "workspace")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.kill()
        server.wait()


def walk_through(page: Page, address: str, folder: Path) -> Iterator[str]:
    """Do what a newcomer does and yield the name of each step when it is done."""
    page.goto(address)
    page.get_by_role("button", name="Open the demo").click()
    page.get_by_text("All layers", exact=True).wait_for()
    yield "demo open, gammas on screen"
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Prune").click()
    slider = page.get_by_role("slider", name="Prune ratio")
    slider.focus()
    while float(slider.get_attribute("aria-valuetext") or slider.input_value()) < 0.5:
        slider.press("ArrowRight")
    page.get_by_text("0.50 asked", exact=True).wait_for()
    yield "preview at 0.5"
    epochs = page.get_by_test_id("stMain").get_by_role("spinbutton", name="Epochs", exact=True)
    epochs.fill("3")
    epochs.press("Tab")
    page.get_by_role("button", name="Prune and fine-tune").click()
    page.get_by_test_id("stMain").get_by_role("button", name="Open the model").wait_for()
    yield "pruned and fine-tuned for 3 epochs"
    page.get_by_test_id("stMain").get_by_role("button", name="Open the model").click()
    page.get_by_role("heading", name="Models", exact=True).wait_for()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Export").click()
    page.get_by_role("button", name="Export to ONNX").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download ONNX").click()
    waiting.value.save_as(folder / "model.onnx")
    yield f"ONNX downloaded, {(folder / 'model.onnx').stat().st_size / 1e6:.1f} MB"


def main() -> int:
    """Time the walk and return 1 if it takes longer than the limit."""
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright, running_app(Path(name)) as address:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
        page.set_default_timeout(PATIENCE_MS)
        start = time.monotonic()
        for step in walk_through(page, address, Path(name)):
            print(f"{time.monotonic() - start:6.1f} s  {step}", flush=True)
        elapsed = time.monotonic() - start
        browser.close()
    print(f"{elapsed / LIMIT_S:.0%} of the five minutes")
    return int(elapsed > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
