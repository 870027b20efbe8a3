"""What a person asks of sparse training."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from engine.base.errors import TrainingError
from engine.base.imgsz import ImageSize
from engine.pruning.solver import Budget

METHODS = ("targeted", "proximal", "classic")
SCHEDULES = ("constant", "linear", "cosine")
LOOK_SHARE = 0.1
"Share of the run in which the targeted method only looks."
SHRINK_END = 0.6
"Share of the run after which the targeted channels are exactly zero."


@dataclass(frozen=True)
class SparsitySettings:
    """How gammas are driven to zero."""

    method: str = "targeted"
    "targeted, proximal or classic; see ``Sparsifier``."
    ratio: float = 0.5
    "Share of the prunable channels that the targeted method drives to zero, where there is no budget."
    budget: Budget | None = None
    "What the model shall cost at most once the channels at zero are pruned (targeted); takes the ratio's place."
    budget_imgsz: ImageSize = 640
    "Image size, pixels or (height, width), that a GFLOPs budget is counted at."
    strength: float = 0.01
    "s of the penalty s * |gamma| (classic, proximal); called sr in the classic scripts."
    schedule: str = "constant"
    "How the strength runs over the training: constant, linear (down to 10 %) or cosine (down to 10 %)."
    warmup: float = 0.0
    "Share of the run over which the strength first rises from zero, 0 to 0.5 (classic, proximal)."

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise TrainingError(f"There is no sparse training method {self.method!r}; use {', '.join(METHODS)}.")
        if self.schedule not in SCHEDULES:
            raise TrainingError(f"There is no schedule {self.schedule!r}; use {', '.join(SCHEDULES)}.")
        if not 0 < self.ratio <= 0.95:
            raise TrainingError(f"A sparsity ratio of {self.ratio:g} is out of range; use more than 0, at most 0.95.")
        if not self.strength > 0:
            raise TrainingError(
                f"A penalty strength (sr) of {self.strength:g} does nothing; use a positive number, or plain training "
                "(train), which has no penalty."
            )
        if not 0 <= self.warmup <= 0.5:
            raise TrainingError(f"A penalty warm-up of {self.warmup:g} is out of range; use 0 to 0.5 of the run.")

    def strength_at(self, progress: float) -> float:
        """Return the strength at a progress from 0 to 1."""
        rising = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        if self.schedule == "linear":
            return rising * self.strength * (1 - 0.9 * progress)
        if self.schedule == "cosine":
            return rising * self.strength * (0.1 + 0.9 * (1 + cos(pi * progress)) / 2)
        return rising * self.strength
