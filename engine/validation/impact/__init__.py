"""Accuracy before committing: mAP against the prune ratio, and how sensitive each block of layers is.

Both prune in memory, with the same plan, compensation and recalibration as ``Slimming.prune``, and validate on a fixed
part of the validation images. What was measured is kept in a study (``engine.validation.study``), point by point.
"""

from typing import TYPE_CHECKING

from engine.base.lazy import lazily

if TYPE_CHECKING:
    from engine.validation.impact.blocks import block_of
    from engine.validation.impact.by_block import SHARES, sensitivity
    from engine.validation.impact.curve import accuracy_curve
    from engine.validation.impact.lossless import recalibration_pays
    from engine.validation.impact.settings import MeasureSettings
    from engine.validation.impact.weights import read_factors, sensitivity_factors

_HOMES = {
    "MeasureSettings": "settings",
    "SHARES": "by_block",
    "accuracy_curve": "curve",
    "block_of": "blocks",
    "read_factors": "weights",
    "recalibration_pays": "lossless",
    "sensitivity": "by_block",
    "sensitivity_factors": "weights",
}

__all__ = [
    "SHARES",
    "MeasureSettings",
    "accuracy_curve",
    "block_of",
    "read_factors",
    "recalibration_pays",
    "sensitivity",
    "sensitivity_factors",
]

__getattr__ = lazily(__name__, _HOMES)
