"""Taylor on activations: how much the loss of each image would change without the channel's feature map.

Pruning Convolutional Neural Networks for Resource Efficient Inference, https://arxiv.org/abs/1611.06440: the
absolute value, image by image, of the sum over positions of activation times its gradient. Here the activation is
what BatchNorm gives, tied channels count as one map, and layers are compared as they are (the paper first divides by a
layer's norm, as ``per_layer`` does by its mean). Needs labelled images.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context
from engine.pruning.criteria._gates import by_layer, gate_gradients


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return for every channel the mean over images of the absolute gradient of its gate."""
    return by_layer(context, np.abs(np.concatenate(list(gate_gradients(context)))).mean(axis=0))
