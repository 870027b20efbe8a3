"""Boxes from raw outputs, and whether two models found the same ones."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import batched_nms, box_iou

CONFIDENCE, OVERLAP = 0.25, 0.7
"What counts as found: least score, and IoU above which the weaker box of a class is dropped."
SAME_IOU = 0.9
MAX_BOXES = 300


def found_boxes(output: np.ndarray, classes: int, suppressed: bool) -> np.ndarray:
    """Return the (n, 6) boxes of one image: left, top, right, bottom in pixels, score, class.

    Args:
        output: the first output of a model for one image, (1, 4 + classes + extras, anchors), or (1, n, 6 + extras)
            where the model suppresses by itself.
        classes: number of classes.
        suppressed: the output is of the second kind.
    """
    if suppressed:
        rows = output[0, :, :6].astype(np.float32)
        return rows[rows[:, 4] > CONFIDENCE]
    columns = torch.from_numpy(output[0].astype(np.float32))
    scores, labels = columns[4 : 4 + classes].max(dim=0)
    likely = scores > CONFIDENCE
    centres, sizes = columns[:2, likely].T, columns[2:4, likely].T
    corners = torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1)
    kept = batched_nms(corners, scores[likely], labels[likely], OVERLAP)[:MAX_BOXES]
    return torch.cat([corners, scores[likely, None], labels[likely, None]], dim=1)[kept].numpy()


def matched_boxes(expected: np.ndarray, got: np.ndarray) -> int:
    """Return how many boxes are in both (n, 6) lists: same class, IoU of at least 0.9, each counted once."""
    if not len(expected) or not len(got):
        return 0
    overlap = box_iou(torch.from_numpy(expected[:, :4]), torch.from_numpy(got[:, :4])).numpy()
    overlap[expected[:, 5, None] != got[None, :, 5]] = 0
    matched = 0
    for row in range(len(expected)):
        best = int(overlap[row].argmax())
        if overlap[row, best] >= SAME_IOU:
            overlap[:, best] = 0
            matched += 1
    return matched
