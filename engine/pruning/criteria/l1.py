"""Filter norm: sum of the absolute weights of the filter that makes the channel.

Pruning Filters for Efficient ConvNets, https://arxiv.org/abs/1608.08710. Needs the model alone.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context
from engine.pruning.criteria._weights import filter_scores


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return for every channel the L1 norm of the filter that makes it."""
    return filter_scores(context, lambda filters: np.abs(filters).sum(axis=1))
