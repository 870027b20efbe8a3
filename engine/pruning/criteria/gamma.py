"""|gamma|: how strongly BatchNorm passes the channel on.

Learning Efficient Convolutional Networks through Network Slimming, https://arxiv.org/abs/1708.06519. Needs the model
alone.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context
from engine.pruning.criteria._weights import gammas


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return the absolute scale factor of every channel."""
    return gammas(context.graph, context.model)
