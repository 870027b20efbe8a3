"""Accuracy before committing: mAP against the prune ratio, and how sensitive each block of layers is.

Both prune in memory, with the same plan, compensation and recalibration as ``Slimming.prune``, and validate on a fixed
part of the validation images. What was measured is kept in a file, point by point.
"""

from engine.accuracy.blocks import block_of
from engine.accuracy.curve import DEFAULT_RATIOS, AccuracyCurve, AccuracyPoint, accuracy_curve, interpolated
from engine.accuracy.free import recalibration_pays
from engine.accuracy.kept import FOLDER, find_kept, read_kept
from engine.accuracy.sensitivity import SHARES, BlockSensitivity, Sensitivity, sensitivity
from engine.accuracy.settings import MeasureSettings
from engine.accuracy.weights import read_factors, sensitivity_factors

__all__ = [
    "DEFAULT_RATIOS",
    "FOLDER",
    "SHARES",
    "AccuracyCurve",
    "AccuracyPoint",
    "BlockSensitivity",
    "MeasureSettings",
    "Sensitivity",
    "accuracy_curve",
    "block_of",
    "find_kept",
    "interpolated",
    "read_factors",
    "read_kept",
    "recalibration_pays",
    "sensitivity",
    "sensitivity_factors",
]
