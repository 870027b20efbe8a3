"""What a model finds on a few validation images, as small JPEGs with its boxes drawn in."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

from engine.checkpoint import Checkpoint
from engine.datasets import check_dataset, image_files, spread
from engine.errors import DatasetError
from engine.predictions import open_predictor

MOST = 6
_LONGEST_SIDE = 560
_QUALITY = 82


@dataclass(frozen=True)
class Sample:
    """One image with what was found on it."""

    name: str
    "Of the image file."
    jpeg: bytes = field(repr=False)
    found: int


def sample_predictions(checkpoint: Checkpoint, data: Path, count: int = MOST) -> tuple[Sample, ...]:
    """Return predictions on images evenly spread over the validation split.

    Raises:
        DatasetError: The data set cannot be used, or an image of it cannot be read.
    """
    predictor = open_predictor(checkpoint.path)
    images = spread(image_files(check_dataset(data), "val"), count)
    return tuple(_sample(predictor, image, checkpoint.imgsz) for image in images)


def _sample(predictor, image: Path, imgsz: int) -> Sample:
    results = predictor.predict(str(image), imgsz=imgsz, conf=0.25, device="cpu", verbose=False, save=False)
    if not results:
        raise DatasetError(f"{image.name} is gone or no image that can be read.")
    longest = max(results[0].orig_shape)
    # Ultralytics' own sizes cover small pictures with labels.
    drawn = results[0].plot(line_width=max(1, longest // 320), font_size=max(9.0, longest / 48), pil=True)
    drawn.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    stream = io.BytesIO()
    drawn.convert("RGB").save(stream, "JPEG", quality=_QUALITY)
    return Sample(image.name, stream.getvalue(), len(results[0]))
