"""Scores that look at a data set: which images, what is kept, and what a plan makes of them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.base.errors import PlanError, StopRequested
from engine.datasets import check_dataset, image_files
from engine.pruning.criteria import ImportanceSettings
from engine.pruning.session import Slimming
from engine.settings.choices import DATA_CRITERION, USUAL_CRITERION
from engine.validation.scores import choose_images, read_scores, scores_path, usual_criterion
from engine.validation.scoring import compute_scores

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def slimming(dense):
    return Slimming.open(dense)


def test_images_are_drawn_with_a_fixed_seed(data):
    info = check_dataset(data)
    everything = image_files(info, "train")
    some, again = choose_images(info, 5), choose_images(info, 5)
    assert some == again and len(some.files) == 5 and list(some.files) == sorted(some.files)
    assert set(some.files) < set(everything) and list(some.files) != everything[:5]
    assert choose_images(info, 5000).files == tuple(everything)
    assert choose_images(info, 6).digest != some.digest


def test_scores_are_computed_once_for_the_same_images(slimming, data, tmp_path):
    images, told = choose_images(check_dataset(data), 4), []
    asked = (slimming.checkpoint, slimming.graph, "taylor", images, tmp_path / "scores")
    first = compute_scores(*asked, report=told.append)
    assert [(event["step"], event["steps"]) for event in told if event["kind"] == "step"] == [(0, 1), (1, 1)]
    told.clear()
    again = compute_scores(*asked, report=told.append)
    assert not told and all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert [len(each) for each in again] == [layer.channels for layer in slimming.graph.layers]


def test_a_stop_leaves_no_scores(slimming, data, tmp_path):
    def stop(event):
        raise StopRequested

    with pytest.raises(StopRequested):
        compute_scores(
            slimming.checkpoint, slimming.graph, "fisher", choose_images(check_dataset(data), 4), tmp_path, stop
        )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", np.float32([1, 2, 3]), np.array([1.0, 2]), np.array([1.0, 2, -1])]
)
def test_a_file_that_holds_no_such_scores_is_none(tmp_path, content):
    path = scores_path(tmp_path, "a" * 64, "taylor", "b" * 64)
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    assert read_scores(path, [1, 2]) is None and read_scores(tmp_path / "none.npy", [1, 2]) is None
    np.save(path, np.array([1.0, 2, 3]))
    assert [each.tolist() for each in read_scores(path, [1, 2])] == [[1], [2, 3]]


def test_a_plan_uses_the_scores_of_the_images_that_it_names(slimming, data):
    images = choose_images(check_dataset(data), 4)
    asked = ImportanceSettings("taylor", images=images.digest)
    with pytest.raises(PlanError, match="not known yet"):
        slimming.plan(0.5, importance=asked)
    by_layer = compute_scores(slimming.checkpoint, slimming.graph, "taylor", images)
    slimming.learn(asked, by_layer)
    scores = slimming.group_scores(asked)
    groups = np.concatenate([layer.groups for layer in slimming.graph.layers])
    assert scores[groups[groups > 0]] == pytest.approx(np.concatenate(by_layer)[groups > 0])
    plan, by_gamma = slimming.plan(0.5, importance=asked), slimming.plan(0.5)
    assert (plan.keep != by_gamma.keep).any()
    with pytest.raises(PlanError, match="not known yet"):
        slimming.plan(0.5, importance=ImportanceSettings("fisher", images=images.digest))


def test_the_usual_criterion_looks_at_data_only_where_all_of_it_is_there(data):
    info = check_dataset(data)
    known = {"sparse": False, "fits": True}
    assert usual_criterion("detect", info, **known) == DATA_CRITERION
    assert usual_criterion("detect", None, **known) == USUAL_CRITERION
    assert usual_criterion("detect", replace(info, labels={"train": 0, "val": 3}), **known) == USUAL_CRITERION
    assert usual_criterion("detect", info, **{**known, "sparse": True}) == USUAL_CRITERION
    assert usual_criterion("detect", info, **{**known, "fits": False}) == USUAL_CRITERION
    assert usual_criterion("reid", info, **known) == USUAL_CRITERION


def test_what_pages_read_of_scores_needs_no_pytorch():
    script = "import sys, engine.validation.scores; print({'torch', 'ultralytics'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
