"""How accuracy is measured."""

from __future__ import annotations

from dataclasses import dataclass

from engine.base.errors import PlanError


@dataclass(frozen=True)
class MeasureSettings:
    """What a measured accuracy depends on, besides the model, the data set and the plan."""

    imgsz: int
    "Longest image side in pixels."
    images: int = 64
    "Validation images, evenly spread over the split in the order of their names."
    recalibrate: int = 32
    "Training images that BatchNorm statistics are estimated on again after the cut; 0: not at all."
    recalibrate_free: bool = True
    """Also after a cut that is free, see ``engine.validation.impact.lossless``.

    Such a cut changes next to nothing, and estimates on a few images are worse than what training left.
    """
    compensate: bool = True
    "Fold what removed channels still emitted into what reads them."
    batch: int = 16
    "Images per forward pass; images of one batch share their padding."

    def __post_init__(self) -> None:
        if self.images < 1:
            raise PlanError(f"Accuracy cannot be measured on {self.images} images; use at least 1, better 64.")
        if self.recalibrate < 0:
            raise PlanError(f"Recalibration cannot use {self.recalibrate} images; a few dozen are enough.")
