"""Units: what is removed in one piece, and the classes of units that share their layers.

A unit is a channel group, or, where code cuts channels by position, one group of each piece (``EqualCount``), matched
by rank of score: removing whole units keeps the pieces equal. Units that take the same number of channels from the
same layers form a class; a class is the width of one layer, or of all the layers that a residual connection or a
split ties together. Widths are bounded and rounded by class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.profile.graph import ChannelGraph, EqualCount

Footprint = tuple[tuple[int, int], ...]
"(layer index, channels there) of one unit."


@dataclass(frozen=True)
class Units:
    """Everything that may be removed: U units in C classes."""

    scores: np.ndarray
    "(U,) float64, mean over the unit's groups."
    groups: np.ndarray
    "Channel groups of all units, unit by unit."
    owners: np.ndarray
    "Unit of each entry of ``groups``."
    channels: np.ndarray
    "(U,) BatchNorm channels of each unit, over all layers."
    classes: np.ndarray
    "(U,) class of each unit."
    footprints: tuple[Footprint, ...]
    "(C,) what one unit of the class takes."
    class_sizes: np.ndarray
    "(C,) units of each class."

    def __len__(self) -> int:
        return len(self.scores)


def collect_units(graph: ChannelGraph, scores: np.ndarray, free: np.ndarray) -> Units:
    """Return the units made of groups that may be removed.

    Args:
        graph: Channel graph with G groups.
        scores: (G,) importance.
        free: (G,) bool; a constraint with a piece that is not all free is kept as a whole.
    """
    members: list[list[int]] = []
    single = free.copy()
    for constraint in graph.equal_counts:
        together = np.concatenate(constraint.pieces)
        single[together] = False
        if free[together].all():
            members += _ranked_rows(constraint, scores).tolist()
    members += [[group] for group in np.flatnonzero(single).tolist()]
    where = _layers_by_group(graph)
    footprints = [_footprint(where, groups) for groups in members]
    numbers = {footprint: number for number, footprint in enumerate(dict.fromkeys(footprints))}
    classes = np.array([numbers[footprint] for footprint in footprints], dtype=np.int64)
    return Units(
        scores=np.array([scores[groups].mean() for groups in members], dtype=np.float64),
        groups=np.array([group for groups in members for group in groups], dtype=np.int64),
        owners=np.repeat(np.arange(len(members)), [len(groups) for groups in members]),
        channels=np.array([sum(count for _, count in footprint) for footprint in footprints], dtype=np.int64),
        classes=classes,
        footprints=tuple(numbers),
        class_sizes=np.bincount(classes, minlength=len(numbers)),
    )


def _ranked_rows(constraint: EqualCount, scores: np.ndarray) -> np.ndarray:
    """Return (units, groups a unit) in which row i holds the groups of rank i of every piece."""
    columns = []
    for piece, multiplicity in zip(constraint.pieces, constraint.multiplicities, strict=True):
        ranked = piece[np.argsort(scores[piece], kind="stable")]
        columns.append(ranked.reshape(-1, multiplicity))
    return np.concatenate(columns, axis=1)


def _layers_by_group(graph: ChannelGraph) -> list[dict[int, int]]:
    """Return for each group {layer index: its channels there}."""
    where: list[dict[int, int]] = [{} for _ in range(graph.group_count)]
    for index, layer in enumerate(graph.layers):
        for group in layer.groups.tolist():
            where[group][index] = where[group].get(index, 0) + 1
    return where


def _footprint(where: list[dict[int, int]], groups: list[int]) -> Footprint:
    total: dict[int, int] = {}
    for group in groups:
        for layer, count in where[group].items():
            total[layer] = total.get(layer, 0) + count
    return tuple(sorted(total.items()))
