"""A preview in words and as a table. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from engine.base.numbers import ratio, ratio_bound
from engine.settings.results import PlannedLayer, Preview

BOUNDS = {
    "floor": "at its floor",
    "rounding": "rounded up",
    "own ratio": "has a ratio of its own",
    "coupled": "tied to other layers",
    "equal parts": "its parts stay equally large",
}
"What shaped a layer besides its scores, in words."
WITHIN_BUDGET = "The whole model is within this budget, so there is nothing to prune."


def max_ratio_sentence(preview: Preview) -> str:
    """Say how far the order of scores alone can go."""
    if not preview.limiting_layer:
        return "No layer stands in the way of any ratio."
    return (
        f"Up to a ratio of {ratio(preview.max_ratio)} every layer keeps its floor; "
        f"then {preview.limiting_layer} stands in the way."
    )


def limit_sentence(preview: Preview, floor: int) -> str:
    """Say what happens beyond the largest ratio."""
    if preview.ratio_requested > preview.ceiling_ratio:
        return (
            f"A ratio of {ratio(preview.ratio_requested)} cannot be reached: with every layer at its floor of {floor} "
            f"channels the ratio is {ratio_bound(preview.ceiling_ratio)}. Choose less, or lower the floor."
        )
    return (
        f"Beyond {ratio(preview.max_ratio)} floors hold: {preview.limiting_layer} would lose its last {floor} "
        "channels, so they stay and channels with larger scores go in their place. Expect more loss of accuracy."
    )


def layer_table(layers: Sequence[PlannedLayer]) -> pd.DataFrame:
    """Return one row for each layer; 'Kept' is a share from 0 to 1."""
    return pd.DataFrame(
        {
            "Layer": [layer.name for layer in layers],
            "Before": [layer.before for layer in layers],
            "After": [layer.after for layer in layers],
            "Kept": [layer.after / layer.before for layer in layers],
            "What shapes it": [_why(layer) for layer in layers],
        }
    )


def _why(layer: PlannedLayer) -> str:
    reasons = []
    if layer.reason:
        fixed = layer.before - layer.prunable
        reasons.append(layer.reason if layer.prunable == 0 else f"{fixed} of them: {layer.reason}")
    return "; ".join([*reasons, *(BOUNDS[bound] for bound in layer.bounds)])
