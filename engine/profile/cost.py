"""What a plan costs: parameters and FLOPs, exactly as Ultralytics will report them for the pruned model.

Parameters are elements of ``model.parameters()``. FLOPs follow Ultralytics' own count: it lets thop count
multiply-adds of the unfused model at the given image size and reports ``2 * multiply-adds / 1e9`` as GFLOPs. The
model is counted once, layer by layer (``engine.profile.counting``); every count is a product of channel numbers, so any
plan follows by arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from engine.base.errors import PlanError
from engine.base.imgsz import ImageSize, height_width
from engine.profile.graph import ChannelGraph, RaggedRows


@dataclass(frozen=True)
class Cost:
    """Size of a model."""

    params: int
    gflops: float
    "At the image size of the cost model, unfused, one image."
    latency_ms: float | None = None
    "One image in ONNX Runtime on this machine's processor, with nothing else running; None where nothing predicts it."


@dataclass(frozen=True)
class Operations:
    """Multiply-adds of a whole model at one image size, as thop counts them."""

    total: int
    by_module: Mapping[str, int]
    "Module name -> its own, without its children's, for those that have any."
    products: tuple[int, ...]
    "Of the matrix products that run outside modules, in the order of a forward pass."

    @property
    def gflops(self) -> float:
        """The same as Ultralytics tells it."""
        return self.total / 1e9 * 2


class Costs(Protocol):
    """What a budget is counted by: ``GraphCosts``, or one that predicts latency as well."""

    before: Cost
    "Of the whole model."

    def cost(self, keep: np.ndarray) -> Cost:
        """Return the cost for a (G,) keep mask."""

    def marginal_params(self) -> np.ndarray:
        """Return the (G,) parameters that removing each group alone saves, to first order."""

    def marginal_operations(self) -> np.ndarray:
        """Return the (G,) multiply-adds that removing each group alone saves, to first order."""


@dataclass(frozen=True)
class _Terms:
    """Sum over terms of ``coefficient * kept(axis_a) * kept(axis_b)``; axis index -1 reads a constant 1."""

    coefficients: np.ndarray
    axes_a: np.ndarray
    axes_b: np.ndarray

    @staticmethod
    def of(terms: list[tuple[int, int, int]]) -> _Terms:
        columns = np.array(terms, dtype=np.int64).reshape(-1, 3)
        return _Terms(columns[:, 0], columns[:, 1], columns[:, 2])

    def slopes(self, counts: np.ndarray) -> np.ndarray:
        """Return the (axes,) change of the sum for one channel more along each axis."""
        slopes = np.zeros(len(counts), dtype=np.int64)
        np.add.at(slopes, self.axes_a, self.coefficients * counts[self.axes_b])
        np.add.at(slopes, self.axes_b, self.coefficients * counts[self.axes_a])
        return slopes[:-1]

    def total(self, counts: np.ndarray) -> int:
        """Return the sum for (axes + 1,) counts whose last entry is 1."""
        return int((self.coefficients * counts[self.axes_a] * counts[self.axes_b]).sum())


class GraphCosts:
    """Cost of any plan for one model at one image size, from what was counted on the whole model.

    Args:
        graph: The model's channel graph.
        parameters: Name -> elements of every parameter.
        operations: Of the whole model at the image size.
        imgsz: Image size in pixels, one number or (height, width).

    Raises:
        PlanError: The model computes something else at that image size than where it was traced.
    """

    def __init__(
        self, graph: ChannelGraph, parameters: Mapping[str, int], operations: Operations, imgsz: ImageSize
    ) -> None:
        self.imgsz = imgsz
        self._axes, self._group_count = graph.axes, graph.group_count
        self._rows = RaggedRows(graph.axes)
        self._params = _Terms.of([_term(graph, count, _cut_axes(graph, name)) for name, count in parameters.items()])
        self._operations = _Terms.of(_operation_terms(graph, operations, imgsz))
        self.before = self.cost(np.ones(graph.group_count, dtype=bool))

    def cost(self, keep: np.ndarray) -> Cost:
        """Return the cost for a (G,) keep mask."""
        counts = np.append(self._rows.count(keep), 1)
        return Cost(self._params.total(counts), self._operations.total(counts) / 1e9 * 2)

    def marginal_operations(self) -> np.ndarray:
        """Return the (G,) multiply-adds that removing each group alone saves, to first order."""
        return self._marginal(self._operations)

    def marginal_params(self) -> np.ndarray:
        """Return the (G,) parameters that removing each group alone saves, to first order."""
        return self._marginal(self._params)

    def _marginal(self, terms: _Terms) -> np.ndarray:
        counts = np.append(self._rows.count(np.ones(self._group_count, dtype=bool)), 1)
        saved = np.zeros(self._group_count, dtype=np.int64)
        for groups, slope in zip(self._axes, terms.slopes(counts), strict=True):
            np.add.at(saved, groups, slope)
        return saved


def _cut_axes(graph: ChannelGraph, tensor: str) -> list[int]:
    return [axis for axis in graph.tensor_axes.get(tensor, ()) if axis >= 0]


def _term(graph: ChannelGraph, amount: int, axes: Sequence[int]) -> tuple[int, int, int]:
    """Return an amount, counted on the whole model, as coefficient times at most two channel counts."""
    coefficient, rest = divmod(amount, prod(len(graph.axes[axis]) for axis in axes))
    if rest or len(axes) > 2:
        raise AssertionError(f"{amount} is not a multiple of its {len(axes)} channel counts")
    first, second = [*axes, -1, -1][:2]
    return coefficient, first, second


def _operation_terms(graph: ChannelGraph, counted: Operations, imgsz: ImageSize) -> list[tuple[int, int, int]]:
    terms = []
    for name, operations in counted.by_module.items():
        axes = _cut_axes(graph, f"{name}.weight")
        if not axes and name in graph.module_axes:
            axes = [graph.module_axes[name]]
        terms.append(_term(graph, operations, axes))
    products = counted.products
    if len(products) != len(graph.products):
        if any(product.axes for product in graph.products):
            height, width = height_width(imgsz)
            raise PlanError(f"This model computes differently at {height}x{width} pixels; choose another image size.")
        products = ()  # none of them depends on the plan, so they are part of the constant below
    else:
        for product, operations in zip(graph.products, products, strict=True):
            terms.append(_term(graph, operations, product.axes))
    terms.append((counted.total - sum(counted.by_module.values()) - sum(products), -1, -1))
    return terms
