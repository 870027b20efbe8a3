"""Image sizes that are no multiple of the stride are rounded as Ultralytics rounds them, and the person is told."""

import pytest
from ultralytics.utils.checks import check_imgsz

from engine.base.imgsz import model_stride, rounded_side, rounding_words
from engine.checkpoints.checkpoint import open_checkpoint
from engine.verbs import run_verb
from tests.models import build
from tests.runs import spec


def statuses(events) -> str:
    return "\n".join(event["text"] for event in events if event["kind"] == "status")


@pytest.mark.parametrize("stride", [32, 64])
def test_sides_are_rounded_as_ultralytics_rounds_them(stride):
    assert [rounded_side(side, stride) for side in range(1, 300)] == [
        check_imgsz(side, stride=stride, floor=stride) for side in range(1, 300)
    ]


def test_the_stride_is_the_models_own_and_never_below_32():
    assert model_stride(build("yolov8n")) == 32
    assert model_stride(build("yolov8n-p6")) == 64
    assert model_stride(object()) == 32


def test_an_image_size_of_333_is_said_to_become_352():
    words = "Image size 333 becomes 352, rounded up to a multiple of the model's stride of 32 pixels."
    assert rounding_words(333, 32) == words
    assert rounding_words((333, 640), 32).startswith("Image size 333 × 640 becomes 352 × 640,")
    assert rounding_words(352, 32) == rounding_words((384, 640), 32) == ""


@pytest.mark.parametrize("verb", ["val", "compare", "accuracy"])
def test_measuring_says_the_size_it_rounds_to_and_measures_at_it(verb, dense, data, tmp_path):
    asked = {"data": data, "imgsz": 40, "device": "cpu", "save_dir": str(tmp_path)}
    asked |= {"images": 2, "ratios": [0.1]} if verb == "accuracy" else {}
    events = []
    weights = [str(dense)] if verb == "compare" else str(dense)
    result = run_verb(verb, {"weights": weights, **asked}, events.append)
    assert statuses(events).count("Image size 40 becomes 64") == 1
    assert result["imgsz"] == 64


def test_a_training_says_the_size_it_rounds_to_and_trains_at_it(dense, data, tmp_path):
    events = []
    asked = spec(dense, data, tmp_path / "run", imgsz=40, epochs=1)
    result = run_verb("finetune", asked, events.append)
    assert events[0] == {"kind": "status", "text": rounding_words(40, 32)}, "before anything else"
    assert result["imgsz"] == open_checkpoint(result["last"]).imgsz == 64
    assert "Image size" not in "".join(str(row) for row in result["comparison"])
