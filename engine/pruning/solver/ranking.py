"""The order of removal: every decision of the solver that does not depend on the ratio."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.base.errors import PlanError
from engine.profile.graph import ChannelGraph
from engine.pruning.solver.settings import SolverSettings
from engine.pruning.solver.units import Units, collect_units


@dataclass(frozen=True)
class Skip:
    """A unit that a floor forbids to remove."""

    before: int
    "Units of the order that go before its turn comes."
    layer: int
    "Index of the layer whose floor forbids it."
    channels: int
    "BatchNorm channels of the unit."


@dataclass(frozen=True)
class Ranking:
    """Units in the order of their removal, and the bounds on every class of them.

    Classes with a ratio of their own are outside the order; how many of their units go is decided here.
    """

    graph: ChannelGraph
    settings: SolverSettings
    units: Units
    order: np.ndarray
    "Unit indices in the order of removal: ascending score, without those that a floor forbids."
    removed_channels: np.ndarray
    "BatchNorm channels removed once the first, second ... unit of the order is, with those of ``own_removed``."
    skips: tuple[Skip, ...]
    "Every unit that a floor forbids, in the order of scores."
    rank_in_class: np.ndarray
    "(U,) position of a unit in its class by descending score: 0 is the last to go."
    removable: np.ndarray
    "(C,) units of each class that floors allow to go when every class shrinks."
    removable_by: np.ndarray
    "(C,) layer whose floor decides that."
    own: np.ndarray
    "(C,) bool: the class has a ratio of its own."
    own_removed: np.ndarray
    "(C,) units that go by a ratio of their own."
    own_held: np.ndarray
    "(L,) bool: the floor keeps channels that a ratio of its own would have removed."
    prunable_channels: int
    "What a ratio of 1 stands for."

    @cached_property
    def max_ratio(self) -> float:
        """Largest ratio at which scores alone, without any floor's help, leave every layer its floor."""
        if self.settings.scope == "uniform":
            bounded = ~self.own & (self.removable < self.units.class_sizes)
            # One unit more than a class may lose is asked for at (removable + 1) / size; stay below that.
            limits = (self.removable[bounded] + 1) / self.units.class_sizes[bounded]
            return float((limits - 1e-6).min(initial=1.0))
        before = self.skips[0].before if self.skips else len(self.order)
        return self.channels_after(before) / self.prunable_channels

    @cached_property
    def limiting_layer(self) -> str:
        """The layer whose floor ends ``max_ratio``; empty where nothing does."""
        if self.settings.scope == "uniform":
            bounded = np.flatnonzero(~self.own & (self.removable < self.units.class_sizes))
            if not len(bounded):
                return ""
            limits = (self.removable[bounded] + 1) / self.units.class_sizes[bounded]
            return self.graph.layers[self.removable_by[bounded[np.argmin(limits)]]].name
        return self.graph.layers[self.skips[0].layer].name if self.skips else ""

    @cached_property
    def ceiling_ratio(self) -> float:
        """Largest ratio at all under these settings."""
        if self.settings.scope == "uniform":
            return self.ratio_of(np.where(self.own, self.own_removed, self.removable))
        return self.ratio_of(self.counts_of_prefix(len(self.order)))

    def channels_after(self, prefix: int) -> int:
        """Return the BatchNorm channels that the first ``prefix`` units of the order and layers' own ratios remove."""
        if prefix:
            return int(self.removed_channels[prefix - 1])
        return int((self.class_channels * self.own_removed).sum())

    def floors_at(self, ratio: float) -> np.ndarray:
        """Return the (L,) layers whose floor forbids a removal that the scores would have made at this ratio."""
        held = self.own_held.copy()
        if self.settings.scope == "uniform":
            wanted = np.floor(ratio * self.units.class_sizes + 1e-9)
            held[self.removable_by[(wanted > self.removable) & ~self.own]] = True
            return held
        prefix = self.prefix_length(ratio)
        for skip in self.skips:
            if skip.before > prefix:
                break
            if skip.before < prefix or self._fits(self.channels_after(prefix) + skip.channels, ratio):
                held[skip.layer] = True
        return held

    def _fits(self, channels: int, ratio: float) -> bool:
        # 0.3 * 10 is 2.9999999999999996; without the epsilon a channel too few would go.
        return channels <= ratio * self.prunable_channels + 1e-9

    @cached_property
    def class_channels(self) -> np.ndarray:
        """(C,) BatchNorm channels of one unit of each class."""
        return np.array([sum(count for _, count in footprint) for footprint in self.units.footprints], dtype=np.int64)

    def prefix_length(self, ratio: float) -> int:
        """Return how many units of the order go at a ratio: the most that do not exceed it."""
        return int(np.searchsorted(self.removed_channels, ratio * self.prunable_channels + 1e-9, side="right"))

    def counts_of_prefix(self, prefix: int) -> np.ndarray:
        """Return the (C,) units removed of each class by the first ``prefix`` units of the order."""
        classes = self.units.classes[self.order[:prefix]]
        return np.bincount(classes, minlength=len(self.own)) + self.own_removed

    def counts_at(self, ratio: float) -> np.ndarray:
        """Return the (C,) units to remove of each class at a ratio, before rounding."""
        if self.settings.scope == "uniform":
            counts = np.floor(ratio * self.units.class_sizes + 1e-9).astype(np.int64)
            return np.where(self.own, self.own_removed, np.minimum(counts, self.removable))
        return self.counts_of_prefix(self.prefix_length(ratio))

    def rounded(self, counts: np.ndarray) -> np.ndarray:
        """Return the (C,) largest removals up to ``counts`` after which widths are multiples of ``round_to``."""
        if self.settings.round_to == 1:
            return counts
        table, starts = self._rounding
        return table[starts + counts]

    def ratio_of(self, counts: np.ndarray) -> float:
        """Return the removed share of prunable channels when ``counts`` units of each class go, after rounding."""
        return float((self.class_channels * self.rounded(counts)).sum() / self.prunable_channels)

    def keep_mask(self, counts: np.ndarray) -> np.ndarray:
        """Return the (G,) keep mask when ``counts`` units of each class go, the lowest scores first."""
        removed = self.rank_in_class >= (self.units.class_sizes - counts)[self.units.classes]
        keep = np.ones(self.graph.group_count, dtype=bool)
        keep[self.units.groups[removed[self.units.owners]]] = False
        return keep

    @cached_property
    def _rounding(self) -> tuple[np.ndarray, np.ndarray]:
        """Lookup of removals that leave widths rounded: (table, start of each class in it).

        ``table[start[c] + n]`` is the largest removal of class c up to n units after which its layers have rounded
        widths.
        """
        step, sizes = self.settings.round_to, self.graph.layer_sizes
        tables = []
        for footprint, size in zip(self.units.footprints, self.units.class_sizes.tolist(), strict=True):
            removals = np.arange(size + 1)
            rounded = np.ones(size + 1, dtype=bool)
            for layer, count in footprint:
                rounded &= (sizes[layer] - removals * count) % step == 0
            rounded[0] = True
            tables.append(np.maximum.accumulate(np.where(rounded, removals, 0)))
        starts = np.concatenate([[0], np.cumsum([len(table) for table in tables])[:-1]]).astype(np.int64)
        return np.concatenate(tables), starts

    @cached_property
    def lasting_bounds(self) -> tuple[tuple[str, ...], ...]:
        """(L,) what shapes each layer at any ratio: own ratio, coupled, equal parts."""
        reasons: list[dict[str, None]] = [{} for _ in self.graph.layers]
        for number, footprint in enumerate(self.units.footprints):
            for index, _ in footprint:
                if self.own[number]:
                    reasons[index]["own ratio"] = None
                if len(footprint) > 1:
                    reasons[index]["coupled"] = None
        pieces = [piece for constraint in self.graph.equal_counts for piece in constraint.pieces]
        equal = np.zeros(self.graph.group_count, dtype=bool)
        equal[np.concatenate([*pieces, np.zeros(0, dtype=np.int64)])] = True
        for known, layer in zip(reasons, self.graph.layers, strict=True):
            if equal[layer.groups].any():
                known["equal parts"] = None
        return tuple(tuple(known) for known in reasons)


def rank(graph: ChannelGraph, scores: np.ndarray, settings: SolverSettings | None = None) -> Ranking:
    """Order everything that may be removed.

    Args:
        graph: Channel graph with G groups and L layers.
        scores: (G,) importance of each group; NaN counts as 0.
        settings: Limits.

    Raises:
        PlanError: Nothing of the model is prunable under these settings, or a named layer does not exist.
    """
    settings = settings or SolverSettings()
    free = np.ones(graph.group_count, dtype=bool)
    free[0] = False
    if settings.protect_residual:
        free &= ~graph.residual
    units = collect_units(graph, np.nan_to_num(scores, nan=0.0, posinf=np.inf), free)
    if not len(units):
        raise PlanError("No channel of this model may be removed with these settings.")
    room = graph.layer_sizes - layer_floors(graph, settings)
    removable, removable_by = _removable(units, room)
    own, own_wanted = _own_ratios(graph, units, settings)
    own_removed = np.minimum(own_wanted, removable)
    own_held = np.zeros(len(room), dtype=bool)
    own_held[removable_by[own_wanted > removable]] = True
    by_score = np.lexsort((np.arange(len(units)), units.scores))
    order, skips = _walk(units, by_score[~own[units.classes[by_score]]], room, own_removed)
    own_channels = sum(
        removed * sum(count for _, count in footprint)
        for footprint, removed in zip(units.footprints, own_removed.tolist(), strict=True)
    )
    return Ranking(
        graph=graph,
        settings=settings,
        units=units,
        order=order,
        removed_channels=own_channels + np.cumsum(units.channels[order]),
        skips=skips,
        rank_in_class=_rank_in_class(units, by_score),
        removable=removable,
        removable_by=removable_by,
        own=own,
        own_removed=own_removed,
        own_held=own_held,
        prunable_channels=int(units.channels.sum()),
    )


def layer_floors(graph: ChannelGraph, settings: SolverSettings) -> np.ndarray:
    """Return the (L,) channels that each layer keeps at least."""
    shares = np.ceil(graph.layer_sizes * settings.floor_share - 1e-9).astype(np.int64)
    return np.minimum(graph.layer_sizes, np.maximum(shares, settings.floor))


def _removable(units: Units, room: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (C,) units that may go when every class shrinks, and the (C,) layers that decide.

    Classes that share a layer share its room in proportion to their size.
    """
    wanted = np.zeros(len(room), dtype=np.int64)
    for footprint, size in zip(units.footprints, units.class_sizes.tolist(), strict=True):
        for layer, count in footprint:
            wanted[layer] += size * count
    removable, by = [], []
    for footprint, size in zip(units.footprints, units.class_sizes.tolist(), strict=True):
        shares = {
            layer: size * min(int(room[layer]), int(wanted[layer])) // int(wanted[layer]) for layer, _ in footprint
        }
        by.append(min(shares, key=shares.__getitem__))
        removable.append(shares[by[-1]])
    return np.array(removable, dtype=np.int64), np.array(by, dtype=np.int64)


def _own_ratios(graph: ChannelGraph, units: Units, settings: SolverSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return which classes have a ratio of their own, and how many of their units it asks to remove.

    Layers that are tied together share one width, so the smallest ratio that one of them asks for holds for all.
    """
    names = {layer.name: index for index, layer in enumerate(graph.layers)}
    for name, _ in settings.layer_ratios:
        if name not in names:
            raise PlanError(f"There is no BatchNorm layer {name!r}; 'python -m engine inspect' lists the layers.")
    wanted = {names[name]: ratio for name, ratio in settings.layer_ratios}
    own = np.zeros(len(units.class_sizes), dtype=bool)
    removed = np.zeros(len(units.class_sizes), dtype=np.int64)
    for number, footprint in enumerate(units.footprints):
        ratios = [wanted[layer] for layer, _ in footprint if layer in wanted]
        if ratios:
            own[number] = True
            removed[number] = int(min(ratios) * units.class_sizes[number] + 1e-9)
    return own, removed


def _walk(
    units: Units, by_score: np.ndarray, room: np.ndarray, own_removed: np.ndarray
) -> tuple[np.ndarray, tuple[Skip, ...]]:
    """Remove units in order, skipping those that a floor forbids; return the order and the skips."""
    left = room.tolist()
    for footprint, count in zip(units.footprints, own_removed.tolist(), strict=True):
        for layer, channels in footprint:
            left[layer] -= count * channels
    classes = units.classes.tolist()
    order: list[int] = []
    skips: list[Skip] = []
    for unit in by_score.tolist():
        footprint = units.footprints[classes[unit]]
        blocking = next((layer for layer, count in footprint if count > left[layer]), None)
        if blocking is None:
            for layer, count in footprint:
                left[layer] -= count
            order.append(unit)
        else:
            skips.append(Skip(len(order), blocking, sum(count for _, count in footprint)))
    return np.array(order, dtype=np.int64), tuple(skips)


def _rank_in_class(units: Units, by_score: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(units), dtype=np.int64)
    seen = [0] * len(units.class_sizes)
    for unit, number in zip(by_score[::-1].tolist(), units.classes[by_score[::-1]].tolist(), strict=True):
        ranks[unit] = seen[number]
        seen[number] += 1
    return ranks
