"""The Export page: what goes together, and what a data set is remembered by."""

from app.library import family_data
from engine.store import Store


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
    store.finish_job(job.id, "done", {"gates": gates, **facts})
    app = open_page("export", demo.sparse.id)
    shown = [badge.value for badge in app.markdown if "badge" in badge.value]
    assert [word for word in ("Measured", "Not tested", "Passed") if any(word in badge for badge in shown)] == [
        "Measured",
        "Not tested",
    ]


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
