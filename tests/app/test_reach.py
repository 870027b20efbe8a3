"""What a sparse run can reach, in numbers and sentences."""

from math import inf

import pytest

from app.training.reach import (
    far_sentence,
    few_sentence,
    number,
    outlook,
    rounded_up,
    short_sentence,
    targeted_sentence,
    zero_epochs,
)
from engine.training.sparsity import SparsitySettings, TrainingLength, reach

LENGTH = TrainingLength(images=200, epochs=50)


def proximal(strength: float) -> SparsitySettings:
    return SparsitySettings(method="proximal", strength=strength)


def test_a_weak_penalty_is_short_and_the_strength_offered_is_enough():
    found = outlook(proximal(0.001), LENGTH, median=1.0)
    assert found.short and not found.far
    again = outlook(proximal(found.needed), LENGTH, median=1.0)
    assert not again.short and not again.far
    assert again.reach.distance == pytest.approx(reach(proximal(found.needed), LENGTH).distance)
    assert f"{number(found.reach.distance)} at most" in short_sentence(found)


def test_a_strong_penalty_pulls_everything_down():
    weak = outlook(proximal(0.001), LENGTH, median=1.0)
    found = outlook(proximal(6 * weak.needed), LENGTH, median=1.0)
    assert found.far and not found.short
    assert "9 times the median" in far_sentence(found)


def test_the_targeted_method_always_reaches_zero():
    found = outlook(SparsitySettings(), LENGTH, median=1.0)
    assert found.reach.distance == inf and not found.short and not found.far and found.needed is None


def test_an_optimizer_that_rescales_the_penalty_has_no_strength_to_offer():
    length = TrainingLength(images=200, epochs=1, optimizer="AdamW", lr0=0.001)
    found = outlook(SparsitySettings(method="classic", strength=0.01), length, median=1.0)
    assert found.short and not found.far and found.needed is None


def test_few_steps_are_named_with_what_gives_more_of_them():
    length = TrainingLength(images=32, epochs=3)
    found = outlook(SparsitySettings(), length, median=1.0)
    assert found.few
    assert "nominal batch (now 64, under Advanced)" in few_sentence(found, length)
    even = TrainingLength(images=32, epochs=3, nbs=16)
    assert "nominal batch" not in few_sentence(outlook(SparsitySettings(), even, median=1.0), even)


@pytest.mark.parametrize(("value", "up"), [(0.1234, 0.13), (1.9, 1.9), (0.01, 0.01), (104.0, 110.0)])
def test_strengths_are_rounded_up(value, up):
    assert rounded_up(value) == pytest.approx(up)


@pytest.mark.parametrize(("epochs", "expected"), [(50, (5, 30)), (5, (1, 3)), (1, (1, 1))])
def test_the_epochs_of_a_targeted_run(epochs, expected):
    assert zero_epochs(epochs) == expected


def test_gammas_keep_the_digits_that_count():
    assert [number(value) for value in (1.0, 0.676, 0.0081)] == ["1.00", "0.68", "0.0081"]


def test_epochs_that_win_accuracy_back_are_promised_only_where_there_are_any():
    assert targeted_sentence(zero_epochs(50)[1], 50).startswith("The epochs after that win back")
    assert targeted_sentence(zero_epochs(2)[1], 2).startswith("No epoch is left after that")
