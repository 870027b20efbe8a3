"""Images that no camera took, to compare models on."""

from __future__ import annotations

import numpy as np


def structured_noise(channels: int, height: int, width: int, count: int = 2) -> np.ndarray:
    """Return deterministic images (count, channels, height, width), float32 from 0 to 1.

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
