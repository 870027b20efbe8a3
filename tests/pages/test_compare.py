"""The Compare page: what is known shows at once, what is missing can be measured. No worker measures anything here."""

from pathlib import Path

import pytest

from app.comparison import side_by_side
from app.models import library
from engine.base.measurements import MeasurementKey
from engine.validation.cache import dataset_digest
from engine.workspace.store import Store
from tests.results import measurement, timing, written
from tests.runs import write_dense
from tests.tasks import write_model


def said(app) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def know(demo, workspace, model, score: float, imgsz: int = 320) -> None:
    key = MeasurementKey(model.digest, dataset_digest(Path(demo.data), "val"), "val", imgsz, 16, "cpu")
    metrics = {"precision": 0.9, "recall": 0.8, "mAP50": 0.95, "mAP50-95": score}
    Store(workspace).keep_measurement(key, measurement(metrics=metrics, per_class={"barge": score, "buoy": 0.5}))


@pytest.fixture
def on_the_cpu(monkeypatch):
    """The conditions of these tests, on a machine with a GPU as well."""
    monkeypatch.setattr("app.training.settings.devices", lambda: {"cpu": "CPU"})


@pytest.fixture
def show(open_page, demo, on_the_cpu):
    return lambda model=None: open_page("compare", (model or demo.sparse).id)


def keys(app) -> set[str]:
    return {button.key for button in app.button}


def test_without_a_model_the_page_says_what_it_is_for(open_page):
    app = open_page("compare")
    assert not app.error and "side by side" in said(app)


def test_sizes_show_at_once_and_accuracy_once_it_was_measured(show, demo, workspace):
    app = show()
    assert not app.error
    table = app.dataframe[0].value
    assert table["Model"].tolist() == ["Demo: dense", "Demo: sparse-trained"]
    assert table["Parameters"].tolist() == [3_011_433] * 2 and table["mAP50-95"].isna().all()
    assert app.selectbox(key=f"compare reference {demo.sparse.id}").value == demo.dense.id
    assert "measure" in keys(app)
    know(demo, workspace, demo.dense, 0.6)
    app = show()
    assert next(button for button in app.button if button.key == "measure").label == "Measure it"
    assert "Not measured under these conditions: Demo: sparse-trained" in said(app)
    know(demo, workspace, demo.sparse, 0.7)
    app = show()
    assert "measure" not in keys(app)
    assert app.dataframe[0].value["mAP50-95"].tolist() == [0.6, 0.7]
    app.number_input(key="compare imgsz 320").set_value(640).run()
    assert "measure" in keys(app), "another image size is another measurement"


def test_what_is_missing_is_measured_by_one_job_under_the_conditions_shown(show, demo, workspace, started_jobs):
    app = show()
    app.number_input(key="compare imgsz 320").set_value(64).run()
    app.button(key="measure").click().run()
    assert not app.exception and not app.error
    (job,) = Store(workspace).jobs()
    assert (job.verb, job.model_id, job.devices) == ("compare", demo.sparse.id, ("cpu",))
    assert job.spec == {
        "weights": [str(demo.dense.path), str(demo.sparse.path)], "reference": str(demo.dense.path),
        "data": str(demo.data), "split": "val", "imgsz": 64, "batch": 16, "device": "cpu",
    }  # fmt: skip
    assert next(button for button in app.button if button.key == "measure latency").disabled


def test_latency_is_a_cost_to_choose_once_all_were_measured_together(show, demo, workspace):
    know(demo, workspace, demo.dense, 0.6)
    know(demo, workspace, demo.sparse, 0.7)
    store = Store(workspace)
    app = show()
    assert "Latency, ms" not in app.button_group(key="compare cost 2").options
    assert app.button(key="measure latency").label == "Measure latency"
    finish_latency(store, (demo.dense, demo.sparse), 12.5)
    app = show()
    app.button_group(key="compare cost 3").set_value("Latency, ms").run()
    assert not app.exception and app.dataframe[0].value["Latency, ms"].tolist() == [12.5, 12.5]
    assert "Latency at 320 px in ONNX Runtime, 2 threads." in said(app)


def finish_latency(store: Store, models, p50_ms: float, imgsz: int = 320) -> None:
    job = store.add_job("latency", {}, "Latency")
    told = {"digest": None, "imgsz": imgsz, "threads": 2, "p50_ms": p50_ms}
    results = [timing(weights=str(model.path), **told) for model in models]
    store.finish_job(job.id, "done", written("latency", results=results))


def test_latency_can_be_measured_again_and_the_newest_counts(show, demo, workspace, started_jobs):
    store, models = Store(workspace), (demo.dense, demo.sparse)
    finish_latency(store, models, 12.5)
    app = show()
    assert app.button(key="measure latency").label == "Measure again"
    app.button(key="measure latency").click().run()
    assert not app.exception and not app.error
    job = store.jobs()[0]
    assert (job.verb, job.spec["weights"], job.spec["imgsz"]) == ("latency", [str(each.path) for each in models], 320)
    finish_latency(store, models, 9.0)
    assert show().dataframe[0].value["Latency, ms"].tolist() == [9.0, 9.0]


def test_models_for_classification_are_compared_by_their_own_metric(open_page, workspace, on_the_cpu, tmp_path):
    store = Store(workspace)
    classifier = store.add_model(write_model("classify", tmp_path / "c.pt"), "Classifier", "imported")
    app = open_page("compare", classifier.id)
    assert not app.error and "With a data set, accuracy is measured as well" in said(app)
    assert "measure latency" in keys(app)
    columns = list(app.dataframe[0].value.columns)
    assert "Top-1 accuracy" in columns and not any("mAP" in name for name in columns)
    size = side_by_side.size_of(classifier).facts.trained_imgsz
    finish_latency(store, (classifier,), 4.0, size)
    app = open_page("compare", classifier.id)
    assert app.dataframe[0].value["Latency, ms"].tolist() == [4.0]


def test_classes_show_with_their_changes(show, demo, workspace):
    know(demo, workspace, demo.dense, 0.6)
    know(demo, workspace, demo.sparse, 0.7)
    app = show()
    app.button_group(key="compare view").set_value("By class").run()
    assert not app.exception
    table = next(frame.value for frame in app.dataframe if "Class" in frame.value)
    assert table["Demo: sparse-trained"].tolist() == [0.7, 0.5]
    assert "Against Demo: dense" in said(app)


def test_a_model_of_other_classes_is_left_out_in_one_sentence(show, demo, workspace, tmp_path):
    store = Store(workspace)
    cats = store.add_model(write_dense(tmp_path / "cats.pt"), "Cats", "imported")
    app = show()
    app.multiselect(key=f"compare models {demo.sparse.id}").set_value([demo.dense.id, cats.id]).run()
    assert not app.exception and len(app.warning) == 1
    sentence = app.warning[0].value.replace("\\", "")
    assert sentence.startswith("Cats knows other classes") and "Demo: dense" in sentence
    assert app.dataframe[0].value["Model"].tolist() == ["Demo: dense"]


def test_nothing_chosen_is_a_hint_and_a_missing_split_one_sentence(show, demo):
    app = show()
    app.button_group(key="compare split").set_value("test").run()
    assert not app.exception and len(app.error) == 1 and "test" in app.error[0].value
    app.multiselect(key=f"compare models {demo.sparse.id}").set_value([]).run()
    assert not app.exception and app.info[0].value == "Choose at least one model."


def test_two_models_look_at_the_same_image(show, demo):
    app = show()
    app.button_group(key="compare view").set_value("On images").run()
    assert not app.exception and not app.error
    shown = said(app)
    assert "**Demo: dense** ·" in shown and "**Demo: sparse-trained** ·" in shown
    chosen = app.selectbox(key=f"image {demo.data} val")
    assert chosen.label == "Image 1 of 48"
    next(button for button in app.button if button.label == "Next").click().run()
    assert app.selectbox(key=f"image {demo.data} val").label == "Image 2 of 48"
    for _ in range(2):
        next(button for button in app.button if button.label == "Previous").click().run()
    assert app.selectbox(key=f"image {demo.data} val").label == "Image 48 of 48"
    app.slider(key="predictions confidence").set_value(0.95).run()
    assert not app.exception and not app.error


def test_a_model_whose_file_is_gone_is_named_in_one_sentence(show, demo, workspace):
    child = library.prune_into(Store(workspace), demo.sparse, {"prune_ratio": 0.5, "imgsz": 320})
    assert not show(demo.sparse).warning  # sizes are kept from here on
    child.path.unlink()
    app = show(demo.sparse)
    assert not app.exception and len(app.warning) == 1
    assert child.name in app.warning[0].value.replace("\\", "")
