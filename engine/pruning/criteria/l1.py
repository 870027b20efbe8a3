"""Filter norm: sum of the absolute weights of the filter that makes the channel.

Pruning Filters for Efficient ConvNets, https://arxiv.org/abs/1608.08710. Needs the model alone.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context
from engine.pruning.criteria._weights import sums_along, weight_dims, weight_sums


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return for each layer the L1 norms of the filters that make its channels.

    Those are the filters whose outputs it normalises. A layer that normalises something else, such as the sum of two
    convolutions, has the filters that make these channels anywhere.
    """
    graph, model = context.graph, context.model
    index = {layer.name: number for number, layer in enumerate(graph.layers)}
    norms = [np.full(layer.channels, np.nan) for layer in graph.layers]
    for maker, norm in graph.normalised.items():
        weight, _, made = weight_dims(model.get_submodule(maker))
        filters = sums_along(weight, made)
        if norm in index and len(filters) == len(norms[index[norm]]):
            norms[index[norm]] = filters
    if any(np.isnan(values).any() for values in norms):
        anywhere = weight_sums(graph, model, reading=False)
        norms = [
            anywhere[layer.groups] if np.isnan(values).any() else values
            for layer, values in zip(graph.layers, norms, strict=True)
        ]
    return norms
