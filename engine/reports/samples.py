"""What a model finds on a few validation images, as small JPEGs with its boxes drawn in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.images import read_pixels, to_jpeg, viewable
from engine.checkpoints.checkpoint import Checkpoint
from engine.datasets import check_dataset, image_files, spread
from engine.datasets.facts import require_images
from engine.validation.detections import Predictor, open_predictor

MOST = 6
_LONGEST_SIDE = 560
_QUALITY = 82
_CONFIDENCE = 0.25


@dataclass(frozen=True)
class Sample:
    """One image with what was found on it."""

    name: str
    "Of the image file."
    jpeg: bytes = field(repr=False)
    said: str
    "What was found, such as '3 found' or 'red 0.93'."


def sample_predictions(checkpoint: Checkpoint, data: Path, count: int = MOST) -> tuple[Sample, ...]:
    """Return predictions on images evenly spread over the validation split.

    Raises:
        DatasetError: The data set cannot be used, or an image of it cannot be read or does not fit the model.
    """
    info = check_dataset(data)
    require_images(checkpoint, info)
    predictor, images = open_predictor(checkpoint.path), spread(image_files(info, "val"), count)
    return tuple(_sample(predictor, image, checkpoint.imgsz) for image in images)


def _sample(predictor: Predictor, image: Path, imgsz: int) -> Sample:
    pixels = read_pixels(image, predictor.channels)
    results = predictor.results(pixels, imgsz, _CONFIDENCE)
    longest = max(pixels.shape[:2])
    # Ultralytics' own sizes cover small pictures with labels.
    sizes = {"line_width": max(1, longest // 320), "font_size": max(9.0, longest / 48)}
    drawn = np.asarray(results.plot(img=viewable(pixels), pil=True, **sizes))[..., ::-1]
    return Sample(image.name, to_jpeg(np.ascontiguousarray(drawn), _LONGEST_SIDE, _QUALITY), _said(results))


def _said(results: Any) -> str:
    """Return what a prediction found in a few words: boxes by number, a class with its probability, pixels by class."""
    if results.probs is not None:
        return f"{results.names[results.probs.top1]} {float(results.probs.top1conf):.2f}"
    if results.semantic_mask is not None:
        shown = np.unique(np.asarray(results.semantic_mask.data))
        return ", ".join(results.names[int(index)] for index in shown if int(index) in results.names)
    if results.depth is not None:
        return results.verbose().strip(" ,")
    return f"{len(results)} found"
