"""A real server with a workspace of its own, and a real Chromium."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.tab import Watch

ROOT = Path(__file__).resolve().parents[2]
_BROWSER_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START_S = 60


def _missing(reason: str) -> None:
    """Skip, unless this is the machine that is meant to run these tests."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason}, and the browser tests must run where CI=true")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    """Chromium: the system's, else the one that Playwright installed."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        _missing("Playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=list(_BROWSER_ARGUMENTS))
        except Error as error:
            _missing(f"No Chromium was found ({str(error).splitlines()[0]})")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server(demo_set, tmp_path_factory):
    """(address, workspace folder) of a running app, started from a foreign working directory.

    The workspace holds the demo's images, which a first-time visitor waits some seconds for, and nothing else.
    """
    folder = tmp_path_factory.mktemp("e2e")
    workspace = folder / "workspace"
    shutil.copytree(demo_set, workspace / "datasets" / "demo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("streamlit")), "run", str(ROOT / "app" / "Home.py")]
    log = folder / "server.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [*command, "--server.port", str(port)],
            cwd=folder,
            env={**os.environ, "PRUNE_WORKSPACE": str(workspace)},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(address, process, log)
        yield address, workspace
    finally:
        _end_jobs(workspace)
        end_server(process)


def end_server(process: subprocess.Popen) -> None:
    """End a server, and what it is the child of, which leads a session of its own where it has one."""
    kill = os.killpg if os.getpgid(process.pid) == process.pid else os.kill
    kill(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:  # an unfinished download keeps the server waiting
        kill(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_healthy(address: str, process: subprocess.Popen, log: Path) -> None:
    """Return once a server answers; fails with the end of its log where it does not."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as response:
                if response.read() == b"ok":
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"The server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _end_jobs(workspace: Path) -> None:
    from engine import jobs
    from engine.workspace.store import ACTIVE_STATES, Store

    store = Store(workspace)
    for job in store.jobs(ACTIVE_STATES):
        jobs.kill(store, job.id, grace_s=1.0)


@pytest.fixture(scope="module")
def demo_pruned(server):
    """(demo, its sparse model pruned at 0.62) in the server's workspace, made as the Prune page makes it."""
    from app.models import library
    from engine.demo.shipped import open_demo
    from engine.workspace.store import Store

    store = Store(server[1])
    demo = open_demo(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNE_WORKSPACE", str(server[1]))
        return demo, library.prune_into(store, demo.sparse, {"prune_ratio": 0.62, "imgsz": 320})


@pytest.fixture
def page(browser, server):
    """An empty tab that must stay without complaints."""
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)
    watch = Watch(server[0])
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    page = watch.follow(context.new_page())
    yield page
    assert page.get_by_test_id("stException").count() == 0
    assert watch.foreign == [] and watch.complaints == []
    context.close()
