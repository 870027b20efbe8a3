"""Image sizes as Ultralytics takes them: one number, or height and width; sides are multiples of the model's stride.

In files and specifications a size is a number or ``[height, width]``, in the engine a number or a tuple. Equal sides
are one number, so that sizes can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engine.base.errors import PlanError, TrainingError
from engine.base.events import Report, status_event

ImageSize = int | tuple[int, int]
"Pixels of both sides, or (height, width)."
SIDE_WORDS = (
    "Ultralytics trains and validates on one number, the longer side, and takes height,width for export and prediction "
    "alone"
)
SIZE_WORDS = "a number of pixels such as 640, or height,width such as 384,640"
LEAST_STRIDE = 32
"In pixels; Ultralytics' trainers and validators round to no less."


def model_stride(model: Any) -> int:
    """Return what image sizes of a model are multiples of, in pixels: 32 for most, 64 for those of four scales."""
    stride = getattr(model, "stride", None)
    return LEAST_STRIDE if stride is None else max(int(max(stride)), LEAST_STRIDE)


def as_size(value: Any) -> ImageSize:
    """Return an image size however it was written: 640, "640", "384,640", "384x640", "[384, 640]", [384, 640].

    Raises:
        PlanError: It is none.
    """
    text = value if isinstance(value, str) else None
    if text is not None:
        value = [int(word) if word.isdecimal() else 0 for word in re.split(r"\s*[,x×]\s*|\s+", text.strip(" []()"))]
    sides = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if len(sides) not in (1, 2) or not all(type(side) is int and side > 0 for side in sides):
        written = value if text is None else text.strip() or "An empty text"
        raise PlanError(f"{written} is no image size; write {SIZE_WORDS}.")
    return sides[0] if len(set(sides)) == 1 else (sides[0], sides[1])


def height_width(size: Any) -> tuple[int, int]:
    """Return (height, width) in pixels of anything that ``as_size`` takes; raises as it."""
    size = as_size(size)
    return (size, size) if isinstance(size, int) else size


def size_for_json(size: ImageSize) -> int | list[int]:
    """Return a size as it stands in files and specifications."""
    return size if isinstance(size, int) else list(size)


def option_text(size: Any) -> str:
    """Return '640' or '384,640', as an option is given."""
    size = as_size(size)
    return str(size) if isinstance(size, int) else ",".join(map(str, size))


def pixels(size: Any) -> str:
    """Return '640 px' or '384 × 640 px' of anything that ``as_size`` takes; raises as it."""
    size = as_size(size)
    return f"{size} px" if isinstance(size, int) else f"{size[0]} × {size[1]} px"


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


def told_imgsz(imgsz: int, stride: int, report: Report) -> int:
    """Return the image size in pixels that Ultralytics makes of one; a status says so where it differs.

    What is smaller than any stride is returned as it is, for whoever refuses it.

    Raises:
        TrainingError: It is height and width, which Ultralytics' trainers and validators do not take.
    """
    if not isinstance(imgsz, int):
        raise TrainingError(f"Image size {option_text(imgsz)} is none to train or validate at: {SIDE_WORDS}.")
    if imgsz < LEAST_STRIDE:
        return imgsz
    if words := rounding_words(imgsz, stride):
        report(status_event(words))
    return rounded_side(imgsz, stride)
