"""Image sizes as Ultralytics takes them: every side is rounded up to a multiple of the model's stride."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

LEAST_STRIDE = 32
"In pixels; Ultralytics' trainers and validators round to no less."


def model_stride(model: Any) -> int:
    """Return what image sizes of a model are multiples of, in pixels: 32 for most, 64 for those of four scales."""
    stride = getattr(model, "stride", None)
    return LEAST_STRIDE if stride is None else max(int(max(stride)), LEAST_STRIDE)


def rounded_side(side: int, stride: int) -> int:
    """Return the side in pixels that ``ultralytics.utils.checks.check_imgsz`` makes of one."""
    return max(-(-side // stride), 1) * stride


def rounded_sides(size: Sequence[int], stride: int) -> tuple[int, ...]:
    """Return (height, width) in pixels, each rounded as Ultralytics rounds it."""
    return tuple(rounded_side(side, stride) for side in size)


def rounding_words(size: int | Sequence[int], stride: int) -> str:
    """Return what becomes of an image size in one sentence, empty where it is taken as it is.

    Args:
        size: Pixels, or (height, width).
        stride: ``model_stride``.
    """
    asked = (size,) if isinstance(size, int) else tuple(size)
    taken = rounded_sides(asked, stride)
    if taken == asked:
        return ""
    before, after = (" × ".join(map(str, sides)) for sides in (asked, taken))
    return f"Image size {before} becomes {after}, rounded up to a multiple of the model's stride of {stride} pixels."


def told_imgsz(imgsz: int, stride: int, report: Callable[[dict[str, Any]], None]) -> int:
    """Return the image size in pixels that Ultralytics makes of one; a status says so where it differs.

    What is smaller than any stride is returned as it is, for whoever refuses it.
    """
    if imgsz < LEAST_STRIDE:
        return imgsz
    if words := rounding_words(imgsz, stride):
        report({"kind": "status", "text": words})
    return rounded_side(imgsz, stride)
