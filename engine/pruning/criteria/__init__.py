"""Criteria: how much a channel matters. One file each; a new file here is a new criterion, see docs/extending.md.

The first line of a file says what a page calls it and what it is, its last sentence what it needs. Its function
``channel_scores`` takes a ``Context`` and returns, for each BatchNorm layer of the graph, the (C,) scores of its
channels: the lowest go first, all are at least 0, and NaN stands where the criterion has nothing to say. Files whose
names begin with an underscore are no criteria.
"""

from engine.pruning.criteria._context import NEEDS_IMAGES, Batch, Context
from engine.pruning.criteria._scores import (
    AGGREGATES,
    MODEL_FREE,
    ImportanceSettings,
    channel_scores,
    combined_scores,
    group_scores,
)
from engine.settings.choices import CRITERIA

__all__ = [
    "AGGREGATES",
    "CRITERIA",
    "MODEL_FREE",
    "NEEDS_IMAGES",
    "Batch",
    "Context",
    "ImportanceSettings",
    "channel_scores",
    "combined_scores",
    "group_scores",
]
