import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.base.errors import CheckpointError, DatasetError
from engine.base.runtime import import_ultralytics
from engine.settings.results import dumped
from engine.validation.validator import validate

SHARED = Path(__file__).resolve().parents[3].parent / "shared"

# Ultralytics as anyone would run it, in a process that has never seen this project.
PLAIN_VALIDATION = """
import json, sys
from ultralytics import YOLO
weights, data, size, folder = sys.argv[1:]
box = YOLO(weights).val(data=data, imgsz=int(size), batch=16, device="cpu", plots=False, project=folder).box
measured = [box.map50, box.map, box.mp, box.mr, *box.ap]
print("MEASURED", json.dumps([float(value) for value in measured]))
"""


def _plain_validation(weights: Path, data: Path, imgsz: int, folder: Path) -> list[float]:
    """Return mAP50, mAP50-95, precision, recall and the AP of each class, as Ultralytics alone measures them."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "OMP_NUM_THREADS"}}
    command = [sys.executable, "-c", PLAIN_VALIDATION, str(weights), str(data), str(imgsz), str(folder)]
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr[-3000:]
    line = next(line for line in finished.stdout.splitlines() if line.startswith("MEASURED "))
    return json.loads(line.removeprefix("MEASURED "))


def _write_description(folder: Path, names: list[str], split: str = "val") -> Path:
    path = folder / "data.yaml"
    text = f"path: {folder}\ntrain: images/{split}\n{split}: images/{split}\nnames: {json.dumps(names)}\n"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def squares(tmp_path) -> Path:
    """Four images with one square each, as a data set of two classes."""
    folder = tmp_path / "squares"
    (folder / "images" / "val").mkdir(parents=True)
    (folder / "labels" / "val").mkdir(parents=True)
    for index in range(4):
        image = np.full((64, 64, 3), 40, np.uint8)
        cv2.rectangle(image, (16, 16), (39, 39), (200, 60 * index, 90), -1)
        cv2.imwrite(str(folder / "images" / "val" / f"{index}.png"), image)
        label = f"{index % 2} {28 / 64} {28 / 64} {24 / 64} {24 / 64}\n"
        (folder / "labels" / "val" / f"{index}.txt").write_text(label)
    return _write_description(folder, ["square", "disc"])


@pytest.fixture
def weights(tmp_path) -> Path:
    """An ordinary YOLOv8n checkpoint of two classes with random weights."""
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
    model.names = {0: "square", 1: "disc"}
    path = tmp_path / "random.pt"
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "train_args": {"imgsz": 64}}, path)
    return path


def test_a_validation_counts_what_it_saw_and_leaves_nothing_behind(weights, squares, tmp_path, monkeypatch):
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    events = []
    measured = validate(weights, squares, imgsz=64, batch=2, report=events.append)
    assert (measured.images, measured.instances) == (4, 4)
    assert set(measured.per_class) == {"square", "disc"}
    assert all(0 <= value <= 1 for value in (measured.map50, measured.map50_95, measured.precision, measured.recall))
    assert measured.speed_ms["inference"] > 0
    assert json.loads(json.dumps(dumped(measured))) == dumped(measured)
    assert events[0]["kind"] == "status"
    assert (events[-1]["kind"], events[-1]["step"], events[-1]["steps"]) == ("step", 2, 2)
    assert list(working.iterdir()) == []


def test_a_split_that_the_data_set_lacks_is_one_sentence(weights, squares):
    with pytest.raises(DatasetError, match="no test split"):
        validate(weights, squares, imgsz=64, split="test")


def test_a_data_set_of_other_classes_is_refused(weights, squares):
    _write_description(squares.parent, ["square", "disc", "star"])
    with pytest.raises(
        DatasetError, match=r"random\.pt does not fit this data set: it knows 2 classes .* describes 3 classes"
    ):
        validate(weights, squares, imgsz=64)


def test_a_description_that_points_nowhere_is_refused(weights, tmp_path):
    with pytest.raises(DatasetError):
        validate(weights, tmp_path / "nowhere.yaml", imgsz=64)


def test_a_file_that_is_no_checkpoint_is_refused(squares, tmp_path):
    fake = tmp_path / "fake.pt"
    fake.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError):
        validate(fake, squares, imgsz=64)


def test_a_stop_raised_by_the_reporter_ends_the_validation(weights, squares):
    class Stop(Exception):
        pass

    def stop_at_first_step(event):
        if event["kind"] == "step":
            raise Stop

    with pytest.raises(Stop):
        validate(weights, squares, imgsz=64, batch=1, report=stop_at_first_step)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n-bccd", "yolo11n-bccd"])
def test_the_numbers_equal_those_of_ultralytics_alone(name, tmp_path):
    trained = SHARED / "checkpoints" / f"{name}.pt"
    photographs = SHARED / "data" / "bccd"
    if not (trained.is_file() and photographs.is_dir()):
        pytest.skip(f"{trained} or {photographs} is not there")
    # A copy, because Ultralytics writes its cache of the labels beside them.
    for part in ("images", "labels"):
        shutil.copytree(photographs / part / "val", tmp_path / "data" / part / "val")
        (tmp_path / "data" / part).chmod(0o755)
    data = _write_description(tmp_path / "data", ["Platelets", "RBC", "WBC"])
    ours = validate(trained, data, imgsz=320)
    alone = _plain_validation(trained, data, 320, tmp_path)
    measured = [ours.map50, ours.map50_95, ours.precision, ours.recall, *ours.per_class.values()]
    assert measured == pytest.approx(alone, abs=1e-6)
    assert ours.map50 > 0.7
    assert (ours.images, ours.instances) == (87, 1137)
