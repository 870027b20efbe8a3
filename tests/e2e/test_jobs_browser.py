"""A training that is stopped and resumed, and a recipe that runs by itself, in a real browser with real workers."""

import re

import pytest

from engine.workspace.store import Store
from tests.e2e.tab import Watch, go_to, query

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RECIPE = b"""name: Short
steps:
  - prune: {prune_ratio: 0.5}
  - export: {imgsz: 64}
"""


@pytest.fixture
def demo(server):
    """The demo's dense model in the server's workspace."""
    from engine.demo.shipped import open_demo

    return open_demo(Store(server[1])).dense


def fill(page, label: str, value: str) -> None:
    field = page.get_by_test_id("stMain").get_by_role("spinbutton", name=label, exact=True)
    field.fill(value)
    field.press("Tab")


def wait_for_epochs(page, store, job_id: str, count: int) -> list[int]:
    for _ in range(240):
        epochs = [event.payload["epoch"] for event in store.events(job_id, kinds=("epoch",))]
        if len(epochs) >= count:
            return epochs
        page.wait_for_timeout(250)
    pytest.fail(f"The job did not reach {count} epochs: {store.job(job_id)}")


def test_a_stopped_training_is_resumed_where_it_was(browser, server, demo):
    address, workspace = server
    store = Store(workspace)
    watch = Watch(address)
    page = watch.follow(browser.new_page(viewport={"width": 1400, "height": 1000}))
    page.goto(f"{address}/train?model={demo.id}")
    page.get_by_role("button", name="Start sparse training").wait_for()
    page.get_by_text("Small GPU (2 GB)", exact=True).click()
    for label, value in (("Epochs", "40"), ("Image size", "32"), ("Batch", "64")):
        fill(page, label, value)
    page.get_by_role("button", name="Start sparse training").click()
    page.wait_for_url(re.compile(r"/jobs\?.*job="))
    job_id = query(page, "job")
    wait_for_epochs(page, store, job_id, 1)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Resume", exact=True).click()
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    before = len(store.events(job_id, kinds=("epoch",)))
    epochs = wait_for_epochs(page, store, job_id, before + 1)
    assert query(page, "job") == job_id and len(store.jobs()) == 1
    assert epochs == list(range(1, len(epochs) + 1))
    page.get_by_text("Free to prune").wait_for()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Resume", exact=True).wait_for()
    assert page.get_by_test_id("stException").count() == 0
    assert watch.foreign == [] and watch.complaints == []
    page.close()


def test_a_recipe_runs_to_its_end_by_itself(browser, server, demo):
    address, workspace = server
    watch = Watch(address)
    page = watch.follow(browser.new_page(viewport={"width": 1400, "height": 1000}))
    page.goto(f"{address}/?model={demo.id}")
    go_to(page, "Recipes")
    page.get_by_text("My own file", exact=True).click()
    page.locator("input[type=file]").set_input_files({"name": "short.yaml", "mimeType": "text/yaml", "buffer": RECIPE})
    page.get_by_text("Pruning: ratio 0.5").wait_for()
    page.get_by_role("button", name="Run the recipe").click()
    page.wait_for_url(re.compile(r"/jobs\?.*job="))
    # The second step starts by itself and becomes a way to its job.
    page.get_by_role("button", name=re.compile(r"2\. Export")).click()
    page.get_by_role("link", name="Download ONNX").wait_for()
    (chain,) = Store(workspace).chains()
    assert [job.state for job in Store(workspace).chain_jobs(chain.id)] == ["done", "done"]
    assert page.get_by_test_id("stException").count() == 0
    assert watch.foreign == [] and watch.complaints == []
    page.close()
