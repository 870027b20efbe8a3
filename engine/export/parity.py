"""How far an exported model is from PyTorch: in numbers, and in boxes found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.base.errors import ExportError
from engine.base.tasks import TASKS
from engine.export.boxes import found_boxes, matched_boxes
from engine.export.dense import are_classes, matched_places
from engine.export.rows import SMALLEST_MAGNITUDE, compare_rows
from engine.runtimes.backends import Backend, Outputs


@dataclass(frozen=True)
class Parity:
    """Differences over all compared images and outputs."""

    images_compared: int
    max_abs_difference: float | None
    """in the outputs' own units: pixels for boxes, probability for scores; None where outputs differ in kind"""
    mean_abs_difference: float | None
    max_rel_difference: float | None
    """largest difference in a channel / largest output of the PyTorch model in that channel (of final boxes: column)"""
    boxes_expected: int
    """found by PyTorch"""
    boxes_found: int
    boxes_matched: int
    """of the same class at IoU 0.9 or more; without boxes: images or pixels of which both say the same"""
    input_shape: tuple[int, ...]
    """(batch, channels, height, width) of the first input"""
    output_shapes: tuple[tuple[int, ...], ...]
    """of every output for that input"""

    @property
    def box_share(self) -> float | None:
        """Matched boxes / boxes of the model that found more, 0 to 1; None where neither found any."""
        most = max(self.boxes_expected, self.boxes_found)
        return self.boxes_matched / most if most else None


def measure_parity(
    reference: Backend,
    exported: Backend,
    inputs: Sequence[np.ndarray],
    *,
    classes: int,
    task: str = "detect",
    end2end: bool = False,
    centres: bool = False,
    nms: bool = False,
) -> Parity:
    """Compare an exported model with a float32 PyTorch model in evaluation mode.

    Args:
        reference: the PyTorch model, BatchNorm not fused into convolutions.
        exported: the exported model.
        inputs: float32 arrays (N, C, H, W), values 0 to 1.
        classes: number of classes.
        task: of the model.
        end2end: outputs of both are final boxes, which come in the order of their scores.
        centres: those are centres and sizes, see ``found_boxes``.
        nms: non-maximum suppression was put into the exported file, so its outputs are of another kind.

    Raises:
        ExportError: an output has another shape, or is not finite.
    """
    differences, relative, counts, shapes = [], [], np.zeros(3, dtype=int), None
    for array in inputs:
        expected, actual = reference(array), exported(array)
        shapes = shapes or tuple(output.shape for output in actual)
        _check_finite(actual)
        if not nms and not are_classes(actual[0]):
            for number, pair in enumerate(_paired(expected, actual)):
                absolute, largest = compare_rows(*pair) if end2end and number == 0 else _compare(*pair)
                differences.append(absolute)
                relative.append(largest)
        form = {"classes": classes, "task": task, "centres": centres}
        counts += _box_counts(expected[0], actual[0], (end2end, end2end or nms), form)
    return Parity(
        images_compared=sum(len(array) for array in inputs),
        max_abs_difference=float(max(each.max() for each in differences)) if differences else None,
        mean_abs_difference=float(np.concatenate([each.ravel() for each in differences]).mean())
        if differences
        else None,
        max_rel_difference=max(relative) if relative else None,
        boxes_expected=int(counts[0]),
        boxes_found=int(counts[1]),
        boxes_matched=int(counts[2]),
        input_shape=inputs[0].shape,
        output_shapes=shapes or (),
    )


def _box_counts(
    expected: np.ndarray, actual: np.ndarray, suppressed: tuple[bool, bool], form: dict[str, Any]
) -> tuple[int, int, int]:
    """Return how many boxes PyTorch found, how many the file found, and how many are the same."""
    task = form["task"]
    if task in TASKS and not TASKS[task].boxes:
        return matched_places(expected, actual, task)
    if expected.ndim != 3:
        return 0, 0, 0
    wanted, got = (
        found_boxes(output, suppressed=final, **form)
        for output, final in zip((expected, actual), suppressed, strict=True)
    )
    matched = sum(matched_boxes(*pair, rotated=task == "obb") for pair in zip(wanted, got, strict=True))
    return sum(map(len, wanted)), sum(map(len, got)), matched


def _check_finite(actual: Outputs) -> None:
    if not all(np.isfinite(array).all() for array in actual):
        raise ExportError("The exported model's outputs are not finite; check that the checkpoint's are.")


def _paired(expected: Outputs, actual: Outputs) -> list[tuple[np.ndarray, np.ndarray]]:
    shapes = [array.shape for array in expected], [array.shape for array in actual]
    if shapes[0] != shapes[1]:
        raise ExportError(f"The exported model's outputs have shapes {shapes[1]}, the PyTorch model's {shapes[0]}.")
    return list(zip(expected, actual, strict=True))


def _compare(expected: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, float]:
    difference = np.abs(actual.astype(np.float64) - expected)
    return difference, relative_difference(difference, expected)


def relative_difference(difference: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of any channel (axis 1) relative to that channel's largest output.

    Channels apart, because boxes are in pixels: next to them an error in a score would look negligible.
    """
    others = tuple(axis for axis in range(expected.ndim) if axis != 1)
    magnitude = np.maximum(np.abs(expected).max(axis=others), SMALLEST_MAGNITUDE)
    return float((difference.max(axis=others) / magnitude).max())
