"""What a checkpoint is before anything is measured on images: its size and cost, and what data has to fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.base.imgsz import ImageSize, height_width, model_stride
from engine.base.numbers import GFLOPS_IMGSZ
from engine.datasets.fit import ModelFacts

if TYPE_CHECKING:
    from engine.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class ModelSize:
    """What a checkpoint is, before anything is measured on images."""

    path: Path
    digest: str
    task: str
    names: dict[int, str]
    trained_imgsz: int
    "Pixels."
    params: int
    gflops: float
    size_mb: float
    "Of the file; 1 MB is 1,000,000 bytes."
    stride: int
    "What image sizes are multiples of, in pixels."
    facts: ModelFacts
    "What a data set has to fit."


def measure_size(path: Path, gflops_imgsz: ImageSize = GFLOPS_IMGSZ) -> ModelSize:
    """Open a checkpoint and count its parameters, and its GFLOPs at an image size, pixels or (height, width)."""
    from engine.checkpoints.checkpoint import open_checkpoint

    return size_of_checkpoint(open_checkpoint(path), gflops_imgsz)


def size_of_checkpoint(checkpoint: Checkpoint, gflops_imgsz: ImageSize = GFLOPS_IMGSZ) -> ModelSize:
    """Return what an opened checkpoint is. Raises PlanError where it does not run at that image size."""
    from engine.datasets.facts import checkpoint_facts
    from engine.pruning.cost import count_operations

    operations, _, _ = count_operations(checkpoint.model, *height_width(gflops_imgsz))
    return ModelSize(
        path=checkpoint.path,
        digest=checkpoint.digest,
        task=checkpoint.task,
        names=checkpoint.names,
        trained_imgsz=checkpoint.imgsz,
        params=checkpoint.params,
        gflops=operations / 1e9 * 2,
        size_mb=checkpoint.path.stat().st_size / 1e6,
        stride=model_stride(checkpoint.model),
        facts=checkpoint_facts(checkpoint),
    )
