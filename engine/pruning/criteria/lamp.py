"""LAMP: a filter's squared weights as a share of what its layer has left when its turn comes.

Layer-adaptive Sparsity for the Magnitude-based Pruning, https://arxiv.org/abs/2010.07611, with filters in
the place of single weights: the squared L2 norm over the sum of those of all filters of the layer that are no smaller.
BatchNorm undoes any scale of a filter, so gamma over the standard deviation is multiplied in first. The largest filter
of every layer scores 1, so no layer is emptied. Needs the model alone.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context
from engine.pruning.criteria._weights import filter_scores


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return the LAMP score of the filter that makes each channel."""
    return filter_scores(context, _lamp, folded=True)


def _lamp(filters: np.ndarray) -> np.ndarray:
    squares = (filters**2).sum(axis=1)
    order = np.argsort(squares, kind="stable")
    left = np.cumsum(squares[order][::-1])[::-1]  # of this filter and all larger ones
    scores = np.empty(len(squares))
    scores[order] = squares[order] / np.maximum(left, np.finfo(float).tiny)
    return scores
