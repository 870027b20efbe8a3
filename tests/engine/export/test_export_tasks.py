"""Exports of models that find masks, keypoints and oriented boxes: the same boxes, or a failed gate that says so."""

import ast
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from engine.base.errors import ExportError
from engine.base.images import read_input
from engine.checkpoints.checkpoint import open_checkpoint
from engine.export import ExportSettings, export_model
from engine.export.boxes import matched_boxes
from engine.export.gates import boxes_gate, difference_gate
from engine.export.parity import measure_parity
from engine.runtimes.backends import open_backend, torch_backend
from tests.shapes import NAMES, SIZE, draw_shapes, learnt

TASKS = ("segment", "pose", "obb")
EXTRAS = {"segment": 32, "pose": 12, "obb": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that gives (weights, data.yaml, images) of a task; trained once, on first use."""
    known = {}

    def of(task: str) -> tuple[Path, Path, list[Path]]:
        if task not in known:
            folder = tmp_path_factory.mktemp(task)
            data = draw_shapes(folder / "set", task)
            known[task] = learnt(data, task, folder / "best.pt"), data, sorted((folder / "set" / "images").iterdir())
        return known[task]

    return of


def gate(result, name):
    """Return the gate of that name."""
    return next(each for each in result.gates if each.name == name)


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}


def with_last_node(model: onnx.ModelProto, operator: str, operand: np.ndarray, **attributes) -> onnx.ModelProto:
    """Put an operator with a constant second input between a model and its first output, and return the model."""
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["honest" if name == output else name for name in node.output]
    model.graph.initializer.append(onnx.numpy_helper.from_array(operand, "operand"))
    model.graph.node.append(onnx.helper.make_node(operator, ["honest", "operand"], [output], **attributes))
    return model


def shifted(source: Path, target: Path, channels: list[int], shift: float) -> Path:
    """Write an ONNX file whose first output is off by ``shift`` in some channels, and return its path."""
    model = onnx.load(str(source))
    offset = np.zeros((1, model.graph.output[0].type.tensor_type.shape.dim[1].dim_value, 1), dtype=np.float32)
    offset[0, channels] = shift
    onnx.save(with_last_node(model, "Add", offset), str(target))
    return target


def parity_of(weights: Path, exported: Path, images: list[Path], task: str):
    """Compare a file with a checkpoint on images."""
    model = open_checkpoint(weights).model
    arrays = [read_input(image, 3, SIZE, SIZE) for image in images]
    return measure_parity(
        torch_backend(model), open_backend(exported, "onnx"), arrays, classes=len(NAMES), task=task
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_what_the_model_finds_the_file_finds_and_a_tampered_file_fails_by_a_number(trained, tmp_path, task):
    weights, _, images = trained(task)
    result = export_model(weights, tmp_path / "model.onnx", ExportSettings(SIZE, dynamic=True), images=images)
    assert result.passed, [each.text for each in result.gates]
    assert result.boxes_expected >= len(images)
    assert gate(result, "boxes").value == 1.0 and gate(result, "difference").passed
    # Two single images of noise and two at once of another size, beside the drawn ones.
    assert result.images_compared == len(images) + 4
    moved = shifted(result.path, tmp_path / "moved.onnx", [0, 1], shift=8.0)
    parity = parity_of(weights, moved, images, task)
    boxes, difference = boxes_gate(parity, "fp32"), difference_gate(parity, "fp32")
    assert boxes.passed is False and boxes.value == 0
    assert (
        f"0 of {parity.boxes_expected} detections are the same (0.0\u00a0%; at least 99\u00a0% accepted)" in boxes.text
    )
    assert difference.passed is False and difference.value > 0.05
    assert f"by {parity.max_abs_difference:.3g} at most" in difference.text
    assert parity.max_abs_difference == pytest.approx(8, abs=0.01)
    # 8 bits are not held to raw outputs; the boxes still tell.
    assert difference_gate(parity, "int8").passed is None and boxes_gate(parity, "int8").passed is False


@pytest.mark.slow
def test_boxes_turned_in_place_are_not_the_same(trained, tmp_path):
    weights, _, images = trained("obb")
    path = export_model(weights, tmp_path / "model.onnx", ExportSettings(SIZE)).path
    turned = parity_of(weights, shifted(path, tmp_path / "turned.onnx", [-1], math.radians(40)), images, "obb")
    assert turned.boxes_expected >= len(images)
    found = boxes_gate(turned, "fp32")
    assert found.passed is False and found.value < 0.5
    # By half a turn a box comes to lie on itself.
    same = parity_of(weights, shifted(path, tmp_path / "half.onnx", [-1], math.pi), images, "obb")
    assert boxes_gate(same, "fp32").value == 1.0


@pytest.mark.slow
def test_boxes_whose_classes_changed_places_are_not_the_same(trained, tmp_path):
    weights, _, images = trained("obb")
    path = export_model(weights, tmp_path / "model.onnx", ExportSettings(SIZE)).path
    model = with_last_node(onnx.load(str(path)), "Gather", np.array([0, 1, 2, 3, 5, 4, 6]), axis=1)
    onnx.save(model, str(path))
    parity = parity_of(weights, path, images, "obb")
    assert parity.boxes_found == parity.boxes_expected >= len(images)
    assert boxes_gate(parity, "int8").passed is False and parity.boxes_matched == 0


@pytest.mark.slow
@pytest.mark.parametrize(("task", "precision"), [*((task, "int8") for task in TASKS), ("obb", "fp16")])
def test_fewer_bits_keep_boxes_and_what_the_task_is_about(trained, tmp_path, task, precision):
    weights, data, images = trained(task)
    result = export_model(weights, tmp_path / "model.onnx", ExportSettings(SIZE, precision=precision, data=data))
    assert gate(result, "checker").passed
    assert result.boxes_expected >= len(images)
    assert result.box_share >= 0.6  # a model this narrow loses more to 8 bits than one in use
    accuracy = gate(result, "accuracy")
    assert accuracy.value > 0.3 and accuracy.limit < result.accuracy["mAP50-95 fp32"]
    about = {"segment": "mAP50-95 of the masks is", "pose": "mAP50-95 of the keypoints is", "obb": "mAP50-95 is"}
    assert accuracy.text.startswith(about[task])


def expected_metadata(task: str, options: dict) -> dict:
    said = {"task": task, "stride": 32, "imgsz": [SIZE, SIZE], "names": NAMES, "channels": 3, "batch": 1}
    said |= {"slimming.precision": options.get("precision", "fp32"), "slimming.made_by": "YOLO Slimming Workbench"}
    return said | ({"kpt_shape": [4, 3]} if task == "pose" else {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nms": True},
        {"precision": "fp16", "nms": True},
        {"precision": "fp16", "dynamic": True},
        {"precision": "int8", "nms": True},
        {"precision": "int8", "dynamic": True, "simplify": False},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "plain",
)
def test_every_variant_finds_the_boxes_and_says_what_it_is_to_onnx_alone(trained, tmp_path, options):
    weights, data, images = trained("pose")
    result = export_model(weights, tmp_path / "model.onnx", ExportSettings(SIZE, **options, data=data))
    assert result.boxes_expected >= len(images)
    assert gate(result, "boxes").value >= (0.6 if "int8" in options.values() else 0.9)
    said = metadata(result.path)
    for key, value in expected_metadata("pose", options).items():
        assert (said[key] if isinstance(value, str) else ast.literal_eval(said[key])) == value
    checkpoint = open_checkpoint(weights)
    assert said["slimming.parent"] == checkpoint.digest
    assert said["slimming.parent_params"] == str(checkpoint.params)
    assert not any(str(weights.parent) in value or "/tmp" in value for value in said.values())


@pytest.mark.slow
@pytest.mark.parametrize(("task", "format"), [*((task, "onnx") for task in TASKS), ("obb", "torchscript")])
def test_suppression_inside_the_file_leaves_the_boxes_that_pytorch_finds(trained, tmp_path, task, format):
    weights, data, images = trained(task)
    settings = ExportSettings(SIZE, format=format, nms=True, data=data)
    result = export_model(weights, tmp_path / f"model.{format}", settings)
    assert result.output_shapes[0] == (1, 300, 6 + EXTRAS[task])
    assert result.boxes_expected >= len(images)
    assert gate(result, "boxes").value == 1.0
    if format == "onnx":  # raw outputs cannot be compared, so mAP tells of masks and keypoints
        accuracy = gate(result, "accuracy")
        assert accuracy.passed and accuracy.value == pytest.approx(result.accuracy["mAP50-95 fp32"], abs=1e-3)


@pytest.mark.parametrize(
    ("format", "precision"), [("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8"), ("torchscript", "fp32")]
)
def test_suppression_and_dynamic_shapes_are_refused_together(format, precision):
    """Traced for one image, the suppression would leave the other images of a batch without boxes."""
    with pytest.raises(ExportError, match="takes one image of one size; leave out dynamic shapes") as caught:
        ExportSettings(64, format=format, precision=precision, nms=True, dynamic=True, data=Path("data.yaml"))
    assert "\n" not in str(caught.value)


def test_oriented_boxes_match_by_place_size_angle_and_class():
    def box(left=50.0, width=40.0, height=10.0, degrees=0.0, label=1):
        return np.array([[left, 50, width, height, 0.9, label, math.radians(degrees)]], dtype=np.float32)

    def same(other):
        return matched_boxes(box(), other, rotated=True)

    assert same(box()) == same(box(left=50.5)) == same(box(degrees=1)) == 1
    assert same(box(degrees=180)) == same(box(width=10, height=40, degrees=90)) == 1
    assert same(box(degrees=45)) == same(box(degrees=90)) == same(box(left=60)) == same(box(label=0)) == 0
    assert same(np.concatenate([box(), box()])) == 1


def test_oriented_boxes_are_suppressed_by_their_angle():
    """Two bars that cross are two objects; two that lie on one another are one."""
    from engine.export.boxes import found_boxes

    columns = [[50, 50, 40, 10, 0.9, 0.1, 0.0], [50, 50, 40, 10, 0.8, 0.1, math.pi / 2], [50, 50, 41, 10, 0.7, 0.1, 0]]
    output = torch.tensor(columns, dtype=torch.float32).T[None].numpy()
    (found,) = found_boxes(output, classes=2, task="obb", suppressed=False)
    assert found.shape == (2, 7)
    np.testing.assert_allclose(found[:, 4], [0.9, 0.8])


def test_every_image_of_a_batch_has_its_own_boxes():
    from engine.export.boxes import found_boxes

    output = np.zeros((2, 6, 3), dtype=np.float32)
    output[1, :, 2] = 30, 30, 20, 10, 0.1, 0.6
    first, second = found_boxes(output, classes=2, task="detect", suppressed=False)
    assert first.shape == (0, 6)
    np.testing.assert_allclose(second, [[20, 25, 40, 35, 0.6, 1]])
