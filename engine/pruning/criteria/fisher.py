"""Fisher: how much the loss would grow without the channel, to second order.

Faster Gaze Prediction with Dense Networks and Fisher Pruning, https://arxiv.org/abs/1801.05787: where the loss is at
its minimum, the empirical Fisher information stands for the Hessian; its diagonal is the mean over images of the
squared gradient by the channel's gate. Needs labelled images.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context
from engine.pruning.criteria._gates import by_layer, gate_gradients


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return for every channel half of the mean over images of the squared gradient of its gate."""
    return by_layer(context, (np.concatenate(list(gate_gradients(context))) ** 2).mean(axis=0) / 2)
