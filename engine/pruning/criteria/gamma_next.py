"""|gamma| × next: gamma times what the next layers make of the channel.

|gamma| times the sum of absolute weights with which the next layers read the channel, which is what the channel can add
to them at most for a unit of normalised activation. Needs the model alone.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context
from engine.pruning.criteria._weights import gammas, read_sums


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return for every channel its scale factor times the weights that read it."""
    reads = read_sums(context.graph, context.model)
    by_layer = zip(gammas(context.graph, context.model), context.graph.layers, strict=True)
    return [gamma * reads[layer.groups] for gamma, layer in by_layer]
