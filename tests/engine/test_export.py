import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from engine.errors import CheckpointError, ExportError
from engine.export import TOLERANCE, export_onnx
from engine.runtime import import_ultralytics

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """An ordinary YOLOv8n checkpoint with random weights and lively BatchNorm statistics."""
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
    model.names = {0: "square", 1: "disc"}
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "train_args": {"imgsz": 64}}, path)
    return path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_exported_file_computes_what_the_checkpoint_computes(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = _digest(weights)
    events = []
    path = tmp_path / "exports" / "small.onnx"
    result = export_onnx(weights, imgsz=64, save_path=path, report=events.append)
    assert result.path == path
    assert result.size_mb == path.stat().st_size / 1e6
    assert result.imgsz == (64, 64)
    assert result.input_shape == (1, 3, 64, 64)
    assert result.output_shapes == ((1, 6, 84),)
    assert result.images_compared == 2
    assert 0 <= result.mean_abs_difference <= result.max_abs_difference < 0.05
    assert result.max_rel_difference <= TOLERANCE
    assert result.within_tolerance
    assert [event["kind"] for event in events] == ["status"] * len(events)
    assert _digest(weights) == before
    assert list(weights.parent.iterdir()) == [weights]
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["small.onnx"]


def test_the_metadata_of_ultralytics_stays_in_the_file(weights, tmp_path):
    result = export_onnx(weights, imgsz=64, save_path=tmp_path / "small.onnx", opset=17)
    model = onnx.load(str(result.path))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["task"] == "detect"
    assert "square" in metadata["names"]
    assert result.opset == 17
    predictions = (
        import_ultralytics()
        .YOLO(str(result.path), task="detect")
        .predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, device="cpu", save=False, verbose=False)
    )
    assert predictions[0].names == {0: "square", 1: "disc"}


def test_a_dynamic_file_is_also_compared_at_another_size(weights, tmp_path):
    result = export_onnx(weights, imgsz=(64, 96), save_path=tmp_path / "any.onnx", dynamic=True, simplify=False)
    assert result.imgsz == (64, 96)
    assert result.dynamic
    assert result.images_compared == 4
    dimensions = onnx.load(str(result.path)).graph.input[0].type.tensor_type.shape.dim
    assert [dimension.dim_param for dimension in dimensions] == ["batch", "", "height", "width"]


def test_real_images_join_the_comparison(weights, tmp_path):
    image = tmp_path / "Größe.png"
    cv2.imencode(".png", np.full((40, 90, 3), 120, np.uint8))[1].tofile(image)
    result = export_onnx(weights, imgsz=64, save_path=tmp_path / "small.onnx", images=[image])
    assert result.images_compared == 3


def test_a_file_beyond_the_tolerance_is_not_kept_unless_asked_for(weights, tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(b"an earlier export")
    with pytest.raises(ExportError, match=r"differs from random\.pt by .* \(tolerance 0\), so it was not kept"):
        export_onnx(weights, imgsz=64, save_path=path, tolerance=0)
    assert path.read_bytes() == b"an earlier export"
    assert list(tmp_path.iterdir()) == [path]
    kept = export_onnx(weights, imgsz=64, save_path=path, tolerance=0, keep_mismatch=True)
    assert not kept.within_tolerance
    assert kept.as_dict()["within_tolerance"] is False
    onnx.checker.check_model(str(path))


def test_an_error_in_the_scores_is_not_hidden_by_the_size_of_the_boxes(weights, tmp_path):
    """A class score off by a few hundredths is nothing beside boxes of 64 pixels, and still has to show."""
    from engine.checkpoint import open_checkpoint
    from engine.export import _measure_parity, _structured_noise

    path = export_onnx(weights, imgsz=64, save_path=tmp_path / "small.onnx").path
    model = open_checkpoint(weights).model
    with torch.no_grad():
        for branch in model.model[-1].cv3:
            branch[-1].bias[1] += 0.1
    parity = _measure_parity(model, path, [_structured_noise(3, 64, 64)[:1]])
    assert parity.max_abs_difference < 0.1
    assert parity.max_rel_difference > TOLERANCE


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"imgsz": 0}, "image size 0"),
        ({"imgsz": (64, 64, 64)}, "one or two positive numbers"),
        ({"imgsz": 64, "opset": 3}, r"random\.pt could not be exported to ONNX"),
        ({"imgsz": 64, "name": "small.pt"}, r"does not end in \.onnx"),
        ({"imgsz": 64, "images": [Path("nowhere.png")]}, r"nowhere\.png is not an image"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(weights, tmp_path, arguments, sentence):
    name = arguments.get("name", "small.onnx")
    arguments = {key: value for key, value in arguments.items() if key != "name"}
    with pytest.raises(ExportError, match=sentence) as caught:
        export_onnx(weights, save_path=tmp_path / name, **arguments)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_checkpoint_is_refused_before_anything_is_written(tmp_path):
    fake = tmp_path / "fake.pt"
    fake.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError):
        export_onnx(fake, imgsz=64, save_path=tmp_path / "small.onnx")
    assert list(tmp_path.iterdir()) == [fake]


@pytest.mark.parametrize("name", ["yolov8n-bccd", "yolo11n-bccd"])
def test_trained_checkpoints_export_within_the_tolerance(name, tmp_path):
    trained = SHARED / "checkpoints" / f"{name}.pt"
    if not trained.is_file():
        pytest.skip(f"{trained} is not there")
    images = sorted((SHARED / "data" / "bccd" / "images" / "val").glob("*.jpg"))[:2]
    result = export_onnx(trained, imgsz=320, save_path=tmp_path / f"{name}.onnx", images=images)
    assert result.max_rel_difference < TOLERANCE
    assert result.max_abs_difference < 0.01
