"""BatchNorm recalibration: after pruning, running statistics are estimated again on a few unlabelled images."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from ultralytics.data.augment import LetterBox

from engine.errors import DatasetError

BATCH = 8


@torch.no_grad()
def recalibrate(model: nn.Module, images: Sequence[Path], imgsz: int) -> nn.Module:
    """Return a copy of the model whose BatchNorm statistics are those of the given images.

    Every running mean and variance becomes the plain average over batches of up to eight images. Momentum and
    everything else stay as they are.

    Args:
        model: Any model on the CPU.
        images: Image files; a few dozen are enough.
        imgsz: Image size in pixels.

    Raises:
        DatasetError: There are no images, or one cannot be read.
    """
    if not images:
        raise DatasetError("Recalibration needs training images and the data set has none.")
    renewed = copy.deepcopy(model).eval()
    norms = [module for module in renewed.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average, see torch.nn.BatchNorm2d
        norm.train()
    for start in range(0, len(images), BATCH):
        renewed(_batch(images[start : start + BATCH], imgsz))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return renewed.eval()


def _batch(paths: Sequence[Path], imgsz: int) -> torch.Tensor:
    """Return images as the validator shows them to the model: (N, 3, imgsz, imgsz), RGB, 0 to 1."""
    letterbox = LetterBox((imgsz, imgsz), auto=False)
    loaded = []
    for path in paths:
        loaded.append(letterbox(image=_read(path))[..., ::-1].transpose(2, 0, 1))
    return torch.from_numpy(np.ascontiguousarray(np.stack(loaded))).float() / 255


def _read(path: Path) -> np.ndarray:
    """Return an image file's pixels, (H, W, 3), BGR."""
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None  # imread fails on some file names
    if image is None:
        raise DatasetError(f"{path} is not an image that can be read; remove it or convert it.")
    return image
