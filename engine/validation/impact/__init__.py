"""Accuracy before committing: mAP against the prune ratio, and how sensitive each block of layers is.

Both prune in memory, with the same plan, compensation and recalibration as ``Slimming.prune``, and validate on a fixed
part of the validation images. What was measured is kept in a study (``engine.validation.study``), point by point.
"""

from engine.validation.impact.blocks import block_of
from engine.validation.impact.curve import accuracy_curve
from engine.validation.impact.lossless import recalibration_pays
from engine.validation.impact.sensitivity import SHARES, sensitivity
from engine.validation.impact.settings import MeasureSettings
from engine.validation.impact.weights import read_factors, sensitivity_factors

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
