"""Scores: how much a channel group matters. The lowest go first."""

from __future__ import annotations

import numpy as np
from torch import nn

from engine.graph import ChannelGraph


def layer_gammas(graph: ChannelGraph, model: nn.Module) -> dict[str, np.ndarray]:
    """Return BatchNorm name -> (C,) |gamma|, float64, in the graph's order."""
    return {
        layer.name: model.get_submodule(layer.name).weight.detach().abs().double().cpu().numpy()
        for layer in graph.layers
    }


def gamma_scores(graph: ChannelGraph, model: nn.Module) -> np.ndarray:
    """Score every channel group by the mean |gamma| of its BatchNorm channels (Network Slimming, arXiv 1708.06519).

    The paper scores single channels; the mean over tied channels is what this adds.

    Returns:
        (G,) float64; infinity for group 0, which is always kept.
    """
    gammas = layer_gammas(graph, model)
    groups = np.concatenate([layer.groups for layer in graph.layers])
    values = np.concatenate([gammas[layer.name] for layer in graph.layers])
    return mean_by_group(groups, values, graph.group_count)


def mean_by_group(groups: np.ndarray, values: np.ndarray, group_count: int) -> np.ndarray:
    """Return the (G,) mean of values by group, infinity for group 0."""
    sums = np.bincount(groups, weights=values, minlength=group_count)
    counts = np.bincount(groups, minlength=group_count)
    scores = sums / np.maximum(counts, 1)
    scores[0] = np.inf
    return scores
