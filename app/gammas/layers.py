"""What a plan does to single layers, for the Gammas page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.base import numbers
from engine.profile.gammas import LayerGammas
from engine.pruning.planning import ProfilePlanner


@dataclass(frozen=True)
class LayerPlan:
    """What pruning at a ratio does to one layer."""

    kept: np.ndarray
    "(C,) bool."
    threshold: float | None
    "Largest score among everything that the plan removes in the model; None when it removes nothing."
    note: str


def layer_plan(opened: ProfilePlanner, name: str, ratio: float) -> LayerPlan:
    """Return what pruning at a ratio does to the layer of this name."""
    plan = opened.plan(ratio)
    threshold = float(opened.scores[~plan.keep].max()) if not plan.keep.all() else None
    layer = next((layer for layer in opened.graph.layers if layer.name == name), None)
    if layer is None:
        size = opened.parameters()[f"{name}.weight"]
        return LayerPlan(np.ones(size, dtype=bool), threshold, f"{name} takes no part in a forward pass.")
    kept = plan.keep[layer.groups]
    note = f"{name}: {int(kept.sum())} of {layer.channels} channels survive at ratio {numbers.ratio(ratio)}."
    if layer.reason:
        note += f" {layer.channels - layer.prunable_channels} are always kept: {layer.reason}."
    note += " Channels tied to other layers are judged together, by the mean of their gammas."
    return LayerPlan(kept, threshold, note)


def telling_layer(layers: Sequence[LayerGammas]) -> int:
    """Return the index of the layer whose gammas spread the most: the one worth looking at first."""
    return int(np.argmax([np.subtract(*np.percentile(layer.values, [75, 25])) for layer in layers]))


def median_of(layers: Sequence[LayerGammas]) -> float:
    """Return the median |gamma| over all channels."""
    return float(np.median(np.concatenate([layer.values for layer in layers])))
