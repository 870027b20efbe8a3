"""Scores: how much a channel group matters. The lowest go first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from engine.base.errors import PlanError
from engine.pruning.cost import CostModel
from engine.pruning.graph import ChannelGraph

CRITERIA = {
    "gamma": "how strongly BatchNorm passes the channel on",
    "l1": "sum of the absolute weights of the filter that makes the channel",
    "gamma-next": "gamma times what the next layers make of the channel",
    "random": "no criterion at all, as the control",
}
AGGREGATES = ("mean", "max", "sum")


@dataclass(frozen=True)
class ImportanceSettings:
    """How channel groups are scored."""

    criterion: str = "gamma"
    "One of ``CRITERIA``."
    aggregate: str = "mean"
    "How the scores of tied channels become one: mean, max or sum."
    per_layer: bool = False
    "Divide every layer's scores by their mean first, so that layers compete on equal terms."
    per_flop: bool = False
    "Divide by the FLOPs that a group's removal saves, so that a budget is spent where it buys most."
    seed: int = 0
    "Of the random criterion."
    sensitivity: tuple[tuple[str, float], ...] = ()
    "(block, factor) pairs, such as ('model.4', 1.8), from engine.validation.impact: factors of its layers' scores."

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise PlanError(f"There is no criterion {self.criterion!r}; use {', '.join(CRITERIA)}.")
        if self.seed < 0:
            raise PlanError(f"A seed of {self.seed} is out of range; use 0 or more.")
        if self.aggregate not in AGGREGATES:
            raise PlanError(f"There is no aggregate {self.aggregate!r}; use {', '.join(AGGREGATES)}.")
        for block, factor in self.sensitivity:
            if not 0 < factor < float("inf"):
                raise PlanError(f"A factor of {factor:g} for {block} is out of range; use more than 0.")


def group_scores(
    graph: ChannelGraph,
    model: nn.Module,
    settings: ImportanceSettings | None = None,
    costs: CostModel | None = None,
) -> np.ndarray:
    """Score every channel group.

    Args:
        graph: Channel graph with G groups.
        model: The model that it was traced from.
        settings: How to score; by mean |gamma| unless told.
        costs: Needed where ``settings.per_flop``.

    Returns:
        (G,) float64; infinity for group 0, which is always kept.
    """
    settings = settings or ImportanceSettings()
    by_layer = _channel_scores(graph, model, settings)
    if settings.per_layer:
        by_layer = [values / max(float(np.nanmean(values)), 1e-12) for values in by_layer]
    if settings.sensitivity:
        by_layer = [values * factor for values, factor in zip(by_layer, _factors(graph, settings), strict=True)]
    groups = np.concatenate([layer.groups for layer in graph.layers])
    scores = _aggregated(groups, np.concatenate(by_layer), graph.group_count, settings.aggregate)
    if settings.per_flop:
        if costs is None:
            raise PlanError("Scores by FLOP need the cost of the model.")
        scores = scores / np.maximum(costs.marginal_operations(), 1)
    scores[0] = np.inf
    return scores


def _channel_scores(graph: ChannelGraph, model: nn.Module, settings: ImportanceSettings) -> list[np.ndarray]:
    """Return for each layer the (C,) scores of its channels; NaN where the criterion has nothing to say.

    - gamma: Network Slimming, arXiv 1708.06519.
    - l1: sum of absolute weights of the filter, Pruning Filters for Efficient ConvNets, arXiv 1608.08710.
    - gamma-next: |gamma| times the sum of absolute weights with which the next layers read the channel, which is what
      the channel can add to them at most for a unit of normalised activation.
    """
    if settings.criterion == "random":
        generator = np.random.default_rng(settings.seed)
        return [generator.random(layer.channels) for layer in graph.layers]
    if settings.criterion == "l1":
        return _filter_norms(graph, model)
    gammas = [_absolute(model.get_submodule(layer.name).weight) for layer in graph.layers]
    if settings.criterion == "gamma":
        return gammas
    reads = _weight_sums(graph, model, reading=True)
    return [gamma * reads[layer.groups] for gamma, layer in zip(gammas, graph.layers, strict=True)]


def _factors(graph: ChannelGraph, settings: ImportanceSettings) -> list[float]:
    """Return for each layer the factor of the block it lies in, 1 where none is given."""
    factors = [
        next((factor for block, factor in settings.sensitivity if layer.name.startswith(f"{block}.")), None)
        for layer in graph.layers
    ]
    if not any(factors):
        raise PlanError("The sensitivity was measured on another architecture; measure it on this model.")
    return [1.0 if factor is None else factor for factor in factors]


def _absolute(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().abs().double().cpu().numpy()


def _filter_norms(graph: ChannelGraph, model: nn.Module) -> list[np.ndarray]:
    """Return for each layer the L1 norms of the filters that make its channels.

    Those are the filters whose outputs it normalises. A layer that normalises something else, such as the sum of two
    convolutions, has the filters that make these channels anywhere.
    """
    index = {layer.name: number for number, layer in enumerate(graph.layers)}
    norms = [np.full(layer.channels, np.nan) for layer in graph.layers]
    for maker, norm in graph.normalised.items():
        weight, _, made = _weight_dims(model.get_submodule(maker))
        filters = _sums_along(weight, made)
        if norm in index and len(filters) == len(norms[index[norm]]):
            norms[index[norm]] = filters
    if any(np.isnan(values).any() for values in norms):
        anywhere = _weight_sums(graph, model, reading=False)
        norms = [
            anywhere[layer.groups] if np.isnan(values).any() else values
            for layer, values in zip(graph.layers, norms, strict=True)
        ]
    return norms


def _weight_sums(graph: ChannelGraph, model: nn.Module, *, reading: bool) -> np.ndarray:
    """Return the (G,) sums of absolute weights with which convolutions and linear layers read or make each group."""
    sums = np.zeros(graph.group_count)
    for name, axes in graph.tensor_axes.items():
        module_name, _, kind = name.rpartition(".")
        module = model.get_submodule(module_name)
        if kind != "weight" or not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            continue
        weight, read, made = _weight_dims(module)
        dim = read if reading else made
        if len(axes) > dim and axes[dim] >= 0:
            sums += np.bincount(graph.axes[axes[dim]], weights=_sums_along(weight, dim), minlength=graph.group_count)
    return sums


def _weight_dims(module: nn.Module) -> tuple[np.ndarray, int, int]:
    """Return the absolute weights of a convolution or linear layer, the dimension it reads by and the one it makes.

    A transposed convolution has its inputs first: (in, out, ...) instead of (out, in, ...).
    """
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    return _absolute(module.weight), *((0, 1) if transposed else (1, 0))


def _sums_along(weight: np.ndarray, dim: int) -> np.ndarray:
    return weight.sum(axis=tuple(other for other in range(weight.ndim) if other != dim))


def _aggregated(groups: np.ndarray, values: np.ndarray, group_count: int, aggregate: str) -> np.ndarray:
    """Return the (G,) aggregate of values by group; channels without a value (NaN) do not count."""
    known = ~np.isnan(values)
    groups, values = groups[known], values[known]
    if aggregate == "max":
        largest = np.zeros(group_count)
        np.maximum.at(largest, groups, values)
        return largest
    sums = np.bincount(groups, weights=values, minlength=group_count)
    if aggregate == "sum":
        return sums
    return sums / np.maximum(np.bincount(groups, minlength=group_count), 1)
