"""Outputs without boxes: a class for every image or pixel, or metres for every pixel."""

from __future__ import annotations

import numpy as np
from torch import nn
from ultralytics.nn.modules.head import Depth, SemanticSegment

SAME_DEPTH = 1.05
"Factor within which two depths are the same."


def as_exported(model: nn.Module, format: str) -> nn.Module:
    """Let the head of a model put out what the exporter makes of it, and return the model.

    A file holds maps as large as its image, and for most formats classes instead of scores; the model's own head leaves
    both to Ultralytics' predictor.
    """
    for module in model.modules():
        if isinstance(module, (SemanticSegment, Depth)):
            module.export, module.format = True, format
    return model


def are_classes(output: np.ndarray) -> bool:
    """Whether an output holds classes themselves, of which differences say nothing."""
    return output.dtype.kind in "iub"


def matched_places(expected: np.ndarray, actual: np.ndarray, task: str) -> tuple[int, int, int]:
    """Return how many places two outputs have, twice, and at how many of them they say the same.

    Places are images for classification, (N, classes); else pixels, of (N, H, W) classes or (N, classes, H, W) scores
    for semantic segmentation, and of (N, 1, H, W) metres for depth.
    """
    if task == "depth":
        wanted, got = (np.maximum(array, np.finfo(np.float32).tiny) for array in (expected, actual))
        same = np.maximum(wanted / got, got / wanted) < SAME_DEPTH
    else:
        wanted, got = (array if are_classes(array) else _first_class(array) for array in (expected, actual))
        same = wanted == got
    return same.size, same.size, int(same.sum())


def _first_class(scores: np.ndarray) -> np.ndarray:
    """Return the class of the largest score along the axis of classes; of a single class, whether it is there."""
    return scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0] > 0
