"""BatchNorm recalibration: after pruning, running statistics are estimated again on a few unlabelled images."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from ultralytics.nn.tasks import guess_model_task

from engine.base.errors import DatasetError
from engine.base.images import read_input
from engine.checkpoints.inputs import image_channels

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
        DatasetError: There are no images, or one cannot be read, or has other channels than the model takes.
    """
    if not images:
        raise DatasetError("Recalibration needs training images and the data set has none.")
    channels, task = image_channels(model), getattr(model, "task", None) or guess_model_task(model)
    renewed = copy.deepcopy(model).eval()
    norms = [module for module in renewed.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average, see torch.nn.BatchNorm2d
        norm.train()
    for start in range(0, len(images), BATCH):
        batch = [read_input(path, channels, imgsz, imgsz, task) for path in images[start : start + BATCH]]
        renewed(torch.from_numpy(np.concatenate(batch)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return renewed.eval()
