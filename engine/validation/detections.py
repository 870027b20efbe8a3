"""What two models find on the same image, and what only one of them finds. mAP can stay the same while this changes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.errors import DatasetError
from engine.base.images import read_pixels
from engine.checkpoints.child import run_in_child

LEAST_CONFIDENCE = 0.05
# An Ultralytics predictor keeps the settings of a call on itself, so a second call at the same time would change them.
_ONE_AT_A_TIME = threading.Lock()
SAME_IOU = 0.5
"Boxes of one class that overlap so much mark the same object."


@dataclass(frozen=True)
class Boxes:
    """Boxes on one image."""

    corners: np.ndarray
    "(n, 4) left, top, right, bottom in pixels of the image."
    scores: np.ndarray
    "(n,) confidence, 0 to 1."
    classes: np.ndarray
    "(n,) class index."

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, confidence: float) -> Boxes:
        """Return the boxes of at least this confidence.

        They are those that a prediction with this threshold gives: a box is only ever suppressed by a stronger one.
        """
        chosen = self.scores >= confidence
        return Boxes(self.corners[chosen], self.scores[chosen], self.classes[chosen])


@dataclass(frozen=True)
class Matches:
    """Which boxes of two sets mark the same objects."""

    pairs: np.ndarray
    "(k, 2) positions in the first and the second set."
    only_first: np.ndarray
    "Positions in the first set, in ascending order."
    only_second: np.ndarray
    "Positions in the second set, in ascending order."


def box_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the (n, m) intersection over union of (n, 4) and (m, 4) boxes; of two empty boxes it is 0."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])  # (n, m, 2)
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])  # (n, m, 2)
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared, dtype=float), where=union > 0)


def match_boxes(first: Boxes, second: Boxes, iou: float = SAME_IOU) -> Matches:
    """Pair boxes of the same class that overlap by at least ``iou``, the largest overlap first, each at most once."""
    overlaps = box_ious(first.corners, second.corners)
    overlaps[first.classes[:, None] != second.classes[None, :]] = 0
    rows, columns = np.nonzero(overlaps >= iou)
    order = np.argsort(-overlaps[rows, columns], kind="stable")
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in partners and column not in taken:
            partners[row] = column
            taken.add(column)
    return Matches(
        pairs=np.array(sorted(partners.items()), dtype=int).reshape(-1, 2),
        only_first=np.array([row for row in range(len(first)) if row not in partners], dtype=int),
        only_second=np.array([column for column in range(len(second)) if column not in taken], dtype=int),
    )


@dataclass(frozen=True)
class Predictor:
    """A model that predicts on the CPU."""

    model: Any
    "Of Ultralytics."
    channels: int
    "Of the images that it takes."

    def results(self, pixels: np.ndarray, imgsz: int, confidence: float) -> Any:
        """Return Ultralytics' results on an image's pixels (see ``engine.base.images.read_pixels``)."""
        with _ONE_AT_A_TIME:
            return self.model.predict(
                pixels, imgsz=imgsz, conf=confidence, device="cpu", verbose=False, save=False, stream=False
            )[0]


def open_predictor(path: str | Path) -> Predictor:
    """Return the model of a checkpoint.

    Raises:
        CheckpointError: the file cannot be opened.
    """
    from engine.base.runtime import import_ultralytics
    from engine.checkpoints.checkpoint import open_checkpoint

    channels = open_checkpoint(path).channels
    return Predictor(import_ultralytics().YOLO(str(path)), channels)


def find_boxes(predictor: Predictor, image: str | Path, imgsz: int, confidence: float = LEAST_CONFIDENCE) -> Boxes:
    """Return what a model finds on an image, the most certain first. Rotated boxes become upright ones around them.

    Args:
        predictor: from ``open_predictor``.
        image: an image file.
        imgsz: longest image side in pixels that the model sees.
        confidence: least confidence.

    Raises:
        DatasetError: the image cannot be read, or has other channels than the model takes.
    """
    results = predictor.results(read_pixels(image, predictor.channels), imgsz, confidence)
    found = results.boxes if results.boxes is not None else results.obb
    if found is None:
        raise DatasetError("This model draws no boxes, so there is nothing to show side by side.")
    return Boxes(found.xyxy.numpy(), found.conf.numpy(), found.cls.numpy().astype(int))


def find_boxes_in_child(path: Path, image: str | Path, imgsz: int) -> Boxes:
    """Return what the model of a checkpoint finds on an image; both are opened in a child process.

    Raises:
        CheckpointError: the file cannot be opened.
        DatasetError: as ``find_boxes``.
    """
    asked = {"path": str(Path(path).absolute()), "image": str(Path(image).absolute()), "imgsz": imgsz}
    _, found = run_in_child(f"{__name__}:told_boxes", asked, path.name)
    return Boxes(found["corners"], found["scores"], found["classes"])


def told_boxes(scratch: Path, path: str, image: str, imgsz: int) -> tuple[None, dict[str, np.ndarray]]:
    """Return the same as the child process answers."""
    boxes = find_boxes(open_predictor(path), image, imgsz)
    return None, {"corners": boxes.corners, "scores": boxes.scores, "classes": boxes.classes}
