"""Scores: how much a channel group matters. The lowest go first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from engine.base.errors import PlanError
from engine.profile.cost import Costs
from engine.profile.graph import ChannelGraph
from engine.pruning.criteria._context import Batch, Context, Criterion
from engine.settings.choices import USUAL_CRITERION
from engine.settings.fields import check_values, choices_of, default_of
from engine.settings.plan import Scores

if TYPE_CHECKING:
    from torch import nn

AGGREGATES = choices_of(Scores, "aggregate")
MODEL_FREE = frozenset({"random"})
"Criteria that look at nothing of the model but its graph."
_usual = partial(default_of, Scores)


@dataclass(frozen=True)
class ImportanceSettings:
    """How channel groups are scored."""

    criterion: str = USUAL_CRITERION
    "One of ``engine.settings.choices.CRITERIA``."
    aggregate: str = _usual("aggregate")
    "How the scores of tied channels become one: mean, max or sum."
    per_layer: bool = _usual("per_layer")
    "Divide every layer's scores by their mean first, so that layers compete on equal terms."
    per_flop: bool = _usual("per_flop")
    "Divide by the FLOPs that a group's removal saves, so that a budget is spent where it buys most."
    seed: int = _usual("seed")
    "Of the random criterion."
    sensitivity: tuple[tuple[str, float], ...] = ()
    "(block, factor) pairs, such as ('model.4', 1.8), from engine.validation.impact: factors of its layers' scores."
    images: str = ""
    "SHA-256 over the labelled images that the criterion looked at, empty where it looks at none."

    def __post_init__(self) -> None:
        check_values(Scores, self, PlanError, but=("sensitivity",))
        for block, factor in self.sensitivity:
            if not 0 < factor < float("inf"):
                raise PlanError(f"A factor of {factor:g} for {block} is out of range; use more than 0.")


def group_scores(
    graph: ChannelGraph,
    model: nn.Module,
    settings: ImportanceSettings | None = None,
    costs: Costs | None = None,
    batches: Callable[[], Iterable[Batch]] | None = None,
) -> np.ndarray:
    """Score every channel group.

    Args:
        graph: Channel graph with G groups.
        model: The model that it was traced from.
        settings: How to score; by mean |gamma| unless told.
        costs: Needed where ``settings.per_flop``.
        batches: Reads labelled images, for criteria that look at some.

    Returns:
        (G,) float64; infinity for group 0, which is always kept.

    Raises:
        PlanError: What the settings need is missing.
    """
    settings = settings or ImportanceSettings()
    by_layer = channel_scores(settings.criterion, Context(graph, model, settings.seed, batches))
    return combined_scores(graph, by_layer, settings, costs)


def combined_scores(
    graph: ChannelGraph, by_layer: list[np.ndarray], settings: ImportanceSettings, costs: Costs | None = None
) -> np.ndarray:
    """Return the (G,) scores of groups that the scores of their channels, layer by layer, make; as ``group_scores``."""
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


def channel_scores(name: str, context: Context) -> list[np.ndarray]:
    """Return what a criterion says: for each layer the (C,) scores of its channels, NaN where it says nothing.

    Raises:
        PlanError: the criterion looks at images and there are none, or its scores are none.
    """
    criterion: Criterion = import_module(f"engine.pruning.criteria.{name.replace('-', '_')}")
    scores = criterion.channel_scores(context)
    wanted = [(layer.channels,) for layer in context.graph.layers]
    if [np.shape(values) for values in scores] != wanted or any((np.asarray(values) < 0).any() for values in scores):
        raise PlanError(f"The criterion {name} did not give every channel of every layer a score of 0 or more.")
    return scores


def _factors(graph: ChannelGraph, settings: ImportanceSettings) -> list[float]:
    """Return for each layer the factor of the block it lies in, 1 where none is given."""
    factors = [
        next((factor for block, factor in settings.sensitivity if layer.name.startswith(f"{block}.")), None)
        for layer in graph.layers
    ]
    if not any(factors):
        raise PlanError("The sensitivity was measured on another architecture; measure it on this model.")
    return [1.0 if factor is None else factor for factor in factors]


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
