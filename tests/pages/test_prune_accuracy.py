"""The Prune page with measured accuracy: the curve, the tile, the weights, and the jobs that measure."""

import json
from pathlib import Path

import pytest

from app.words.measured import measured_blocks, measured_curve
from engine.pruning.criteria import ImportanceSettings
from engine.pruning.solver import SolverSettings
from engine.validation.impact import MeasureSettings
from engine.validation.study import read_study, settings_of
from engine.workspace.store import Store


def keep(workspace: Path, kind: str, digest: str, points: dict, **more) -> Path:
    """Write a measurement file as the engine does."""
    measure = settings_of(measure=MeasureSettings(imgsz=64), solver=SolverSettings(), importance=ImportanceSettings())
    content = {"kind": kind, "weights": digest, "settings": measure, "data": "/a/set/data.yaml", "images": 64}
    path = workspace / "measurements" / f"{kind}-{digest[:16]}-0.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**content, "points": points, **more}))
    return path


def at(value: float, **more) -> dict:
    return {"metrics": {"mAP50": value, "mAP50-95": value}, **more}


@pytest.fixture
def curve(demo, workspace):
    points = {"dense": at(0.8), "0.5000": at(0.6, ratio=0.5, ratio_achieved=0.5)}
    return keep(workspace, "accuracy", demo.sparse.digest, points)


@pytest.fixture
def blocks(demo, workspace):
    points = {
        "dense": at(0.8),
        "repaired": at(0.8),
        "model.2 0.5": at(0.2, block="model.2", share=0.5),
        "model.4 0.5": at(0.8, block="model.4", share=0.5),
    }
    named = [{"block": "model.2", "kind": "C2f"}, {"block": "model.4", "kind": "C2f"}]
    return keep(workspace, "sensitivity", demo.sparse.digest, points, blocks=named)


def tile(app):
    return next((metric for metric in app.metric if metric.label == "mAP50-95"), None)


def test_without_a_measurement_the_page_offers_one(open_page, demo):
    app = open_page("prune", demo.sparse.id)
    assert tile(app) is None
    assert app.button(key="measure accuracy").label == "Measure accuracy"
    assert app.button(key="measure sensitivity").label == "Measure sensitivity"
    assert app.toggle(key="spare").disabled


def test_the_tile_reads_the_curve_at_the_slider(open_page, demo, curve):
    app = open_page("prune", demo.sparse.id)
    assert tile(app).value == "0.800"
    app.slider(key="ratio").set_value(0.25).run()
    assert tile(app).value == "0.700"
    app.slider(key="ratio").set_value(0.6).run()
    assert tile(app).value == "–"
    assert not app.exception and not app.error


def test_a_curve_of_other_settings_is_not_shown(open_page, demo, curve):
    app = open_page("prune", demo.sparse.id)
    app.number_input(key="floor").set_value(8).run()
    assert tile(app) is None


def test_spared_blocks_keep_more_channels(open_page, demo, blocks):
    app = open_page("prune", demo.dense.id)
    assert app.toggle(key="spare").disabled  # measured on the other model
    app = open_page("prune", demo.sparse.id)
    app.slider(key="ratio").set_value(0.7).run()
    before = next(metric for metric in app.metric if metric.label == "Parameters").value
    app.toggle(key="spare").set_value(True).run()
    assert not app.exception and not app.error
    assert next(metric for metric in app.metric if metric.label == "Parameters").value != before


def test_the_button_asks_for_images_and_a_data_set(open_page, demo):
    app = open_page("prune", demo.sparse.id)
    app.button(key="measure accuracy").click().run()
    assert not app.exception and not app.error
    assert app.number_input(key="measure images").value == 64
    assert not app.button(key="start measuring").disabled  # the demo knows its data set


def test_a_measurement_is_a_job_whose_settings_are_the_page_s(demo, workspace, monkeypatch):
    import app.plan.accuracy
    from engine import jobs

    seen = {}
    monkeypatch.setattr(app.plan.accuracy, "store", lambda: Store(workspace))
    monkeypatch.setattr(app.plan.accuracy.st, "session_state", {})
    monkeypatch.setattr(jobs, "submit", lambda store, *job: seen.update(job=job) or store.add_job(*job))
    plan = {"prune_ratio": 0.3, "imgsz": 640, "floor": 8, "sensitivity": "/a/file.json"}
    app.plan.accuracy.start_measuring("accuracy", demo.sparse, plan, {"images": 64, "ratios": [0.1], "imgsz": 320})
    verb, spec, title, model_id = seen["job"]
    assert (verb, model_id, title) == ("accuracy", demo.sparse.id, "Accuracy of Demo: sparse-trained")
    assert spec["floor"] == 8 and spec["imgsz"] == 320 and spec["sensitivity"] == "/a/file.json"
    assert "prune_ratio" not in spec and Path(spec["measurements"]) == workspace / "measurements"
    app.plan.accuracy.start_measuring("sensitivity", demo.sparse, plan, {"images": 64})
    assert "sensitivity" not in seen["job"][1]


def test_files_become_a_curve_and_a_map(curve, blocks):
    measured = measured_curve(read_study(curve))
    assert measured.relative() == [(0.0, 100.0), (0.5, pytest.approx(75.0))]
    found = measured_blocks(read_study(blocks))
    assert found.changes == ((pytest.approx(-0.6),), (0.0,)) and found.shares == (0.5,)


def test_the_report_of_a_model_is_made_for_its_download(demo, workspace):
    from app.family.report import make_report

    page = make_report(Store(workspace), demo.sparse).decode()
    assert page.startswith("<!doctype html>") and page.count("<img ") == 6


def test_new_points_show_at_the_next_move(open_page, demo, curve):
    app = open_page("prune", demo.sparse.id)
    content = json.loads(curve.read_text())
    content["points"]["0.9000"] = at(0.2, ratio=0.9, ratio_achieved=0.9)
    curve.write_text(json.dumps(content))
    app.slider(key="ratio").set_value(0.6).run()
    assert tile(app).value not in ("–", "0.800")
