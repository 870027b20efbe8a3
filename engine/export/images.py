"""Images as a model sees them: (N, C, H, W), float32, 0 to 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.errors import ExportError


def structured_noise(channels: int, height: int, width: int, count: int = 2) -> np.ndarray:
    """Return deterministic images (count, channels, height, width).

    Coarse blobs, edges and fine grain together, so that features of every scale respond, as white noise would not.
    """
    random = np.random.default_rng(0)
    image = np.zeros((count, channels, height, width))
    for cells in (2, 5, 16, max(height, width)):
        grid = random.random((count, channels, cells, cells))
        rows = np.arange(height) * cells // height
        columns = np.arange(width) * cells // width
        image += grid[:, :, rows][:, :, :, columns]
    return (image / image.max()).astype(np.float32)


def read_image(path: Path, height: int, width: int) -> np.ndarray:
    """Return an image file letterboxed to (1, 3, height, width), RGB.

    Raises:
        ExportError: the file is no image that can be read.
    """
    import cv2
    from ultralytics.data.augment import LetterBox

    try:
        image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        image = None
    if image is None:
        raise ExportError(f"{path.name} is not an image that can be read; compare on JPEG or PNG files.")
    padded = LetterBox(new_shape=(height, width), auto=False)(image=image)
    return np.ascontiguousarray(padded[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32) / 255
