"""Numbers of a family that stand side by side were measured alike; others are shown as what they are."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.base.measurements import MeasurementKey
from engine.profile.facts import RecordedScore, TrainingConditions
from engine.reports import gather, report_html
from engine.workspace.family_scores import family_scores, shared_scores
from engine.workspace.store import Store

ROOT = Path(__file__).resolve().parents[3]
DENSE, SPARSE = (ROOT / "demo" / f"yolov8n-harbour{end}.pt" for end in ("", "-sparse"))
KEY = MeasurementKey("a", "set", "val", 320, 16, "cpu")


def row(weights: str, score: float, **changed):
    return replace(KEY, weights=weights, **changed), {"metrics": {"mAP50-95": score}}


def shown(scores) -> dict:
    return {digest: (score.metrics["mAP50-95"], score.shared) for digest, score in scores.items()}


@pytest.mark.parametrize(
    "changed",
    [{"data": "other"}, {"imgsz": 128}, {"batch": 1}, {"device": "0"}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_later_measurement_under_other_conditions_does_not_replace_the_one_that_most_share(changed):
    rows = [row("a", 0.6), row("b", 0.7), row("b", 0.2, **changed)]
    assert shown(shared_scores(rows, {})) == {"a": (0.6, True), "b": (0.7, True)}


def test_of_equally_many_the_newest_conditions_count():
    rows = [row("a", 0.6), row("b", 0.7), row("a", 0.61, imgsz=640), row("b", 0.71, imgsz=640)]
    assert shown(shared_scores(rows, {})) == {"a": (0.61, True), "b": (0.71, True)}
    again = [*rows[1:], rows[0]]
    assert shown(shared_scores(again, {})) == {"a": (0.6, True), "b": (0.7, True)}


def test_who_was_not_measured_alike_shows_its_own_latest_number_and_its_conditions():
    rows = [row("a", 0.6), row("b", 0.7), row("c", 0.1, imgsz=64), row("c", 0.2, imgsz=128, device="0")]
    scores = shared_scores(rows, {})
    assert shown(scores) == {"a": (0.6, True), "b": (0.7, True), "c": (0.2, False)}
    assert scores["c"].conditions == "val split at 128 px, batch 16, 0"
    assert scores["a"].conditions == "val split at 320 px, batch 16, cpu"
    elsewhere = shared_scores([*rows[:2], row("c", 0.2, data="other")], {})
    assert "on other images" in elsewhere["c"].conditions and "other" not in elsewhere["a"].conditions


def test_what_trainings_told_counts_where_more_share_it_and_never_mixes_with_measurements():
    alike = TrainingConditions("set", 320)
    own = {name: RecordedScore({"mAP50-95": score}, alike) for name, score in (("a", 0.5), ("b", 0.55))}
    assert shown(shared_scores([row("b", 0.2, imgsz=128)], own)) == {"a": (0.5, True), "b": (0.55, True)}
    both = [row("a", 0.51), row("b", 0.56)]
    assert shown(shared_scores(both, own)) == {"a": (0.51, True), "b": (0.56, True)}
    unknown = {name: replace(score, conditions=None) for name, score in own.items()}
    assert sorted(score.shared for score in shared_scores([], unknown).values()) == [False, True]
    assert shared_scores([], {}) == {}


def test_a_measurement_without_the_headline_shows_nothing():
    assert shared_scores([(KEY, {"metrics": {"mAP50": 0.5}})], {}) == {}


@pytest.fixture
def demo(tmp_path):
    store = Store(tmp_path / "workspace")
    dense = store.add_model(DENSE, "Dense", "demo", made={"verb": "train"})
    sparse = store.add_model(SPARSE, "Sparse", "demo", parent_id=dense.id, made={"verb": "sparsify"})
    return store, dense, sparse


def test_the_report_holds_only_like_numbers_against_each_other(demo):
    store, dense, sparse = demo
    assert "+0.040" in report_html(gather(sparse.path, store=store))
    store.keep_measurement(*row(sparse.digest, 0.205, imgsz=128))
    page = report_html(gather(sparse.path, store=store))
    assert "0.676" in page and "0.716" in page and "+0.040" in page
    assert "0.205" not in page and "-0.471" not in page
    for model in (dense, sparse):
        store.keep_measurement(*row(model.digest, 0.5 if model is dense else 0.6))
    store.keep_measurement(*row(dense.digest, 0.1, imgsz=64))
    page = report_html(gather(sparse.path, store=store))
    assert "0.500" in page and "0.600" in page and "+0.100" in page and "val split at 320 px" in page


def test_a_member_that_was_measured_otherwise_is_named_with_its_conditions_and_has_no_change(demo, tmp_path):
    store, dense, sparse = demo
    third = store.add_model(_copied(SPARSE, tmp_path / "c.pt"), "Third", "finetuned", parent_id=sparse.id)
    for model, score in ((dense, 0.5), (sparse, 0.6)):
        store.keep_measurement(*row(model.digest, score))
        store.keep_measurement(*row(model.digest, score, imgsz=640))
    store.keep_measurement(*row(third.digest, 0.205, imgsz=128))
    page = report_html(gather(third.path, store=store))
    assert "0.205 *" in page and "* Third: val split at 128 px, batch 16, cpu" in page
    assert "-0.295" not in page and "+0.100" in page and "-0.395" not in page
    scores = family_scores(store, dense)
    assert scores == family_scores(store, third), "one family, one set of conditions, from wherever one looks"
    assert shown(scores)[third.digest] == (0.205, False)


def test_a_family_member_whose_file_is_gone_shows_what_its_record_tells(demo):
    store, *_ = demo
    lost = store.add_model(_copied(DENSE, store.folder / "lost.pt"), "Lost", "imported", metrics={"mAP50-95": 0.3})
    lost.path.unlink()
    assert shown(family_scores(store, lost)) == {lost.digest: (0.3, True)}


def _copied(source: Path, target: Path) -> Path:
    """Write a checkpoint of another digest that tells no accuracy of its own."""
    import torch

    content = torch.load(source, map_location="cpu", weights_only=False)
    told = {key for key, value in content.items() if isinstance(value, dict) and "metrics" in value}
    torch.save({key: value for key, value in content.items() if key not in told}, target)
    return target
