"""What the Prune page writes is what the curve behind its slider measured."""

import pytest

from app.models import library
from engine.demo.shipped import demo_data
from engine.pruning.session import Slimming
from engine.settings.results import dumped
from engine.validation.impact import MeasureSettings, accuracy_curve
from engine.validation.validator import validate
from engine.workspace.store import Store

IMGSZ = 320


@pytest.mark.parametrize(("which", "ratio", "images"), [("sparse", 0.5, 0), ("sparse", 0.8, 32), ("dense", 0.2, 32)])
def test_recalibrates_by_itself_where_the_curve_does(demo, workspace, which, ratio, images):
    store = Store(workspace)
    model = getattr(demo, which)
    data = str(demo_data(store))
    made = library.prune_into(store, model, {"prune_ratio": ratio, "imgsz": IMGSZ, "data": data})
    assert made.made["spec"].get("recalibrate", 0) == images
    asked = {"prune_ratio": ratio, "imgsz": IMGSZ, "data": data, "recalibrate": 8}
    assert library.prune_into(store, model, asked).made["spec"]["recalibrate"] == 8
    without = library.prune_into(store, model, {"prune_ratio": ratio, "imgsz": IMGSZ, "round_to": 8})
    assert "recalibrate" not in without.made["spec"]


@pytest.mark.slow
def test_the_pruned_model_is_as_accurate_as_the_curve_says(demo, workspace, tmp_path):
    store = Store(workspace)
    data = demo_data(store)
    measure = MeasureSettings(imgsz=IMGSZ, images=48, recalibrate_free=False)
    curve = accuracy_curve(Slimming.open(demo.dense.path), (0.2,), data=data, measure=measure, folder=tmp_path)
    asked = {"prune_ratio": 0.2, "imgsz": IMGSZ, "data": str(data), "criterion": "gamma"}
    made = library.prune_into(store, demo.dense, asked)
    measured = dumped(validate(made.path, data, imgsz=IMGSZ, batch=16, device="cpu", split="val"))
    assert measured["metrics"]["mAP50-95"] == pytest.approx(curve.points[0].metrics["mAP50-95"], abs=2e-3)
    assert measured["metrics"]["mAP50-95"] > 0.02
