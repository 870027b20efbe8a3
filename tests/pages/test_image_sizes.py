"""Height and width on the pages: where they may be written, what is told of them, what becomes of them."""

import pytest

from engine.base import numbers
from engine.pruning.session import Slimming
from engine.workspace.store import Store


def words(app):
    return " ".join(each.value for each in [*app.caption, *app.error]).replace("\\", "")


def tile(app, label):
    return next((metric for metric in app.metric if metric.label == label), None)


def test_costs_on_the_prune_page_are_counted_at_height_and_width(open_page, demo):
    app = open_page("prune", demo.sparse.id)
    size = next(box for box in app.text_input if box.label == "Image size for costs")
    assert size.value == "640"
    size.set_value("192,320").run()
    assert not app.exception and not app.error
    opened = Slimming.open(demo.sparse.path)
    shown = tile(app, "GFLOPs at 192 × 320 px").value
    assert shown == numbers.gflops(opened.cost_model((192, 320)).before.gflops)
    app.segmented_control(key="target").set_value("Latency").run()
    assert "has not timed this model at 192 × 320 px yet" in words(app)


@pytest.mark.parametrize(
    "written, said", [("wide", "wide is no image size; write a number of"), ("100", "100 is not a")]
)
def test_what_is_no_size_on_the_prune_page_is_one_sentence(written, said, open_page, demo):
    app = open_page("prune", demo.sparse.id)
    next(box for box in app.text_input if box.label == "Image size for costs").set_value(written).run()
    assert not app.exception and len(app.error) == 1 and said in words(app)


def test_the_export_page_takes_height_and_width(open_page, demo, workspace, started_jobs):
    app = open_page("export", demo.sparse.id)
    size = next(box for box in app.text_input if box.label == "Image size")
    size.set_value("wide").run()
    assert "wide is no image size" in words(app) and app.button(key="export").disabled
    next(box for box in app.text_input if box.label == "Image size").set_value("180,320").run()
    assert "Image size 180 × 320 becomes 192 × 320" in words(app)
    app.button(key="export").click().run()
    assert not app.exception
    (job,) = Store(workspace).jobs()
    assert (job.verb, job.spec["imgsz"]) == ("export", [180, 320])
