"""What a plan costs: parameters and FLOPs, exactly as Ultralytics will report them for the pruned model.

Parameters are elements of ``model.parameters()``. FLOPs follow Ultralytics' own count: it lets thop count
multiply-adds of the unfused model at the given image size and reports ``2 * multiply-adds / 1e9`` as GFLOPs. The
model is counted once, layer by layer; every count is a product of channel numbers, so any plan follows by arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import thop
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from engine.base.errors import PlanError
from engine.base.imgsz import model_stride
from engine.checkpoints.inputs import image_channels, meta_copy, meta_result
from engine.pruning.graph import ChannelGraph
from engine.pruning.graph.structure import RaggedRows


@dataclass(frozen=True)
class Cost:
    """Size of a model."""

    params: int
    gflops: float
    "At the image size of the cost model, unfused, one image."
    latency_ms: float | None = None
    "One image in ONNX Runtime on this machine's processor, with nothing else running; None where nothing predicts it."


class Costs(Protocol):
    """What a budget is counted by: ``CostModel``, or one that predicts latency as well."""

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


class CostModel:
    """Cost of any plan for one model at one image size.

    Args:
        graph: The model's channel graph.
        model: The model itself; it is neither run nor changed.
        imgsz: Image size in pixels, one number or (height, width).

    Raises:
        PlanError: The model does not run at that image size.
    """

    def __init__(self, graph: ChannelGraph, model: nn.Module, imgsz: int | tuple[int, int] = 640) -> None:
        self.imgsz = imgsz
        self._axes, self._group_count = graph.axes, graph.group_count
        self._rows = RaggedRows(graph.axes)
        self._params = _Terms.of(_parameter_terms(graph, model))
        self._operations = _Terms.of(_operation_terms(graph, model, imgsz))
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


def _parameter_terms(graph: ChannelGraph, model: nn.Module) -> list[tuple[int, int, int]]:
    terms = []
    for name, parameter in model.named_parameters():
        axes = [axis for axis in graph.tensor_axes.get(name, ()) if axis >= 0]
        terms.append(_term(graph, parameter.numel(), axes))
    return terms


def _term(graph: ChannelGraph, amount: int, axes: list[int]) -> tuple[int, int, int]:
    """Return an amount, counted on the whole model, as coefficient times at most two channel counts."""
    coefficient, rest = divmod(amount, prod(len(graph.axes[axis]) for axis in axes))
    if rest or len(axes) > 2:
        raise AssertionError(f"{amount} is not a multiple of its {len(axes)} channel counts")
    first, second = [*axes, -1, -1][:2]
    return coefficient, first, second


def _operation_terms(graph: ChannelGraph, model: nn.Module, imgsz: int | tuple[int, int]) -> list[tuple[int, int, int]]:
    height, width = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    total, by_module, products = count_operations(model, height, width)
    terms = []
    for name, operations in by_module.items():
        axes = [axis for axis in graph.tensor_axes.get(f"{name}.weight", ()) if axis >= 0]
        if not axes and name in graph.module_axes:
            axes = [graph.module_axes[name]]
        terms.append(_term(graph, operations, axes))
    if len(products) != len(graph.products):
        if any(product.axes for product in graph.products):
            raise PlanError(f"This model computes differently at {height}x{width} pixels; choose another image size.")
        products = []  # none of them depends on the plan, so they are part of the constant below
    else:
        for product, operations in zip(graph.products, products, strict=True):
            terms.append(_term(graph, operations, list(product.axes)))
    terms.append((total - sum(by_module.values()) - sum(products), -1, -1))
    return terms


def count_operations(model: nn.Module, height: int, width: int) -> tuple[int, dict[str, int], list[int]]:
    """Count multiply-adds with thop, as Ultralytics does, on a copy without memory.

    Returns:
        The total; module name -> its own operations (without its children's), for those that have any; and the
        operations of the matrix products that run outside modules, in the order of a forward pass.

    Raises:
        PlanError: The model does not run at that image size.
    """
    if min(height, width) < 1:
        raise PlanError(f"There are no images of {height}x{width} pixels; choose a multiple of 32.")
    twin = meta_copy(model).eval()
    image = torch.empty(1, image_channels(twin), height, width, device="meta")
    counter = _ProductCounter()
    try:
        with counter:
            total, _, tree = thop.profile(twin, inputs=[image], verbose=False, ret_layer_info=True)
    except Exception as error:
        stride = model_stride(model)
        other = f"a multiple of {stride}" if height % stride or width % stride else "another size"
        raise PlanError(
            f"The model does not run at {height}x{width} pixels ({type(error).__name__}); choose {other}."
        ) from error
    by_module: dict[str, int] = {}
    _own_operations(tree, "", by_module)
    return int(total), by_module, counter.operations


def _own_operations(tree: dict, prefix: str, found: dict[str, int]) -> None:
    for name, (operations, _params, children) in tree.items():
        own = int(operations) - sum(int(child[0]) for child in children.values())
        if own:
            found[prefix + name] = own
        _own_operations(children, f"{prefix}{name}.", found)


class _ProductCounter(TorchFunctionMode):
    """Lists output elements times contracted length of every matrix product, as thop counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[int] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        output = meta_result(func, args, kwargs or {})
        if getattr(func, "__name__", "").strip("_") in {"matmul", "bmm"}:
            self.operations.append(output.numel() * args[0].shape[-1])
        return output
