"""What a person asks of sparse training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import cos, pi

from engine.base.errors import TrainingError
from engine.base.imgsz import ImageSize
from engine.base.numbers import GFLOPS_IMGSZ
from engine.pruning.solver import Budget
from engine.settings.fields import check_values, choices_of, default_of
from engine.settings.training import Sparsity

METHODS = choices_of(Sparsity, "method")
_usual = partial(default_of, Sparsity)
LOOK_SHARE = 0.1
"Share of the run in which the targeted method only looks."
SHRINK_END = 0.6
"Share of the run after which the targeted channels are exactly zero."


@dataclass(frozen=True)
class SparsitySettings:
    """How gammas are driven to zero."""

    method: str = _usual("method")
    "targeted, proximal or classic; see ``Sparsifier``."
    ratio: float = _usual("prune_ratio")
    "Share of the prunable channels that the targeted method drives to zero, where there is no budget."
    budget: Budget | None = None
    "What the model shall cost at most once the channels at zero are pruned (targeted); takes the ratio's place."
    budget_imgsz: ImageSize = GFLOPS_IMGSZ
    "Image size, pixels or (height, width), that a GFLOPs budget is counted at."
    strength: float = _usual("sr")
    "s of the penalty s * |gamma| (classic, proximal); called sr in the classic scripts."
    schedule: str = _usual("schedule")
    "How the strength runs over the training: constant, linear (down to 10 %) or cosine (down to 10 %)."
    warmup: float = _usual("sr_warmup")
    "Share of the run over which the strength first rises from zero, 0 to 0.5 (classic, proximal)."

    def __post_init__(self) -> None:
        check_values(
            Sparsity, self, TrainingError, names={"prune_ratio": "ratio", "sr": "strength", "sr_warmup": "warmup"}
        )

    def strength_at(self, progress: float) -> float:
        """Return the strength at a progress from 0 to 1."""
        rising = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        if self.schedule == "linear":
            return rising * self.strength * (1 - 0.9 * progress)
        if self.schedule == "cosine":
            return rising * self.strength * (0.1 + 0.9 * (1 + cos(pi * progress)) / 2)
        return rising * self.strength
