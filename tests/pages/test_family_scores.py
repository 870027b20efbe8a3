"""The Lineage page and the report tell one accuracy of a model, and only like numbers without a remark."""

from dataclasses import replace

from app.charts.family import facts
from app.models import library
from engine.base.measurements import MeasurementKey
from engine.reports import gather
from engine.workspace.lineage import family
from engine.workspace.store import Store


def measure(store: Store, model, score: float, imgsz: int = 320) -> None:
    key = MeasurementKey(model.digest, "set", "val", imgsz, 16, "cpu")
    store.keep_measurement(key, {"metrics": {"mAP50-95": score}})


def number(app) -> str:
    return next(metric.value for metric in app.metric if metric.label == "mAP50-95")


def test_one_validation_at_another_size_does_not_stand_beside_the_family_s_numbers(open_page, demo, workspace):
    store = Store(workspace)
    for model, score in ((demo.dense, 0.61), (demo.sparse, 0.62)):
        measure(store, model, score)
    measure(store, demo.sparse, 0.205, 128)
    app = open_page("lineage", demo.sparse.id)
    assert not app.error and number(app) == "0.620"
    reported = gather(demo.sparse.path, store=store).lineage
    assert [member.metrics["mAP50-95"] for member in reported] == [0.61, 0.62]


def test_a_member_that_was_measured_otherwise_is_marked_and_its_conditions_are_said(open_page, demo, workspace):
    store = Store(workspace)
    child = library.prune_into(store, demo.sparse, {"prune_ratio": 0.5, "imgsz": 320})
    for model, score in ((demo.dense, 0.61), (demo.sparse, 0.62)):
        measure(store, model, score)
    measure(store, child, 0.205, 128)
    app = open_page("lineage", child.id)
    assert not app.error and number(app) == "0.205"
    said = [caption.value.replace("\\", "") for caption in app.caption]
    assert [text for text in said if text.startswith(f"* {child.name}: val split at 128 px, batch 16, cpu")]
    assert gather(child.path, store=store).model.metrics["mAP50-95"] == 0.205


def test_a_card_of_the_tree_marks_a_number_that_was_measured_otherwise(demo, workspace):
    (dense, *_) = family(Store(workspace).models(), [], {}, demo.dense.id)
    assert facts(replace(dense, score=0.205)).endswith("mAP50-95 0.205")
    assert facts(replace(dense, score=0.205, conditions="val split at 128 px")).endswith("mAP50-95 0.205 *")
