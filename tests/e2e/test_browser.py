"""The whole story on the demo: real browser, real server, real worker processes."""

import re

import numpy as np
import pytest

from engine.base.numbers import MINUS
from engine.workspace.store import Store
from tests.e2e.tab import SLOW_MS, Watch, go_to, metric, query

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_from_the_demo_to_an_onnx_file(browser, server, tmp_path):
    from playwright.sync_api import expect

    address, workspace = server
    watch = Watch(address)
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    page = watch.follow(context.new_page())
    expect.set_options(timeout=30_000)

    # A first-time visitor opens the demo and sees its gammas.
    page.goto(address)
    page.get_by_role("button", name="Open the demo").click()
    page.get_by_role("heading", name="Gammas", exact=True).wait_for()
    page.get_by_text("All layers", exact=True).wait_for()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    model_id = query(page, "model")
    assert Store(workspace).model(model_id).name == "Demo: sparse-trained"

    # The slider: from 0 to 0.5 by keyboard, and everything follows.
    go_to(page, "Prune")
    assert query(page, "model") == model_id
    before = metric(page, "Parameters").inner_text()
    slider = page.get_by_role("slider", name="Prune ratio")
    slider.focus()
    for _ in range(5):
        slider.press("PageUp")
    while float(slider.get_attribute("aria-valuetext") or slider.input_value()) < 0.5:
        slider.press("ArrowRight")
    expect(metric(page, "Ratio achieved")).to_have_text(re.compile(r"^0\.(49|50)"))
    expect(metric(page, "Parameters")).not_to_have_text(before)
    assert query(page, "ratio") == "0.5"
    expect(page.get_by_test_id("stEChartsChart").locator("canvas").first).to_be_visible()

    # Prune and fine-tune in one click; progress appears.
    for label, value in (("Epochs", "2"), ("Image size", "96")):
        field = page.get_by_test_id("stMain").get_by_role("spinbutton", name=label, exact=True)
        field.fill(value)
        field.press("Tab")
    page.get_by_role("button", name="Prune and fine-tune").click()
    page.wait_for_url(re.compile(r"[?&]job="))
    job_id = query(page, "job")
    main = page.get_by_test_id("stMain")
    # On a fast machine all steps may pass between two looks of the page; then the epochs' curves are there.
    main.get_by_text(re.compile(r"step \d+ of \d+")).or_(main.locator(".js-plotly-plot")).first.wait_for()

    # A refresh and a second tab find the running job.
    page.reload()
    main.get_by_role("button", name="Stop", exact=True).or_(
        main.get_by_role("button", name="Open the model")
    ).wait_for()
    second = watch.follow(context.new_page())
    second.goto(f"{address}/jobs")
    second.wait_for_url(re.compile(rf"[?&]job={job_id}"))
    second.get_by_text("Fine-tuning ·").wait_for()

    # Both tabs see the end by themselves.
    main.get_by_role("button", name="Open the model").wait_for()
    second.get_by_role("button", name="Open the model").wait_for()
    assert Store(workspace).job(job_id).state == "done"
    metric(second, "mAP50").wait_for()
    second.close()

    # Open the result, export it, download it.
    main.get_by_role("button", name="Open the model").click()
    page.get_by_role("heading", name="Models", exact=True).wait_for()
    tuned = Store(workspace).model(query(page, "model"))
    assert tuned.kind == "finetuned"
    go_to(page, "Export")
    page.get_by_role("button", name="Export to ONNX").click()
    expect(metric(page, "ONNX checker")).to_have_text("Passed", timeout=SLOW_MS)
    difference = metric(page, "Largest difference").inner_text()
    assert float(difference.replace(MINUS, "-")) < 1e-2
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download ONNX").click()
    assert waiting.value.suggested_filename.endswith(".onnx")
    path = tmp_path / "model.onnx"
    waiting.value.save_as(path)
    assert_runs(path, imgsz=96)

    assert watch.foreign == []
    assert watch.complaints == []
    context.close()


def assert_runs(path, imgsz: int) -> None:
    """The downloaded file detects in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    assert entry.shape == [1, 3, imgsz, imgsz]
    (boxes,) = session.run(None, {entry.name: np.zeros(entry.shape, dtype=np.float32)})
    assert boxes.shape[0] == 1 and np.isfinite(boxes).all()


def test_a_bad_upload_is_explained_in_the_browser(browser, server, tmp_path):
    address, workspace = server
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"this is not a checkpoint")
    page = Watch(address).follow(browser.new_page())
    page.goto(address)
    page.locator("input[type=file]").set_input_files(broken)
    alert = page.get_by_role("alert").filter(has_text="broken.pt")
    alert.wait_for()
    assert "is not a checkpoint that can be read" in alert.inner_text()
    assert page.get_by_test_id("stException").count() == 0
    assert not list(workspace.glob(".aside-*"))
    page.close()
