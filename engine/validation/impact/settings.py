"""How accuracy is measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from engine.base.errors import PlanError
from engine.settings.fields import check_values, default_of
from engine.settings.requests import SensitivityRequest

_usual = partial(default_of, SensitivityRequest)


@dataclass(frozen=True)
class MeasureSettings:
    """What a measured accuracy depends on, besides the model, the data set and the plan."""

    imgsz: int
    "Longest image side in pixels."
    images: int = _usual("images")
    "Validation images, evenly spread over the split in the order of their names."
    recalibrate: int = _usual("recalibrate")
    "Training images that BatchNorm statistics are estimated on again after the cut; 0: not at all."
    recalibrate_free: bool = True
    """Also after a cut that is free, see ``engine.validation.impact.lossless``.

    Such a cut changes next to nothing, and estimates on a few images are worse than what training left.
    """
    compensate: bool = _usual("compensate")
    "Fold what removed channels still emitted into what reads them."
    batch: int = _usual("batch")
    "Images per forward pass; images of one batch share their padding."

    def __post_init__(self) -> None:
        check_values(SensitivityRequest, self, PlanError)
