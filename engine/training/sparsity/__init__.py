"""Sparse training: drive the gammas of channels that matter little to zero while the rest trains on."""

from typing import TYPE_CHECKING

from engine.base.lazy import lazily
from engine.training.sparsity.reach import Reach, TrainingLength, images_taken, reach, strength_to_reach
from engine.training.sparsity.settings import LOOK_SHARE, METHODS, SHRINK_END, SparsitySettings

if TYPE_CHECKING:
    from engine.training.sparsity.sparsifier import Sparsifier

__all__ = [
    "LOOK_SHARE",
    "METHODS",
    "SHRINK_END",
    "Reach",
    "Sparsifier",
    "SparsitySettings",
    "TrainingLength",
    "images_taken",
    "reach",
    "strength_to_reach",
]

__getattr__ = lazily(__name__, {"Sparsifier": "sparsifier"})
