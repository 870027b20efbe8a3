"""Labels that are pictures: a class for every pixel (semantic segmentation), or its distance in metres (depth).

The rules are those of Ultralytics' ``verify_image_mask`` and ``verify_image_depth``. Every file is looked for; a few,
evenly spread, are opened, since reading thousands of pictures would take minutes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from engine.base.errors import DatasetError
from engine.base.tasks import MASKS
from engine.datasets.info import IMAGE_SUFFIXES, count_sentence

_OPENED = 8
"Files of a split that are read."
_IGNORED = 255
"Value of pixels in a mask that count for no class."
_STRETCHED = 0.02
"Largest logarithm of the ratio of two aspect ratios that Ultralytics lets a depth map have."


def label_picture(image: str, kind: str, folder: str) -> str:
    """Return the label of an image: the last 'images' folder becomes ``folder``; it need not exist.

    Masks are PNG files, or else of another suffix; depth maps PNG files, or else NPY files.
    """
    base = f"{os.sep}{folder}{os.sep}".join(image.rsplit(f"{os.sep}images{os.sep}", 1)).rsplit(".", 1)[0]
    others = sorted(IMAGE_SUFFIXES) if kind == MASKS else ["npy"]
    return next((path for each in ["png", *others] if os.path.isfile(path := f"{base}.{each}")), f"{base}.png")


def check_pictures(
    images: Sequence[str], kind: str, folder: str, description: dict, classes: int, split: str
) -> tuple[int, list[str]]:
    """Return how many images of a split have a label, and sentences about those that have none.

    Raises:
        DatasetError: None has one, or most of those that were opened would be skipped.
    """
    thing = "mask" if kind == MASKS else "depth map"
    labels = [label_picture(image, kind, folder) for image in images]
    missing = [image for image, label in zip(images, labels, strict=True) if not os.path.isfile(label)]
    if len(missing) == len(images):
        raise DatasetError(
            f"None of the {len(images)} {split} images has a {thing}; the first was looked for at {labels[0]}."
        )
    there = [pair for pair in zip(images, labels, strict=True) if os.path.isfile(pair[1])]
    opened = there[:: max(1, len(there) // _OPENED)][:_OPENED]
    fault_of = _mask_fault(description, classes) if kind == MASKS else _depth_fault(description)
    faults = [(label, fault) for image, label in opened if (fault := _guarded(fault_of, image, label))]
    if len(faults) > len(opened) / 2:
        label, fault = faults[0]
        raise DatasetError(
            f"{len(faults)} of {len(opened)} {split} {thing}s that were opened cannot be used: in {label}, {fault}."
        )
    sentences = [count_sentence(missing, f"{split} image", f"without a {thing} will be skipped")] if missing else []
    if faults:
        said = "; ".join(sorted({fault for _, fault in faults})[:3])
        names = [label for label, _ in faults]
        sentences.append(count_sentence(names, f"{split} {thing}", f"will be skipped ({said})"))
    return len(there), sentences


def _guarded(fault_of: Callable[[str, str], str], image: str, label: str) -> str:
    try:
        return fault_of(image, label)
    except (OSError, ValueError, SyntaxError) as error:
        return f"it cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"


def _mask_fault(description: dict, classes: int) -> Callable[[str, str], str]:
    mapping = description.get("label_mapping") or {}
    dropped = {int(source) for source, target in mapping.items() if target in (None, "ignore_label", _IGNORED)}
    known = {int(source) for source in mapping} | ({*range(max(classes, 2))} - dropped) | {_IGNORED}

    def fault(image: str, label: str) -> str:
        with Image.open(label) as mask, Image.open(image) as picture:
            if mask.size != picture.size:
                return f"it has {mask.size[0]} × {mask.size[1]} pixels and its image {_size(picture)}"
            grey = mask.mode != "P" or _is_grey(mask.getpalette() or [])
            values = np.unique(np.asarray(mask.convert("L") if mask.mode == "P" and grey else mask))
        values = values > 0 if mask.mode == "1" else values
        if wrong := sorted({int(value) for value in values} - known):
            return f"the value {wrong[0]} is no class (0 to {max(classes, 2) - 1}, or {_IGNORED} for none)"
        return ""

    return fault


def _depth_fault(description: dict) -> Callable[[str, str], str]:
    scale = description.get("depth_scale", 1000)

    def fault(image: str, label: str) -> str:
        if Path(label).suffix.lower() == ".npy":
            depth = np.load(label, mmap_mode="r", allow_pickle=False)
            if depth.ndim != 2 or depth.dtype.kind != "f":
                return "it is not a table of floating-point metres"
            height, width = depth.shape
        else:
            with Image.open(label) as depth:
                if depth.mode not in ("I", "I;16"):
                    return "it is not a PNG of 16-bit numbers"
                width, height = depth.size
            if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not scale > 0:
                return f"'depth_scale: {scale}' is not a positive number"
        with Image.open(image) as picture:
            ratio = (width / height) / (picture.size[0] / picture.size[1])
            return "" if abs(math.log(ratio)) <= _STRETCHED else f"its shape is not that of its image, {_size(picture)}"

    return fault


def _is_grey(palette: list[int]) -> bool:
    colours = np.array(palette).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _size(picture: Image.Image) -> str:
    return f"{picture.size[0]} × {picture.size[1]}"
