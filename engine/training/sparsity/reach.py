"""Before a penalty run starts: how far a gamma can fall, so that a recipe that cannot reach zero is seen in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import ceil, pi

import numpy as np

from engine.settings.fields import default_of
from engine.settings.training import Training
from engine.training.sparsity.settings import SparsitySettings

MOMENTUM = 0.937
"Ultralytics' default for SGD and its like."
LRF = 0.01
"Ultralytics' default: the last learning rate as a share of the first."
ADAPTIVE = ("adam", "adamw", "adamax", "nadam", "radam", "rmsprop")
MARGIN = 1.5
"How much further than the median gamma a recipe should reach: the loss pulls the other way."
_usual = partial(default_of, Training)


@dataclass(frozen=True)
class TrainingLength:
    """What decides how many optimizer steps a run takes, and how large they are; Ultralytics' own names."""

    images: int
    "Of the training split."
    epochs: int
    batch: int = _usual("batch")
    nbs: int = _usual("nbs")
    "Gradients of about so many images are gathered before a step."
    lr0: float = _usual("lr0")
    cos_lr: bool = _usual("cos_lr")
    optimizer: str = _usual("optimizer")
    momentum: float = MOMENTUM
    lrf: float = LRF
    warmup: float | None = None
    "Epochs of warm-up where they are given; else as ``warmup_epochs`` has it."

    @property
    def batches(self) -> int:
        """Batches an epoch."""
        return ceil(self.images / self.batch)

    @property
    def warmup_epochs(self) -> float:
        """Epochs over which the learning rate rises."""
        return warmup_epochs(self.epochs) if self.warmup is None else self.warmup


@dataclass(frozen=True)
class Reach:
    """How far a gamma can fall in a run."""

    distance: float
    "The largest fall of a gamma that the loss does not hold up."
    steps: int
    "Optimizer steps; fewer than batches where gradients are gathered."
    certain: bool
    "False where an optimizer rescales the penalty with the gradient (classic with Adam and its like)."


def warmup_epochs(epochs: int) -> float:
    """Return the warm-up of a run: three epochs are most of a short one, a tenth of it settles the optimizer."""
    return min(3.0, epochs / 10)


def images_taken(images: int, fraction: float | int | list[float | int]) -> int:
    """Return how many training images Ultralytics' ``fraction`` leaves: a share, a count, or a list by split."""
    share = fraction[0] if isinstance(fraction, list) else fraction
    if isinstance(share, int) and share > 1:
        return min(share, images)
    return max(1, round(images * share))


def learning_rates(length: TrainingLength) -> tuple[np.ndarray, np.ndarray]:
    """Return the (S,) progress, 0 to 1, and (S,) learning rate at each optimizer step of an Ultralytics run.

    As ``BaseTrainer._do_train`` does it: the rate rises linearly over the warm-up, while the number of batches that
    are gathered grows from one, and then falls, linearly or along a cosine, to a share ``lrf`` (1 %) at the last epoch.
    """
    batches, epochs = length.batches, length.epochs
    gathered = min(max(round(length.nbs / length.batch), 1), batches * epochs)
    warmup = round(min(length.warmup_epochs, max(epochs - 1, 0)) * batches)
    rising, last = [], -1
    for index in range(min(warmup + 1, batches * epochs) if warmup else 0):
        if index - last >= max(1, int(np.interp(index, [0, warmup], [1, gathered]).round())):
            rising.append(index)
            last = index
    steps = np.concatenate([np.array(rising, dtype=int), np.arange(last + gathered, batches * epochs, gathered)])
    epoch = steps // batches
    share = (1 - np.cos(epoch * pi / epochs)) / 2 if length.cos_lr else epoch / epochs
    rates = length.lr0 * (1 - share * (1 - length.lrf))
    if warmup:
        rates = np.where(steps <= warmup, rates * np.minimum(steps / warmup, 1), rates)
    return (steps + 1) / (batches * epochs), rates


def reach(settings: SparsitySettings, length: TrainingLength) -> Reach:
    """Return how far the penalty alone can pull a gamma down over a run.

    The proximal step moves a gamma by ``lr * s``. The classic subgradient passes through the optimizer: SGD with
    momentum m moves by ``lr * s / (1 - m)`` in the long run, and an adaptive optimizer by at most ``lr``. The targeted
    method reaches zero by construction; its distance is infinite.
    """
    progress, rates = learning_rates(length)
    if settings.method == "targeted":
        return Reach(float("inf"), len(rates), certain=True)
    strengths = np.array([settings.strength_at(at) for at in progress.tolist()])
    if settings.method == "proximal":
        return Reach(float((rates * strengths).sum()), len(rates), certain=True)
    if length.optimizer.lower() in ADAPTIVE:
        return Reach(float(rates[strengths > 0].sum()), len(rates), certain=False)
    return Reach(_with_momentum(rates, strengths, length.momentum), len(rates), certain=True)


def _with_momentum(rates: np.ndarray, strengths: np.ndarray, momentum: float) -> float:
    """Return the distance that SGD with Nesterov momentum, as Ultralytics sets it up, covers on the penalty alone."""
    velocity = distance = 0.0
    for rate, strength in zip(rates.tolist(), strengths.tolist(), strict=True):
        velocity = momentum * velocity + strength
        distance += rate * (strength + momentum * velocity)
    return distance


def strength_to_reach(distance: float, settings: SparsitySettings, length: TrainingLength) -> float | None:
    """Return the strength with which a penalty reaches ``MARGIN`` times a distance; None where no strength does."""
    unit = reach(replace(settings, strength=1.0), length)
    if settings.method == "targeted" or not unit.certain or unit.distance <= 0:
        return None
    return MARGIN * distance / unit.distance
