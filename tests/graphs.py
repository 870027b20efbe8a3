"""Channel graphs for tests: hand-made or drawn at random, with only what the solver reads filled in."""

from __future__ import annotations

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from engine.pruning.graph import ChannelGraph, EqualCount, Layer


def make_graph(layers: list[list[int]], residual: set[int] = frozenset(), equal: list[EqualCount] = ()) -> ChannelGraph:
    """Return a graph of layers given as lists of group ids; only what the solver reads is filled in."""
    count = 1 + max((group for layer in layers for group in layer), default=0)
    return ChannelGraph(
        group_count=count,
        layers=tuple(Layer(f"layer{i}.bn", np.array(groups), "") for i, groups in enumerate(layers)),
        residual=np.isin(np.arange(count), list(residual)),
        equal_counts=tuple(equal),
        axes=(), tensor_axes={}, module_axes={}, attributes=(), products=(),
    )  # fmt: skip


@st.composite
def graphs(draw, widest: int = 12):
    """Draw layers that have groups of their own, share some with others, and hold some that are always kept."""
    layers: list[list[int]] = []
    equal, residual, following = [], set(), 1
    for _ in range(draw(st.integers(1, 6))):
        fresh = list(range(following, following + draw(st.integers(0, widest))))
        following += len(fresh)
        if len(fresh) >= 4 and draw(st.booleans()):
            equal.append(_equal_count(draw, fresh))
        earlier = draw(st.sampled_from(layers)) if layers and draw(st.booleans()) else []
        residual |= set(earlier) - {0}
        repeated = fresh[: draw(st.integers(0, 2))]  # a depthwise convolution that widens holds a group twice
        layers.append([*fresh, *earlier, *repeated, *[0] * draw(st.integers(0, 3))])
    assume(following > 1)
    layers = [layer for layer in layers if layer]
    return make_graph(layers, residual, equal)


def _equal_count(draw, groups: list[int]) -> EqualCount:
    """Cut groups into two halves of 1 and 1, or into a piece of which two go with each one of the other."""
    if len(groups) >= 6 and draw(st.booleans()):
        third = len(groups) // 3
        pieces, multiplicities = (groups[: 2 * third], groups[2 * third : 3 * third]), (2, 1)
    else:
        half = len(groups) // 2
        pieces, multiplicities = (groups[:half], groups[half : 2 * half]), (1, 1)
    return EqualCount(tuple(np.array(piece) for piece in pieces), multiplicities, "cut by position")


def scores_for(graph: ChannelGraph, seed: int) -> np.ndarray:
    """Return (G,) random scores with ties, zeros and a few NaN."""
    random = np.random.default_rng(seed)
    scores = np.round(random.random(graph.group_count), int(random.integers(0, 4)))
    scores[random.random(graph.group_count) < 0.1] = np.nan
    scores[0] = np.inf
    return scores
