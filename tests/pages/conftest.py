"""A fresh workspace and the whole app, headless."""

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The folder of a workspace of this test alone."""
    folder = tmp_path / "workspace"
    monkeypatch.setenv("PRUNE_WORKSPACE", str(folder))
    return folder


@pytest.fixture
def open_page(workspace):
    """Return a function that runs the app, with a model open if its id is given, and goes to a page."""

    def open_at(name: str = "models", model_id: str | None = None) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app" / "frame" / "frame.py"), default_timeout=120)
        if model_id:
            app.session_state["model_id"] = model_id
        if name != "models":
            app.switch_page(str(ROOT / "pages" / f"{name}.py"))
        app.run()
        assert not app.exception
        return app

    return open_at


@pytest.fixture(scope="session")
def demo_workspace(demo_set, tmp_path_factory):
    """A workspace that holds the demo and what its files tell, made once: reading them takes seconds."""
    from engine.demo.shipped import open_demo
    from engine.workspace.file_facts import known_facts
    from engine.workspace.store import Store

    folder = tmp_path_factory.mktemp("demo") / "workspace"
    shutil.copytree(demo_set, folder / "datasets" / "demo")
    open_demo(store := Store(folder))
    known_facts(store, store.models())
    return folder


@pytest.fixture
def demo(workspace, demo_workspace):
    """The demo, put into the workspace."""
    from engine.demo.shipped import open_demo
    from engine.workspace.store import Store

    shutil.copytree(demo_workspace, workspace)
    return open_demo(Store(workspace))


@pytest.fixture
def started_jobs(workspace):
    """End the workers of the jobs that a test started."""
    yield
    from engine import jobs
    from engine.workspace.store import ACTIVE_STATES, Store

    store = Store(workspace)
    for job in store.jobs(ACTIVE_STATES):
        jobs.kill(store, job.id, grace_s=1.0)
