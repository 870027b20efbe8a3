"""Solving for a ratio: a prefix of the ranking, then widths rounded up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.base.errors import PlanError
from engine.base.numbers import ratio_bound
from engine.pruning.solver.ranking import Ranking
from engine.pruning.solver.settings import check_ratio


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
    "Largest ratio at all under these settings."
    at_floor: np.ndarray
    "(L,) bool: the floor kept channels that the scores would have removed."
    bounds: tuple[tuple[str, ...], ...]
    "(L,) what shaped the layer besides its scores: floor, rounding, own ratio, coupled, equal parts."


def solve(ranking: Ranking, ratio: float) -> PrunePlan:
    """Choose the channels that survive at a ratio.

    Args:
        ranking: From ``rank``.
        ratio: Share of the prunable BatchNorm channels to remove, 0 to 0.95.

    Returns:
        A plan with ``ratio_achieved <= ratio``, unless layers with a ratio of their own remove more.

    Raises:
        PlanError: The ratio is out of range.
    """
    check_ratio(ratio)
    return make_plan(ranking, ratio, ranking.counts_at(ratio), ranking.floors_at(ratio))


def make_plan(ranking: Ranking, ratio: float, wanted: np.ndarray, at_floor: np.ndarray) -> PrunePlan:
    """Return the plan in which ``wanted`` (C,) units of each class go, rounded."""
    counts = ranking.rounded(wanted)
    keep = ranking.keep_mask(counts)
    return PrunePlan(
        keep=keep,
        kept_channels=ranking.graph.kept_channels(keep),
        ratio_requested=ratio,
        ratio_achieved=float((ranking.class_channels * counts).sum() / ranking.prunable_channels),
        max_ratio=ranking.max_ratio,
        limiting_layer=ranking.limiting_layer,
        ceiling_ratio=ranking.ceiling_ratio,
        at_floor=at_floor,
        bounds=_bounds(ranking, at_floor, counts < wanted),
    )


def _bounds(ranking: Ranking, at_floor: np.ndarray, rounded: np.ndarray) -> tuple[tuple[str, ...], ...]:
    bounds = list(ranking.lasting_bounds)
    for layer in np.flatnonzero(at_floor).tolist():
        bounds[layer] = ("floor", *bounds[layer])
    for number in np.flatnonzero(rounded).tolist():
        for layer, _ in ranking.units.footprints[number]:
            if "rounding" not in bounds[layer]:
                bounds[layer] = ("rounding", *bounds[layer])
    return tuple(bounds)


def require_feasible(ranking: Ranking, ratio: float) -> None:
    """Refuse a ratio that even with every layer at its floor cannot be reached.

    Raises:
        PlanError: Names the largest possible ratio and the layer that stands in the way first.
    """
    check_ratio(ratio)
    if ranking.settings.round_to > 1 or ranking.own.any():
        return  # falling short of the ratio is then what was asked for
    if ratio > ranking.ceiling_ratio + 1e-9:
        named = np.floor(ranking.ceiling_ratio * 1000) / 1000  # rounded down, so that the ratio named is possible
        raise PlanError(
            f"A prune ratio of {ratio:g} would leave {ranking.limiting_layer or 'a layer'} and others fewer channels "
            f"than their floor of {ranking.settings.floor}. The largest possible ratio is {ratio_bound(named)}; "
            "choose that or less, or lower the floor."
        )
