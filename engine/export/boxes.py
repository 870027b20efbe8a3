"""Boxes from raw outputs, and whether two models found the same ones."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import box_convert, box_iou
from ultralytics.utils.metrics import batch_probiou
from ultralytics.utils.nms import non_max_suppression

CONFIDENCE, OVERLAP = 0.25, 0.7
"What counts as found: least score, and IoU above which the weaker box of a class is dropped."
SAME_IOU = 0.9
MAX_BOXES = 300


def found_boxes(
    output: np.ndarray, classes: int, task: str, suppressed: bool, centres: bool = False
) -> list[np.ndarray]:
    """Return the boxes of every image, (n, 6 + extras) each: place, score, class, then what the task adds.

    The place is left, top, right, bottom in pixels; of an oriented box (task ``obb``) centre, width and height, and its
    angle in radians is the last column. Other extras are mask coefficients or keypoints.

    Args:
        output: the first output of a model, (N, 4 + classes + extras, anchors), or (N, n, 6 + extras) where the model
            suppresses by itself.
        classes: number of classes.
        task: of the model.
        suppressed: the output is of the second kind.
        centres: places of the second kind are centres and sizes instead.
    """
    found = non_max_suppression(
        torch.from_numpy(output.astype(np.float32)),
        CONFIDENCE,
        OVERLAP,
        max_det=MAX_BOXES,
        nc=classes,
        rotated=task == "obb",
        end2end=suppressed,
    )
    if centres:
        found = [torch.cat([box_convert(rows[:, :4], "cxcywh", "xyxy"), rows[:, 4:]], dim=1) for rows in found]
    return [rows.numpy() for rows in found]


def matched_boxes(expected: np.ndarray, got: np.ndarray, rotated: bool = False) -> int:
    """Return how many boxes are in both lists of ``found_boxes``: same class, IoU of at least 0.9, each counted once.

    The IoU of oriented boxes is Ultralytics' probabilistic one (https://arxiv.org/abs/2106.06072), by which a square
    equals itself at every angle.
    """
    if not len(expected) or not len(got):
        return 0
    overlap = _overlap(torch.from_numpy(expected), torch.from_numpy(got), rotated).numpy()
    overlap[expected[:, 5, None] != got[None, :, 5]] = 0
    matched = 0
    for row in range(len(expected)):
        best = int(overlap[row].argmax())
        if overlap[row, best] >= SAME_IOU:
            overlap[:, best] = 0
            matched += 1
    return matched


def _overlap(expected: torch.Tensor, got: torch.Tensor, rotated: bool) -> torch.Tensor:
    """Return the (n, m) IoU of every pair."""
    if not rotated:
        return box_iou(expected[:, :4], got[:, :4])
    oriented = [torch.cat([rows[:, :4], rows[:, -1:]], dim=1) for rows in (expected, got)]  # x, y, w, h, angle
    return batch_probiou(*oriented)
