"""Measured accuracy on the Prune page in a real browser: the curve behind the slider, the tile, the heat map."""

import json
import re

import numpy as np
import pytest

from engine.base.numbers import percent
from engine.demo.shipped import open_demo
from engine.validation.study import FOLDER, find_studies
from engine.workspace.store import Store
from tests.e2e.reading import traces, wait_until
from tests.e2e.tab import go_to, metric, query

pytestmark = [pytest.mark.browser, pytest.mark.slow]

IMAGES, IMGSZ = 4, 96
HEADLINE = "mAP50-95"
BLOCKS, SHARES = 4, 3
"Blocks to measure before the stop: all of them would take half a minute."


@pytest.fixture(scope="module")
def demo(server):
    return open_demo(Store(server[1]))


def start_measuring(page, button: str) -> None:
    """Press a button of the page and start what its dialog asks for, on few small images."""
    page.get_by_test_id("stMain").get_by_role("button", name=button, exact=True).click()
    dialog = page.get_by_role("dialog")
    for label, value in (
        ("Validation images", IMAGES),
        ("Recalibrate on so many", 0),
        ("Image size", IMGSZ),
    ):
        field = dialog.get_by_role("spinbutton", name=label, exact=True)
        field.fill(str(value))
        field.press("Tab")
    dialog.get_by_role("button", name="Start", exact=True).click()
    dialog.wait_for(state="hidden")


def kept(workspace, kind: str, model) -> dict | None:
    """Return the content of the measurement file of a model, None while there is none."""
    files = find_studies(workspace / FOLDER, kind, model.digest)
    return json.loads(files[0].read_text()) if files else None


def finished(store, verb: str, state: str = "done") -> bool:
    job = next((job for job in store.jobs() if job.verb == verb), None)
    assert job is None or job.state not in ("failed", "interrupted"), job.reason
    return job is not None and job.state == state


def measured_points(workspace, kind: str, model) -> int:
    content = kept(workspace, kind, model)
    return len(content["points"]) if content else 0


def curve_picture(page) -> str:
    """Return what is drawn behind the slider."""
    canvas = page.locator(".st-key-curve canvas").first
    canvas.wait_for()
    page.wait_for_timeout(1500)  # it moves into place
    return canvas.evaluate("canvas => canvas.toDataURL()")


def slide(page, ratio: float) -> None:
    """Move the prune ratio by keyboard."""
    slider = page.get_by_role("slider", name="Prune ratio")
    slider.focus()
    for _ in range(round(10 * ratio)):
        slider.press("PageUp")
    while float(slider.get_attribute("aria-valuetext") or slider.input_value()) < ratio:
        slider.press("ArrowRight")
    wait_until(page, lambda: query(page, "ratio") == f"{ratio:g}", "The slider stayed")


def test_the_curve_and_the_map_appear_without_a_reload(server, demo, page):
    from playwright.sync_api import expect

    address, workspace = server
    store = Store(workspace)
    page.goto(f"{address}/prune?model={demo.sparse.id}")
    expect(page.get_by_text("What these settings do to accuracy has not been measured.")).to_be_visible()
    page.evaluate("window.neverReloaded = true")
    assert metric(page, HEADLINE).count() == 0
    unmeasured = curve_picture(page)

    # The curve, in the background, on few images.
    start_measuring(page, "Measure accuracy")
    expect(page.get_by_text(re.compile(r"^Measuring|^Starting"))).to_be_visible()
    wait_until(page, lambda: finished(store, "accuracy"), "The curve was not measured")
    expect(page.get_by_text(f"On {IMAGES} images of demo/data.yaml at {IMGSZ} px")).to_be_visible()
    expect(page.get_by_role("button", name="Measure again")).to_be_visible()
    points = kept(workspace, "accuracy", demo.sparse)["points"]
    assert set(points) == {"dense", *(f"{ratio / 10:.4f}" for ratio in range(1, 10))}
    expect(metric(page, HEADLINE)).to_have_text(f"{points['dense']['metrics'][HEADLINE]:.3f}")
    assert curve_picture(page) != unmeasured, "the curve has no line for accuracy"

    # Its value at the slider, on the straight line between what was measured.
    slide(page, 0.7)
    expect(metric(page, "Ratio achieved")).to_have_text(re.compile(r"^0\.(69|70)"))
    pairs = sorted((at.get("ratio_achieved", 0.0), at["metrics"][HEADLINE]) for at in points.values())
    achieved = float(metric(page, "Ratio achieved").inner_text())
    # The tile knows the ratio in full, the page shows two digits of it: a steep line allows for half a digit more.
    allowed = np.interp(np.linspace(achieved - 0.005, achieved + 0.005, 11), *zip(*pairs, strict=True))
    least, most = allowed.min() - 0.0005, allowed.max() + 0.0005
    # One tile after the other is drawn anew, so this one may follow that of the ratio.
    wait_until(page, lambda: least <= float(metric(page, HEADLINE).inner_text()) <= most, "The tile is off the line")
    assert allowed.max() < points["dense"]["metrics"][HEADLINE], "the demo is free of charge up to about 0.6"
    assert page.evaluate("window.neverReloaded") is True

    # The heat map of blocks; what was measured before a stop is kept and shown.
    page.get_by_text("Sensitivity: where cutting hurts").click()
    start_measuring(page, "Measure sensitivity")
    enough = 2 + BLOCKS * SHARES
    wait_until(
        page, lambda: measured_points(workspace, "sensitivity", demo.sparse) >= enough, "The blocks were not measured"
    )
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_until(page, lambda: finished(store, "sensitivity", "stopped"), "The measurement did not stop")
    expect(page.get_by_text("Stopped. What was measured is kept")).to_be_visible()
    expect(page.get_by_text(f"Change of {HEADLINE} with one block alone pruned.")).to_be_visible()
    content = kept(workspace, "sensitivity", demo.sparse)
    (drawn,) = traces(page, "sensitivity map")
    whole = content["points"]["repaired"]["metrics"][HEADLINE]
    losses = {
        (at["block"].removeprefix("model."), percent(at["share"], 0)): whole - at["metrics"][HEADLINE]
        for at in content["points"].values()
        if "block" in at
    }
    assert {name.split()[0] for name in drawn["y"]} == {
        block["block"].removeprefix("model.") for block in content["blocks"]
    }
    shown = {
        (name.split()[0], share.removesuffix(" removed")): value
        for name, row in zip(drawn["y"], drawn["z"], strict=True)
        for share, value in zip(drawn["x"], row, strict=True)
        if value is not None
    }
    assert shown == {place: pytest.approx(max(loss, 0.0), abs=1e-9) for place, loss in losses.items()}
    assert len(losses) >= BLOCKS * SHARES - SHARES and max(losses.values()) > 0.01, (
        "cutting three quarters of some block costs accuracy"
    )
    expect(page.locator(".st-key-sensitivity-map .heatmaplayer image")).to_have_count(1)
    assert page.evaluate("window.neverReloaded") is True and query(page, "ratio") == "0.7"


def test_what_to_prune_to_survives_a_change_of_page_and_a_refresh(server, demo, page):
    from playwright.sync_api import expect

    page.goto(f"{server[0]}/prune?model={demo.sparse.id}&ratio=0.5")
    metric(page, "Ratio achieved").get_by_text("0.50").wait_for()
    go_to(page, "Gammas")
    go_to(page, "Prune")
    metric(page, "Ratio achieved").get_by_text("0.50").wait_for()
    page.get_by_role("radio", name="Parameters").click()
    budget = page.get_by_role("spinbutton", name="At most so many parameters")
    budget.fill("700000")
    budget.press("Enter")
    expect(metric(page, "Ratio achieved")).not_to_have_text("0.50")
    go_to(page, "Gammas")
    go_to(page, "Prune")
    expect(budget).to_have_value("700000")
    page.reload()
    expect(budget).to_be_visible()
