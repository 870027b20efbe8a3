"""What criteria read off the weights of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.profile.graph import ChannelGraph
from engine.pruning.criteria._context import Context

Score = Callable[[np.ndarray], np.ndarray]
"(C, weights of a filter) -> (C,) scores."


def gammas(graph: ChannelGraph, model: nn.Module) -> list[np.ndarray]:
    """Return for each layer the (C,) absolute scale factors of its BatchNorm."""
    return [np.abs(_array(model.get_parameter(f"{layer.name}.weight"))) for layer in graph.layers]


def read_sums(graph: ChannelGraph, model: nn.Module) -> np.ndarray:
    """Return the (G,) sums of absolute weights with which convolutions and linear layers read each group."""
    sums = np.zeros(graph.group_count)
    for module, groups in _sides(graph, model, reading=True):
        sums += np.bincount(groups, np.abs(_rows(module, reading=True)).sum(axis=1), graph.group_count)
    return sums


def filter_scores(context: Context, score: Score, *, folded: bool = False) -> list[np.ndarray]:
    """Return for each layer the (C,) scores of the filters that make its channels.

    Those are the filters whose outputs it normalises. A layer that normalises something else, such as the sum of two
    convolutions, has the sum of the scores of all filters that make these channels anywhere.

    Args:
        context: What there is to look at.
        score: Of the filters of one convolution or linear layer.
        folded: Multiply every filter by gamma over the standard deviation first, as fusing does for deployment.
    """
    graph, model = context.graph, context.model
    found: dict[str, np.ndarray] = {}
    sizes = {layer.name: layer.channels for layer in graph.layers}
    for maker, norm in graph.normalised.items():
        rows = _rows(model.get_submodule(maker), reading=False)
        if sizes.get(norm) == len(rows):
            found[norm] = score(rows * _scale(model.get_submodule(norm))[:, None] if folded else rows)
    anywhere = np.zeros(graph.group_count)
    if len(found) < len(sizes):
        for module, groups in _sides(graph, model, reading=False):
            np.add.at(anywhere, groups, score(_rows(module, reading=False)))
    return [found.get(layer.name, anywhere[layer.groups]) for layer in graph.layers]


def _sides(graph: ChannelGraph, model: nn.Module, *, reading: bool) -> Iterator[tuple[nn.Module, np.ndarray]]:
    """Yield convolutions and linear layers with the (C,) groups of the channels that they read, or make."""
    for name, axes in graph.tensor_axes.items():
        module_name, _, kind = name.rpartition(".")
        module = model.get_submodule(module_name)
        if kind == "weight" and isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            dim = _dim(module, reading=reading)
            if len(axes) > dim and axes[dim] >= 0:
                yield module, graph.axes[axes[dim]]


def _rows(module: nn.Module, *, reading: bool) -> np.ndarray:
    """Return the weights with which each channel is read, or made, as rows."""
    weight, dim = _array(module.get_parameter("weight")), _dim(module, reading=reading)
    return np.moveaxis(weight, dim, 0).reshape(weight.shape[dim], -1)


def _dim(module: nn.Module, *, reading: bool) -> int:
    """Return the dimension of a weight that it reads by, or makes by.

    A transposed convolution has its inputs first: (in, out, ...) instead of (out, in, ...).
    """
    return int(reading != isinstance(module, nn.modules.conv._ConvTransposeNd))


def _scale(norm: Any) -> np.ndarray:
    deviation = np.sqrt(_array(norm.get_buffer("running_var")) + norm.eps)
    return _array(norm.get_parameter("weight")) / deviation


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()
