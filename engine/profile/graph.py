"""The channel graph: plain arrays that a trace leaves behind, and that solver, cost and surgery read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


class RaggedRows:
    """Rows of group ids of different lengths, of which the kept ones are counted in one step."""

    def __init__(self, rows: Sequence[np.ndarray]) -> None:
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        self._groups = np.concatenate([*rows, np.zeros(0, dtype=np.int64)])
        self._starts = np.concatenate([[0], np.cumsum(lengths)])

    def count(self, keep: np.ndarray) -> np.ndarray:
        """Return (rows,) int64: how many entries of each row a (G,) keep mask keeps."""
        totals = np.concatenate([[0], np.cumsum(keep[self._groups], dtype=np.int64)])
        return totals[self._starts[1:]] - totals[self._starts[:-1]]


@dataclass(frozen=True)
class Layer:
    """One BatchNorm layer, the unit in which channels are shown and counted."""

    name: str
    "Name of the BatchNorm module inside the model, for example ``model.2.cv1.bn``."
    groups: np.ndarray
    "(C,) channel group of every channel; 0 means always kept."
    reason: str
    "Why some or all of its channels are always kept; empty when every channel is prunable."

    @property
    def channels(self) -> int:
        """Number of channels before pruning."""
        return len(self.groups)

    @property
    def prunable_channels(self) -> int:
        """Number of channels that a plan may remove."""
        return int(np.count_nonzero(self.groups))


@dataclass(frozen=True)
class EqualCount:
    """Several pieces of channels of which the same number must survive, because code cuts them by position.

    For every channel that one ``piece`` keeps, each other piece keeps ``multiplicity`` of its own (two halves of a
    ``chunk``: 1 and 1; an attention input against the value of one of its ``h`` heads: ``h`` and 1).
    """

    pieces: tuple[np.ndarray, ...]
    "Each (n,) group ids, all different, none 0."
    multiplicities: tuple[int, ...]
    "How many channels of the piece go together; ``len(piece) / multiplicity`` is the same for all pieces."
    reason: str


@dataclass(frozen=True)
class AttributeUpdate:
    """An integer attribute of a module that its forward reads and that must follow a channel count."""

    module: str
    attribute: str
    axis: int
    "Index into ``ChannelGraph.axes``."


@dataclass(frozen=True)
class Product:
    """A matrix product outside any counted module: the axes that its operation count is proportional to."""

    module: str
    axes: tuple[int, ...]


@dataclass(frozen=True)
class ChannelGraph:
    """Every channel of a model, which of them live or die together, and where each of them is stored.

    Group 0 stands for all channels that are always kept. Groups 1 .. ``group_count - 1`` may be removed.
    """

    group_count: int
    layers: tuple[Layer, ...]
    "BatchNorm layers in the order in which a forward pass meets them."
    residual: np.ndarray
    "(G,) bool: the group was tied together by an elementwise add (a residual connection)."
    equal_counts: tuple[EqualCount, ...]
    axes: tuple[np.ndarray, ...]
    "Each (n,) group ids: the channels along one dimension of some tensor."
    tensor_axes: dict[str, tuple[int, ...]]
    "Parameter or buffer name -> for each dimension the index of its axis, or -1 where nothing is cut."
    module_axes: dict[str, int]
    "Module name -> axis of its input channels, for modules whose cost follows their input."
    attributes: tuple[AttributeUpdate, ...]
    products: tuple[Product, ...]
    normalised: dict[str, str] = field(default_factory=dict)
    "Convolution or linear layer -> the BatchNorm that reads its output directly."
    notes: tuple[str, ...] = field(default=())

    @property
    def prunable_channels(self) -> int:
        """Number of BatchNorm channels that a plan may remove: what a ratio of 1 would stand for."""
        return sum(layer.prunable_channels for layer in self.layers)

    @property
    def total_channels(self) -> int:
        """Number of BatchNorm channels of the model."""
        return sum(layer.channels for layer in self.layers)

    @cached_property
    def layer_sizes(self) -> np.ndarray:
        """(L,) channels of each layer before pruning."""
        return np.array([layer.channels for layer in self.layers], dtype=np.int64)

    @cached_property
    def _layer_rows(self) -> RaggedRows:
        return RaggedRows([layer.groups for layer in self.layers])

    def kept_channels(self, keep: np.ndarray) -> np.ndarray:
        """Return the (L,) surviving channels of each layer for a (G,) keep mask."""
        return self._layer_rows.count(keep)
