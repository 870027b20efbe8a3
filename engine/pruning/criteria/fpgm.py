"""Geometric median: how far a filter is from the others of its layer, which can do its work where they are near.

Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration,
https://arxiv.org/abs/1811.00250: the sum of the Euclidean distances to all filters of the layer. The paper
prunes every layer by the same ratio; where layers compete, compare them relative to their mean (``per_layer``). Needs
the model alone.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context
from engine.pruning.criteria._weights import filter_scores


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return for every channel the sum of distances of its filter to those of the same layer."""
    return filter_scores(context, _distances)


def _distances(filters: np.ndarray) -> np.ndarray:
    squares = (filters**2).sum(axis=1)
    between = squares[:, None] + squares[None, :] - 2 * filters @ filters.T
    return np.sqrt(np.maximum(between, 0)).sum(axis=1)
