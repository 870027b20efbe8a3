"""The Export page: what goes together, and what a data set is remembered by."""

from engine.workspace.data import family_data
from engine.workspace.store import Store
from tests.models import build, write_checkpoint
from tests.results import written


def test_boxes_cannot_be_suppressed_in_a_file_of_dynamic_shapes(open_page, demo):
    app = open_page("export", demo.sparse.id)
    app.toggle(key="nms").set_value(True).run()
    app.toggle(key="dynamic").set_value(True).run()
    assert not app.exception and app.toggle(key="nms").disabled


def test_a_gate_with_a_number_but_no_limit_is_called_measured(open_page, demo, workspace):
    store = Store(workspace)
    job = store.add_job("export", {}, "Export", model_id=demo.sparse.id)
    gates = [
        {"name": "difference", "passed": None, "value": 0.5, "limit": None, "text": "Half."},
        {"name": "accuracy", "passed": None, "value": None, "limit": None, "text": "No data."},
    ]
    facts = {"max_abs_difference": 0.5, "size_mb": 1.0, "imgsz": [32, 32], "dynamic": False, "path": "gone.onnx"}
    store.finish_job(job.id, "done", written("export", gates=gates, **facts))
    app = open_page("export", demo.sparse.id)
    shown = [badge.value for badge in app.markdown if "badge" in badge.value]
    assert [word for word in ("Measured", "Not tested", "Passed") if any(word in badge for badge in shown)] == [
        "Measured",
        "Not tested",
    ]


def test_a_file_is_compared_on_the_data_set_that_its_family_is_known_by(open_page, demo):
    app = open_page("export", demo.sparse.id)
    assert app.toggle(key=f"compare on data {demo.sparse.id}").value
    assert app.segmented_control(key=f"export source {demo.sparse.id}").value == "Demo set"


def test_without_a_known_data_set_none_is_asked_for(open_page, demo, workspace):
    store = Store(workspace)
    path = store.folder / "alone.pt"
    path.write_bytes(demo.dense.path.read_bytes() + b"\0")
    alone = store.add_model(path, "Alone", "imported")
    app = open_page("export", alone.id)
    assert not app.toggle(key=f"compare on data {alone.id}").value
    assert f"export source {alone.id}" not in [each.key for each in app.segmented_control]


def test_a_file_whose_detections_nothing_tested_is_shown_as_not_verified(open_page, demo, workspace):
    store = Store(workspace)
    job = store.add_job("export", {}, "Export", model_id=demo.sparse.id)
    gates = [
        {"name": "size", "passed": True, "value": 1.0, "limit": 2.0, "text": "Small."},
        {"name": "boxes", "passed": None, "value": None, "limit": 0.8, "text": "Nothing found."},
        {"name": "accuracy", "passed": None, "value": None, "limit": None, "text": "Not square."},
    ]
    facts = {"max_abs_difference": 0.5, "size_mb": 1.0, "imgsz": [32, 64], "dynamic": False, "path": "gone.onnx"}
    store.finish_job(job.id, "done", written("export", gates=gates, verified=False, passed=False, **facts))
    app = open_page("export", demo.sparse.id)
    assert [warning.value.split(":")[0] for warning in app.warning] == ["Not verified"]
    assert "neither Detections nor Accuracy" in app.warning[0].value


def test_the_data_set_of_a_models_last_job_is_remembered(workspace, tmp_path):
    store = Store(workspace)
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    model = store.add_model(path, "Mine", "imported")
    assert family_data(store, model) is None
    store.add_job("sparsify", {"data": "old.yaml"}, "Old", model_id=model.id)
    store.add_job("val", {"data": "new.yaml"}, "New", model_id=model.id)
    store.add_job("inspect", {}, "Other", model_id=model.id)
    assert family_data(store, model) == "new.yaml"


def test_the_head_is_chosen_where_a_model_has_two_and_final_boxes_are_not_suppressed(open_page, workspace):
    store = Store(workspace)
    path = write_checkpoint(build("yolo26n"), store.folder / "two.pt")
    app = open_page("export", store.add_model(path, "Two heads", "imported").id)
    assert app.segmented_control(key="head").value == "end2end" and app.toggle(key="nms").disabled
    app.segmented_control(key="head").set_value("one-to-many").run()
    assert not app.exception and not app.toggle(key="nms").disabled


def test_no_head_is_asked_for_where_a_model_has_one(open_page, demo):
    assert "head" not in [each.key for each in open_page("export", demo.sparse.id).segmented_control]
