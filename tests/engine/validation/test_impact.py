"""Accuracy before committing: what is measured is what pruning writes, kept point by point, and usable as weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import PlanError, StopRequested, WorkbenchError
from engine.datasets import check_dataset, image_files
from engine.demo.dataset import make_demo_dataset
from engine.pruning.criteria import ImportanceSettings
from engine.pruning.session import Slimming
from engine.pruning.solver import SolverSettings, solve
from engine.validation.impact import (
    MeasureSettings,
    accuracy_curve,
    block_of,
    read_factors,
    sensitivity,
    sensitivity_factors,
)
from engine.validation.impact.blocks import blocks_of, cut_block
from engine.validation.impact.lossless import is_free
from engine.validation.impact.subset import choose_subset, copy_subset, spread
from engine.validation.validator import validate
from engine.verbs import run_verb

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "demo" / "yolov8n-harbour-sparse.pt"
TINY = MeasureSettings(imgsz=64, images=3, recalibrate=2, batch=4)
losses = st.dictionaries(
    st.sampled_from([f"model.{number}" for number in range(6)]),
    st.dictionaries(st.sampled_from([0.25, 0.5, 0.75]), st.floats(-0.1, 0.9), min_size=1),
    min_size=1,
)


@pytest.fixture(scope="module")
def data(data) -> Path:
    return Path(data)


@pytest.fixture(scope="module")
def slimming():
    return Slimming.open(DEMO)


def files_below(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_point_of_the_curve_is_what_val_gives_for_the_file_that_prune_writes(slimming, data, tmp_path):
    before = files_below(data.parent)
    curve = accuracy_curve(slimming, [0.5, 0.0], data, TINY, tmp_path / "kept")
    assert files_below(data.parent) == before
    images = image_files(check_dataset(data), "train")[:2]
    pruned = slimming.prune(0.5, tmp_path / "pruned.pt", recalibration=images)
    (tmp_path / "subset").mkdir()
    subset = copy_subset(choose_subset(data, TINY), tmp_path / "subset")
    assert [point.ratio for point in curve.points] == [0.5]
    assert curve.points[0].metrics == validate(pruned, subset, imgsz=64, batch=4).metrics
    assert curve.dense == validate(DEMO, subset, imgsz=64, batch=4).metrics
    assert curve.points[0].params == slimming.preview(0.5).params
    assert curve.images == 3


def test_cuts_of_zeros_alone_are_left_as_they_are_and_others_recalibrated_unless_a_number_says_otherwise(
    slimming, tmp_path
):
    data = make_demo_dataset(tmp_path / "set", train=8, val=4, imgsz=160)
    gammas = np.concatenate(
        [slimming.checkpoint.model.get_submodule(layer.name).weight.detach().numpy() for layer in slimming.graph.layers]
    )
    zeros = float((gammas == 0).sum() / slimming.graph.prunable_channels)
    assert 0.3 < zeros < 0.75
    within, beyond = round(zeros - 0.1, 2), round(zeros + 0.05, 2)
    spec = {"weights": str(DEMO), "data": str(data), "imgsz": 160, "images": 4, "device": "cpu", "batch": 4}
    spec |= {"ratios": [within, beyond], "save_dir": str(tmp_path)}
    left, renewed = run_verb("accuracy", spec)["points"]
    assert (left["recalibrated"], renewed["recalibrated"]) == (0, 8), "the set has 8 training images"
    plain = run_verb("accuracy", {**spec, "recalibrate": 0})["points"]
    always = run_verb("accuracy", {**spec, "recalibrate": 32})["points"]
    assert [point["recalibrated"] for point in plain + always] == [0, 0, 8, 8]
    assert left["metrics"] == plain[0]["metrics"] and renewed["metrics"] == always[1]["metrics"]
    assert left["metrics"] != always[0]["metrics"] and renewed["metrics"] != plain[1]["metrics"]
    bare = run_verb("accuracy", {**spec, "compensate": False})["points"]
    assert [point["recalibrated"] for point in bare] == [8, 8], "what zeros emit is not folded in"


def test_a_cut_is_free_as_long_as_one_channel_in_fifty_at_most_has_another_gamma(slimming):
    model, graph = slimming.checkpoint.model, slimming.graph
    ranking = slimming.ranking()
    assert is_free(model, graph, np.ones(graph.group_count, dtype=bool))
    for ratio in np.arange(0.05, 0.95, 0.05):
        keep = solve(ranking, float(ratio)).keep
        gone = np.concatenate(
            [model.get_submodule(layer.name).weight.detach().numpy()[~keep[layer.groups]] for layer in graph.layers]
        )
        assert is_free(model, graph, keep) == ((gone != 0).mean() <= 0.02)


def test_a_stopped_measurement_keeps_its_points_and_goes_on_from_there(slimming, data, tmp_path):
    def stop_after_two(event):
        if event["kind"] == "step" and event["step"] == 2:
            raise StopRequested

    arguments = (slimming, [0.2, 0.6], data, TINY, tmp_path)
    first = accuracy_curve(*arguments, report=stop_after_two)
    assert first.stopped and [point.ratio for point in first.points] == [0.2] and first.dense
    kept = json.loads(Path(first.file).read_text())
    kept["points"]["0.2000"]["metrics"]["mAP50-95"] = 0.123  # what is known is not measured again
    Path(first.file).write_text(json.dumps(kept))
    second = accuracy_curve(*arguments)
    assert not second.stopped and second.file == first.file
    assert [point.ratio for point in second.points] == [0.2, 0.6]
    assert second.points[0].metrics["mAP50-95"] == 0.123


def test_other_settings_or_other_images_are_another_measurement(slimming, data, tmp_path):
    def stop(event):
        raise StopRequested

    files = {
        accuracy_curve(slimming, [0.2], source, measure, tmp_path, settings=limits, report=stop).file
        for source, measure, limits in (
            (data, TINY, SolverSettings()),
            (data, MeasureSettings(imgsz=64, images=2, recalibrate=2, batch=4), SolverSettings()),
            (data, TINY, SolverSettings(floor=8)),
        )
    }
    assert len(files) == 3


def test_ratios_that_floors_forbid_are_left_out_and_named(slimming, data, tmp_path):
    curve = accuracy_curve(slimming, [0.95], data, TINY, tmp_path, settings=SolverSettings(floor=64))
    assert curve.points == () and curve.beyond == (0.95,)
    with pytest.raises(PlanError, match=r"0\.95"):
        accuracy_curve(slimming, [0.99], data, TINY, tmp_path)


def test_every_block_is_cut_alone_to_its_share_and_never_below_a_floor(slimming):
    ranking = slimming.ranking(SolverSettings(floor=4))
    blocks = blocks_of(ranking)
    assert 15 <= len(blocks) <= 25 and [block.name for block in blocks][:2] == ["model.0", "model.1"]
    for block in blocks:
        for share in (0.25, 0.5, 0.75):
            keep = cut_block(ranking, block, share)
            removed = {layer.name: int((~keep[layer.groups]).sum()) for layer in slimming.graph.layers}
            assert {block_of(name) for name, count in removed.items() if count} == {block.name}
            assert share - 0.1 < sum(removed.values()) / block.channels <= share + 1e-9
            assert (slimming.graph.kept_channels(keep) >= np.minimum(slimming.graph.layer_sizes, 4)).all()


def test_a_share_that_a_floor_forbids_is_skipped(slimming):
    ranking = slimming.ranking(SolverSettings(floor=14))
    first = blocks_of(ranking)[0]  # 16 channels
    assert cut_block(ranking, first, 0.5) is None


def test_sensitivity_measures_every_block_and_becomes_weights(slimming, data, tmp_path):
    seen = []

    def stop_early(event):
        seen.append(event)
        if event["kind"] == "step" and event["step"] == 5:
            raise StopRequested

    found = sensitivity(slimming, data, TINY, tmp_path, [0.5], report=stop_early)
    assert found.stopped and len(found.blocks) >= 15
    measured = [block for block in found.blocks if block.metrics]
    assert [block.block for block in measured] == ["model.0", "model.1", "model.2"]
    assert measured[2].kind == "C2f" and seen[-1]["steps"] == len(found.blocks) + 2
    factors = dict(read_factors(found.file))
    assert set(factors) == {"model.0", "model.1", "model.2"}
    importance = ImportanceSettings(sensitivity=tuple(factors.items()))
    plain, weighted = slimming.group_scores(ImportanceSettings()), slimming.group_scores(importance)
    layer = next(layer for layer in slimming.graph.layers if layer.name == "model.1.bn")
    np.testing.assert_allclose(weighted[layer.groups], plain[layer.groups] * factors["model.1"])
    untouched = next(layer for layer in slimming.graph.layers if layer.name == "model.9.cv1.bn")
    np.testing.assert_array_equal(weighted[untouched.groups], plain[untouched.groups])


@given(losses)
@settings(deadline=None)
def test_a_more_sensitive_block_has_the_larger_factor(measured):
    factors = dict(sensitivity_factors(measured))
    per_share = {b: np.mean([max(loss, 0) / s for s, loss in each.items()]) for b, each in measured.items()}
    assert set(factors) == set(measured)
    assert all(1 / 11 - 1e-9 <= factor < np.inf for factor in factors.values())
    assert np.mean(list(factors.values())) == pytest.approx(1)
    for first in measured:
        for second in measured:
            if per_share[first] > per_share[second] + 1e-9:
                assert factors[first] > factors[second]


@given(st.dictionaries(st.sampled_from([0.25, 0.5, 0.75]), st.floats(-0.1, 0.9), min_size=1), st.integers(1, 8))
@settings(deadline=None)
def test_equally_sensitive_blocks_are_all_neutral(loss, count):
    factors = sensitivity_factors({f"model.{number}": loss for number in range(count)})
    assert [factor for _, factor in factors] == pytest.approx([1.0] * count)


def test_what_was_not_measured_has_no_factor():
    assert sensitivity_factors({}) == ()
    assert [block for block, _ in sensitivity_factors({"model.0": {}, "model.1": {0.5: 0.2}})] == ["model.1"]


def test_a_file_that_is_no_sensitivity_is_refused(slimming, tmp_path):
    with pytest.raises(PlanError, match="no sensitivity file"):
        read_factors(tmp_path / "gone.json")
    head = '"weights": "a", "settings": {}'
    for content in (
        '{"kind": "accuracy", %s, "points": {}}',
        '{"kind": "sensitivity", %s, "points": {"model.0 0.5": {"metrics": {"mAP50-95": 0.5}}}}',
        '{"kind": "sensitivity", %s, "points": [1]}',
        "[]",
    ):
        (tmp_path / "other.json").write_text(content.replace("%s", head))
        with pytest.raises(PlanError, match="holds no sensitivity"):
            read_factors(tmp_path / "other.json")
    with pytest.raises(PlanError, match="another architecture"):
        slimming.group_scores(ImportanceSettings(sensitivity=(("backbone.3", 2.0),)))


def test_images_are_spread_over_the_split():
    assert spread(list("abcdef"), 3) == ["a", "c", "e"] and spread(["a"], 3) == ["a"]


def test_the_verbs_take_the_terminal_s_options(data, tmp_path):
    spec = {"weights": str(DEMO), "data": str(data), "images": 2, "imgsz": 64, "recalibrate": 0, "device": "cpu"}
    result = run_verb("accuracy", {**spec, "ratios": [0.6], "save_dir": str(tmp_path)})
    assert Path(result["file"]).parent == tmp_path and len(result["points"]) == 1
    with pytest.raises(WorkbenchError, match="--images is 0; it must be a whole number of at least 1"):
        run_verb("accuracy", {**spec, "images": 0, "save_dir": str(tmp_path)})
