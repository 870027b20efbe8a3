"""The mask solver: from scores and a ratio to the channels that survive. Pure arrays, no torch.

What may be removed comes in units: a channel group by itself, or, where code cuts channels by position, one group of
each piece (``EqualCount``), matched by rank of score. Units are removed in ascending order of score, skipping those
that would take a layer below its floor. That order does not depend on the ratio, so it is worked out once
(``rank``), and a ratio is a prefix of it (``solve``): moving a slider costs microseconds, and a larger ratio never
keeps a channel that a smaller one removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import PlanError
from engine.graph import ChannelGraph, EqualCount

MAX_RATIO = 0.95
DEFAULT_FLOOR = 4


@dataclass(frozen=True)
class SolverSettings:
    """What bounds a plan besides its ratio."""

    protect_residual: bool = False
    "Keep every group that a residual add ties together, as the classic recipe does."
    floor: int = DEFAULT_FLOOR
    "Channels that every BatchNorm layer keeps at least (all of them in a layer that has no more)."

    def __post_init__(self) -> None:
        if self.floor < 1:
            raise PlanError(f"A floor of {self.floor} channels would empty layers; use 1 or more.")


@dataclass(frozen=True)
class Ranking:
    """Every decision that does not depend on the ratio."""

    graph: ChannelGraph
    settings: SolverSettings
    removal_groups: np.ndarray
    "Group ids in the order of their removal."
    unit_ends: np.ndarray
    "(U,) end of each unit inside ``removal_groups``."
    removed_channels: np.ndarray
    "(U,) BatchNorm channels removed once the first, second ... unit is."
    prunable_channels: int
    "What a ratio of 1 stands for."
    max_ratio: float
    "Largest ratio at which the order by score alone leaves every layer its floor."
    limiting_layer: str
    "The layer whose floor ends that; empty where nothing does."
    ceiling_ratio: float
    "Largest ratio at all, with every floor kept."


@dataclass(frozen=True)
class PrunePlan:
    """Which channels survive, and what bound the decision."""

    keep: np.ndarray
    "(G,) bool; group 0 is always True."
    kept_channels: np.ndarray
    "(L,) surviving channels of each layer of the graph."
    ratio_requested: float
    ratio_achieved: float
    "Removed share of the prunable BatchNorm channels."
    max_ratio: float
    limiting_layer: str
    ceiling_ratio: float
    at_floor: np.ndarray
    "(L,) bool: the layer's floor kept channels that the order by score would have removed."


def check_ratio(ratio: float) -> None:
    """Refuse a ratio outside 0 .. 0.95.

    Raises:
        PlanError: The ratio is not a number in that range.
    """
    if not 0 <= ratio <= MAX_RATIO:  # also refuses nan
        raise PlanError(
            f"A prune ratio of {ratio:g} is out of range: 0 removes nothing, and beyond {MAX_RATIO} layers would be "
            f"left empty. Choose a ratio from 0 to {MAX_RATIO}."
        )


def rank(graph: ChannelGraph, scores: np.ndarray, settings: SolverSettings | None = None) -> Ranking:
    """Order everything that may be removed.

    Args:
        graph: Channel graph with G groups and L layers.
        scores: (G,) importance of each group; NaN counts as 0.
        settings: Limits.

    Raises:
        PlanError: Nothing of the model is prunable under these settings.
    """
    settings = settings or SolverSettings()
    free = np.ones(graph.group_count, dtype=bool)
    free[0] = False
    if settings.protect_residual:
        free &= ~graph.residual
    units = _units(graph, np.nan_to_num(scores, nan=0.0, posinf=np.inf), free)
    if not units:
        raise PlanError("No channel of this model may be removed with these settings.")
    channels = _channels_by_layer(graph)
    prunable = int(sum(channels[group][1] for unit in units for group in unit[1]))
    order = sorted(range(len(units)), key=lambda index: (units[index][0], index))
    removed, first_block = _walk(graph, [units[index][1] for index in order], channels, settings.floor)
    sizes = np.array([sum(channels[group][1] for group in unit) for unit in removed], dtype=np.int64)
    totals = np.cumsum(sizes)
    free_units, limiting = first_block if first_block else (len(removed), "")
    return Ranking(
        graph=graph,
        settings=settings,
        removal_groups=np.array([group for unit in removed for group in unit], dtype=np.int64),
        unit_ends=np.cumsum([len(unit) for unit in removed], dtype=np.int64),
        removed_channels=totals,
        prunable_channels=prunable,
        max_ratio=float(totals[free_units - 1] / prunable) if free_units else 0.0,
        limiting_layer=limiting,
        ceiling_ratio=float(totals[-1] / prunable) if len(totals) else 0.0,
    )


def _units(graph: ChannelGraph, scores: np.ndarray, free: np.ndarray) -> list[tuple[float, list[int]]]:
    """Return (score, groups) of everything that is removed in one piece."""
    units: list[tuple[float, list[int]]] = []
    single = free.copy()
    for constraint in graph.equal_counts:
        members = np.concatenate(constraint.pieces)
        single[members] = False
        if free[members].all():  # one protected piece protects the others: they must stay as large
            units += [(float(scores[groups].mean()), groups.tolist()) for groups in _ranked_rows(constraint, scores)]
    units += [(float(scores[group]), [int(group)]) for group in np.flatnonzero(single)]
    return units


def _ranked_rows(constraint: EqualCount, scores: np.ndarray) -> np.ndarray:
    """Return (units, groups a unit) in which row i holds the groups of rank i of every piece."""
    columns = []
    for piece, multiplicity in zip(constraint.pieces, constraint.multiplicities, strict=True):
        ranked = piece[np.argsort(scores[piece], kind="stable")]
        columns.append(ranked.reshape(-1, multiplicity))
    return np.concatenate(columns, axis=1)


def _channels_by_layer(graph: ChannelGraph) -> list[tuple[dict[int, int], int]]:
    """Return for each group ({layer index: its channels there}, its channels in all layers)."""
    where: list[dict[int, int]] = [{} for _ in range(graph.group_count)]
    for index, layer in enumerate(graph.layers):
        for group in layer.groups.tolist():
            where[group][index] = where[group].get(index, 0) + 1
    return [(layers, sum(layers.values())) for layers in where]


def _walk(
    graph: ChannelGraph, units: list[list[int]], channels: list[tuple[dict[int, int], int]], floor: int
) -> tuple[list[list[int]], tuple[int, str] | None]:
    """Remove units in order, skipping those that a floor forbids.

    Returns:
        The removed units in order, and (units removed before the first skip, layer that forbade it) or None.
    """
    room = [max(layer.channels - floor, 0) for layer in graph.layers]
    removed: list[list[int]] = []
    first_block: tuple[int, str] | None = None
    for unit in units:
        needed: dict[int, int] = {}
        for group in unit:
            for layer, count in channels[group][0].items():
                needed[layer] = needed.get(layer, 0) + count
        blocking = next((layer for layer, count in needed.items() if count > room[layer]), None)
        if blocking is None:
            for layer, count in needed.items():
                room[layer] -= count
            removed.append(unit)
        elif first_block is None:
            first_block = (len(removed), graph.layers[blocking].name)
    return removed, first_block


def solve(ranking: Ranking, ratio: float) -> PrunePlan:
    """Choose the channels that survive at a ratio: the longest prefix of the ranking that does not exceed it.

    Args:
        ranking: From ``rank``.
        ratio: Share of the prunable BatchNorm channels to remove, 0 to 0.95.

    Returns:
        A plan with ``ratio_achieved <= ratio``; smaller where the last unit does not fit or floors forbid more.

    Raises:
        PlanError: The ratio is out of range.
    """
    check_ratio(ratio)
    graph = ranking.graph
    wanted = ratio * ranking.prunable_channels + 1e-9  # 0.3 * 10 is 2.9999999999999996
    count = int(np.searchsorted(ranking.removed_channels, wanted, side="right"))
    keep = np.ones(graph.group_count, dtype=bool)
    if count:
        keep[ranking.removal_groups[: ranking.unit_ends[count - 1]]] = False
    kept = graph.kept_channels(keep)
    achieved = float(ranking.removed_channels[count - 1] / ranking.prunable_channels) if count else 0.0
    at_floor = (kept <= np.minimum(graph.layer_sizes, ranking.settings.floor)) & (kept < graph.layer_sizes)
    return PrunePlan(
        keep=keep,
        kept_channels=kept,
        ratio_requested=ratio,
        ratio_achieved=achieved,
        max_ratio=ranking.max_ratio,
        limiting_layer=ranking.limiting_layer,
        ceiling_ratio=ranking.ceiling_ratio,
        at_floor=at_floor,
    )


def require_feasible(ranking: Ranking, ratio: float) -> None:
    """Refuse a ratio that even with every layer at its floor cannot be reached.

    Raises:
        PlanError: Names the largest possible ratio and the layer that stands in the way first.
    """
    check_ratio(ratio)
    if ratio > ranking.ceiling_ratio + 1e-9:
        raise PlanError(
            f"A prune ratio of {ratio:g} would leave {ranking.limiting_layer or 'a layer'} and others fewer than "
            f"{ranking.settings.floor} channels. The largest possible ratio is {ranking.ceiling_ratio:.3f}; choose "
            "that or less, or lower the floor."
        )
