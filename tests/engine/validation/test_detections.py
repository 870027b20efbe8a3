"""Which boxes two models share: pure array work, and a real model on a real image."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torchvision.ops import box_iou

from engine.base.errors import DatasetError
from engine.demo.dataset import make_demo_dataset
from engine.demo.shipped import SPARSE
from engine.validation.detections import Boxes, box_ious, find_boxes, match_boxes, open_predictor


def boxes(corners, classes=None) -> Boxes:
    corners = np.array(corners, dtype=float).reshape(-1, 4)
    classes = np.zeros(len(corners), int) if classes is None else np.array(classes)
    return Boxes(corners, np.linspace(1, 0.5, len(corners)), classes)


@st.composite
def some_boxes(draw) -> Boxes:
    count = draw(st.integers(0, 8))
    numbers = arrays.arrays(float, (count, 2), elements=st.floats(0, 60, width=32))
    low, size = draw(numbers), draw(numbers)
    classes = draw(arrays.arrays(int, count, elements=st.integers(0, 1)))
    return Boxes(np.hstack([low, low + size]), np.linspace(1, 0.5, count), classes)


NONE = boxes([])
UNIT = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("first", "second", "pairs", "only_first", "only_second"),
    [
        (NONE, NONE, [], [], []),
        (boxes([UNIT]), NONE, [], [0], []),
        (NONE, boxes([UNIT]), [], [], [0]),
        (boxes([UNIT]), boxes([UNIT]), [[0, 0]], [], []),
        (boxes([UNIT], [0]), boxes([UNIT], [1]), [], [0], [0]),
        (boxes([UNIT]), boxes([[0, 0, 10, 5]]), [[0, 0]], [], []),
        (boxes([UNIT]), boxes([[0, 0, 10, 4.9]]), [], [0], [0]),
        # The larger overlap wins, whatever the order; the other box stays alone.
        (boxes([[0, 0, 10, 8], UNIT]), boxes([UNIT]), [[1, 0]], [0], []),
    ],
    ids=["nothing", "left alone", "right alone", "same", "other class", "half", "less than half", "the better one"],
)
def test_boxes_are_paired_by_class_and_overlap(first, second, pairs, only_first, only_second):
    matches = match_boxes(first, second)
    assert matches.pairs.tolist() == pairs and matches.pairs.shape == (len(pairs), 2)
    assert (matches.only_first.tolist(), matches.only_second.tolist()) == (only_first, only_second)


@settings(deadline=None)
@given(some_boxes(), some_boxes())
def test_overlaps_are_those_of_torchvision(first, second):
    ours = box_ious(first.corners, second.corners)
    theirs = box_iou(torch.from_numpy(first.corners), torch.from_numpy(second.corners)).nan_to_num().numpy()
    assert ours.shape == (len(first), len(second))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


@settings(deadline=None)
@given(some_boxes(), some_boxes())
def test_every_box_is_in_one_pair_or_alone_and_no_possible_pair_is_left(first, second):
    matches = match_boxes(first, second)
    assert sorted([*matches.pairs[:, 0], *matches.only_first]) == list(range(len(first)))
    assert sorted([*matches.pairs[:, 1], *matches.only_second]) == list(range(len(second)))
    overlaps = box_ious(first.corners, second.corners)
    for row, column in matches.pairs:
        assert overlaps[row, column] >= 0.5 and first.classes[row] == second.classes[column]
    left = overlaps[np.ix_(matches.only_first, matches.only_second)]
    same = first.classes[matches.only_first][:, None] == second.classes[matches.only_second][None, :]
    assert not (same & (left >= 0.5)).any()


@settings(deadline=None)
@given(some_boxes())
def test_a_model_finds_nothing_alone_beside_itself(found):
    real = found.above(0)
    area = (real.corners[:, 2:] - real.corners[:, :2]).prod(axis=1)
    kept = Boxes(real.corners[area > 0], real.scores[area > 0], real.classes[area > 0])
    matches = match_boxes(kept, kept)
    assert not len(matches.only_first) and not len(matches.only_second)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    data = Path(make_demo_dataset(tmp_path_factory.mktemp("data") / "set", train=1, val=1, imgsz=320))
    return next(data.parent.glob("images/val/*"))


def test_leaving_out_weak_boxes_is_predicting_with_that_confidence(image):
    predictor = open_predictor(SPARSE)
    everything = find_boxes(predictor, image, 320)
    for confidence in (0.1, 0.25, 0.6):
        asked = find_boxes(predictor, image, 320, confidence)
        left = everything.above(confidence)
        np.testing.assert_allclose(asked.corners, left.corners, atol=1e-3)
        np.testing.assert_allclose(asked.scores, left.scores, atol=1e-6)
        assert asked.classes.tolist() == left.classes.tolist()
    assert 0 < len(left) < len(everything)


def test_two_tabs_at_different_sizes_do_not_meet_in_one_predictor(image):
    predictor = open_predictor(SPARSE)
    alone = {imgsz: len(find_boxes(predictor, image, imgsz)) for imgsz in (96, 320)}
    assert alone[96] != alone[320]
    with ThreadPoolExecutor(2) as pool:
        asked = [96, 320] * 12
        found = pool.map(lambda imgsz: len(find_boxes(predictor, image, imgsz)), asked)
    assert list(found) == [alone[imgsz] for imgsz in asked]


@pytest.mark.parametrize("content", [None, b"no image"], ids=["gone", "text"])
def test_an_image_that_cannot_be_read_is_named_in_one_sentence(tmp_path, content):
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken\.jpg is gone or no image"):
        find_boxes(open_predictor(SPARSE), path, 64)
