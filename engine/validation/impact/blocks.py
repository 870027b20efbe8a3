"""Blocks: the groups of layers whose sensitivity is measured.

A block is a top-level module of the model (``model.4``, a C2f, say). That makes 15 to 25 rows for every model that
Ultralytics ships, numbered as its YAML file and every chart here number them. The solver's own classes are three
times as many, and most of them are halves of one block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.profile.graph import ChannelGraph
from engine.pruning.solver import Ranking


@dataclass(frozen=True)
class Block:
    """One block of a model."""

    name: str
    "Such as model.4."
    units: np.ndarray
    "Unit indices of the ranking, in the order of removal, without those that a floor forbids."
    channels: int
    "BatchNorm channels of all its units: what a share of 1 stands for."


def block_of(layer: str) -> str:
    """Return the block that a layer belongs to: 'model.4.m.0.cv1.bn' -> 'model.4'."""
    parts = layer.split(".")
    end = next((index for index, part in enumerate(parts) if part.isdigit()), 0)
    return ".".join(parts[: end + 1])


def blocks_of(ranking: Ranking) -> list[Block]:
    """Return the blocks that have anything to remove, by depth. A unit tied across blocks belongs to the first."""
    names = _unit_blocks(ranking.graph, ranking)
    ordered = np.array([names[number] for number in ranking.units.classes[ranking.order]])
    every = np.array([names[number] for number in ranking.units.classes])
    depth = list(dict.fromkeys(block_of(layer.name) for layer in ranking.graph.layers))
    return [
        Block(name, ranking.order[ordered == name], int(ranking.units.channels[every == name].sum()))
        for name in depth
        if (every == name).any()
    ]


def cut_block(ranking: Ranking, block: Block, share: float) -> np.ndarray | None:
    """Return the (G,) keep mask that removes a share of one block alone, None where floors forbid so much."""
    removed = np.cumsum(ranking.units.channels[block.units])
    wanted = share * block.channels + 1e-9
    prefix = int(np.searchsorted(removed, wanted, side="right"))
    # Units come in pieces, so the share is met to the next piece; falling short by more is a floor's doing.
    if prefix == 0 or (prefix == len(removed) and removed[-1] + ranking.units.channels[block.units].max() <= wanted):
        return None
    counts = np.bincount(ranking.units.classes[block.units[:prefix]], minlength=len(ranking.units.class_sizes))
    return ranking.keep_mask(counts)


def _unit_blocks(graph: ChannelGraph, ranking: Ranking) -> list[str]:
    """Return for each class of units the block of the first layer that it takes channels from."""
    return [block_of(graph.layers[footprint[0][0]].name) for footprint in ranking.units.footprints]
