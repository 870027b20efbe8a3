"""Taylor: how much the loss would change without the channel, to first order.

Importance Estimation for Neural Network Pruning, https://arxiv.org/abs/1906.10771, equation 8, with a gate behind every
BatchNorm: the squared gradient of the loss of a batch by the gate. Tied channels share one gate. Needs labelled images.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context
from engine.pruning.criteria._gates import by_layer, gate_gradients


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return for every channel the mean over batches of the squared gradient of its gate."""
    return by_layer(context, np.mean([each.sum(axis=0) ** 2 for each in gate_gradients(context)], axis=0))
