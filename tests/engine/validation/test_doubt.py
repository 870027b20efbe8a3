"""Matches count as Ultralytics counts, and the doubt of a difference is what the choice of images leaves."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.metrics import ap_per_class

from engine.validation.doubt import difference
from engine.validation.matches import MatchedBoxes, MatchedClasses, from_bytes, to_bytes
from engine.validation.validator import validate
from engine.validation.verdict import verdict


def drawn_boxes(seed: int, images: int = 20, classes: int = 3, boxes: int = 200, skill: float = 0.5) -> MatchedBoxes:
    """Return boxes of a model that finds objects by chance; objects are the same for every ``skill``."""
    random = np.random.default_rng(seed)
    object_image = np.sort(random.integers(0, images, 60)).astype(np.int32)
    object_label = random.integers(0, classes, 60).astype(np.int32)
    best = np.where(random.random(boxes) < skill, random.integers(0, 11, boxes), 0)
    return MatchedBoxes(
        images=images,
        image=np.sort(random.integers(0, images, boxes)).astype(np.int32),
        right=np.arange(10) < best[:, None],
        confidence=random.permutation(boxes).astype(np.float32) / boxes,
        label=random.integers(0, classes + 1, boxes).astype(np.int32),
        object_image=object_image,
        object_label=object_label,
    )


def ultralytics_map(found: MatchedBoxes) -> float:
    ap = ap_per_class(found.right, found.confidence, found.label, found.object_label)[5]
    return float(ap.mean())


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), boxes=st.integers(0, 300), skill=st.floats(0, 1))
def test_every_image_once_is_ultralytics_own_map(seed, boxes, skill):
    found = drawn_boxes(seed, boxes=boxes, skill=skill)
    once = np.ones((1, found.images), dtype=np.int64)
    assert found.score(once)[0] == pytest.approx(ultralytics_map(found), abs=1e-12)


def test_a_table_of_draws_takes_little_memory_however_many_boxes_there_are():
    found = drawn_boxes(0, images=500, classes=1, boxes=40_000, skill=0.002)
    drawn = np.random.default_rng(0).multinomial(500, np.full(500, 1 / 500), size=400)
    tracemalloc.start()
    try:
        scores = found.score(drawn)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6, "a number for each box of the class and draw takes 64 MB, and there were three"
    assert [found.score(drawn[at : at + 1])[0] for at in (0, 250, 399)] == pytest.approx(scores[[0, 250, 399]])


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_images_that_were_not_drawn_take_no_part(seed):
    found = drawn_boxes(seed)
    drawn = np.random.default_rng(seed).integers(0, 2, (1, found.images))
    boxes, objects = drawn[0, found.image] > 0, drawn[0, found.object_image] > 0
    left = MatchedBoxes(
        found.images,
        found.image[boxes],
        found.right[boxes],
        found.confidence[boxes],
        found.label[boxes],
        found.object_image[objects],
        found.object_label[objects],
    )
    expected = ultralytics_map(left) if objects.any() else 0.0
    assert found.score(drawn)[0] == pytest.approx(expected, abs=1e-12)


def test_an_image_drawn_twice_counts_twice():
    found = MatchedClasses(np.array([True, False, False]))
    assert found.score(np.array([[2, 1, 0], [1, 1, 1]])) == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("found", [drawn_boxes(0), MatchedClasses(np.array([True, False]))])
def test_matches_come_back_from_their_file_and_damage_gives_none(found):
    content = to_bytes(found)
    again = from_bytes(content)
    assert type(again) is type(found) and again.images == found.images
    assert all(np.array_equal(vars(again)[name], value) for name, value in vars(found).items())
    assert from_bytes(content[: len(content) // 2]) is None and from_bytes(b"") is None


def test_a_model_against_itself_leaves_no_doubt_and_a_better_one_is_called_so():
    same = difference(drawn_boxes(1), drawn_boxes(1), draws=100)
    assert (same.value, same.low, same.high, same.judgement) == (0, 0, 0, "same")
    apart = difference(drawn_boxes(1, boxes=400, skill=0.9), drawn_boxes(1, boxes=400, skill=0.1), draws=200)
    assert apart.judgement == "better" and 0 < apart.low < apart.value < apart.high
    back = difference(drawn_boxes(1, boxes=400, skill=0.1), drawn_boxes(1, boxes=400, skill=0.9), draws=200)
    assert back.judgement == "worse" and back.value == -apart.value


def test_models_that_saw_different_images_are_no_pair():
    with pytest.raises(ValueError, match="20 and 21 images make no pair"):
        difference(drawn_boxes(0), drawn_boxes(0, images=21))


def test_the_interval_holds_the_true_difference_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        first, second = random.random((2, 150)) < [[0.7], [0.6]]
        found = difference(MatchedClasses(first), MatchedClasses(second), draws=300, seed=seed)
        held += found.low <= 0.1 <= found.high
    assert 0.90 <= held / 200 <= 0.99, "95 % within what 200 trials can tell"


def test_a_verdict_says_who_by_how_much_and_how_sure():
    better = verdict("detect", "parent", ("a.pt", 0.2, drawn_boxes(1, skill=0.1)), (0.5, drawn_boxes(1, skill=0.9)))
    assert better.judgement == "better" and better.images == 20
    assert better.sentence.startswith("Better than the model it started from: mAP50-95 0.500 against 0.200 (+0.300; ")
    assert "at 95\u00a0% on 20 images" in better.sentence
    same = verdict("detect", "reference", ("a.pt", 0.5, drawn_boxes(1)), (0.5, drawn_boxes(1)))
    assert same.sentence.startswith("As good as the dense original, within the doubt: ")
    unknown = verdict("semantic", "reference", ("a.pt", 0.5, None), (0.4, None))
    assert unknown.judgement == "worse" and unknown.low is None and "cannot be told" in unknown.sentence


@pytest.mark.slow
def test_a_validation_hands_over_what_it_found_and_counts_the_same(dense, data):
    found = []
    measured = validate(dense, data, imgsz=64, matched=found.append)
    once = np.ones((1, found[0].images), dtype=np.int64)
    assert found[0].images == measured.images and len(found[0].image) > 0
    assert found[0].score(once)[0] == pytest.approx(measured.map50_95, abs=1e-9)
