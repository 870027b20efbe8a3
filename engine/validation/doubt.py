"""How sure a difference of accuracy is: the paired bootstrap over the images it was measured on.

A validation set is a draw of the images that a model will meet. Drawing from it again and again, with replacement, and
taking the difference of two models on each draw shows how much of that difference the choice of images alone makes
(B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13: percentile interval). Both
models are counted on the same draws, so what is hard in an image for both takes no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.validation.matches import Matches

DRAWS = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """The score of one model less that of another on the same images, and the interval that the doubt leaves."""

    value: float
    low: float
    high: float
    images: int

    @property
    def judgement(self) -> str:
        """``better``, ``worse`` or, where the interval has room for none, ``same``."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "same"


def difference(
    child: Matches, parent: Matches, *, draws: int = DRAWS, confidence: float = CONFIDENCE, seed: int = 0
) -> Difference:
    """Return how much better a model is than another, with the interval that so many draws of the images leave.

    Args:
        child: What one model found.
        parent: What the other found, in the same images in the same order.
        draws: How often the images are drawn anew.
        confidence: Share of the draws that the interval holds.
        seed: Of the draws.

    Raises:
        ValueError: The two were measured on different numbers of images.
    """
    if child.images != parent.images or not child.images:
        raise ValueError(f"{child.images} and {parent.images} images make no pair")
    images = child.images
    random = np.random.default_rng(seed)
    drawn = random.multinomial(images, np.full(images, 1 / images), size=draws)
    once = np.ones((1, images), dtype=np.int64)
    counted = np.concatenate([once, drawn])
    differences = child.score(counted) - parent.score(counted)
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences[1:], [tail, 1 - tail])
    return Difference(float(differences[0]), float(low), float(high), images)
