"""Predicted latency of any plan, beside its parameters and FLOPs.

``latency = anchor * sum of table times + moving * share of values left + rest``. The table times single convolutions at
the widths of the plan. The whole model, measured once, anchors them: how much longer its convolutions take between
their neighbours than alone, what moves data (in proportion to the channels that are left) and what no plan changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.base.recent import Recent
from engine.latency.grid import grid_points, predict
from engine.latency.layers import TimedConvolution
from engine.latency.table import LatencyTable
from engine.profile.cost import Cost, GraphCosts
from engine.profile.graph import ChannelGraph, RaggedRows

_WIDTHS_KEPT = 512
"Of each convolution; a curve meets about a hundred."


@dataclass(frozen=True)
class ModelParts:
    """The time of a whole model before pruning, in milliseconds."""

    convolutions: float
    "With their activations."
    moving: float
    "Concatenation, splits, additions, pooling, rearranging: in proportion to the values that are moved."
    rest: float
    "Decoding the outputs, and what a run costs by itself."

    @property
    def total(self) -> float:
        """One image."""
        return self.convolutions + self.moving + self.rest


class LatencyCosts:
    """A cost model that also predicts latency; stands in for ``GraphCosts`` where a budget is solved. Measures nothing.

    Args:
        costs: parameters and FLOPs of the same model.
        graph: the model's channel graph.
        layers: the model's convolutions at the image size that latency is predicted at.
        parts: the time of the whole model.
        table: of this machine; holds these convolutions.
    """

    def __init__(
        self,
        costs: GraphCosts,
        graph: ChannelGraph,
        layers: Sequence[TimedConvolution],
        parts: ModelParts,
        table: LatencyTable,
    ) -> None:
        self.plain, self.parts, self.threads = costs, parts, table.threads
        self._rows = RaggedRows(graph.axes)
        self._predicted = [_Prediction(layer, table) for layer in layers]
        self._layers = layers
        widths = [(layer.inputs, layer.outputs) for layer in layers]
        # How much longer convolutions take between their neighbours than alone.
        self.anchor = parts.convolutions / self._table_ms(widths)
        self._values = _values(layers, widths)
        whole = np.ones(graph.group_count, dtype=bool)
        self.before, self.whole_ms = self.cost(whole), self.latency_ms(whole)

    def cost(self, keep: np.ndarray) -> Cost:
        """Return the cost for a (G,) keep mask, with its latency."""
        return replace(self.plain.cost(keep), latency_ms=self.latency_ms(keep))

    def marginal_params(self) -> np.ndarray:
        """Return the (G,) parameters that removing each group alone saves, to first order."""
        return self.plain.marginal_params()

    def marginal_operations(self) -> np.ndarray:
        """Return the (G,) multiply-adds that removing each group alone saves, to first order."""
        return self.plain.marginal_operations()

    def latency_ms(self, keep: np.ndarray) -> float:
        """Return the predicted milliseconds of one image for a (G,) keep mask."""
        counts = self._rows.count(keep).tolist()
        widths = [
            (
                layer.inputs if layer.input_axis < 0 else counts[layer.input_axis],
                layer.outputs if layer.output_axis < 0 else counts[layer.output_axis],
            )
            for layer in self._layers
        ]
        share = _values(self._layers, widths) / self._values
        return self.anchor * self._table_ms(widths) + self.parts.moving * share + self.parts.rest

    def _table_ms(self, widths: Sequence[tuple[int, int]]) -> float:
        return sum(predicted.ms(*width) for predicted, width in zip(self._predicted, widths, strict=True))


class _Prediction:
    """The time of one convolution at any width; kept, because a slider and a bisection meet the same widths again."""

    def __init__(self, layer: TimedConvolution, table: LatencyTable) -> None:
        self._layer = layer
        self._points = {point: table.convolution_ms(layer.shape, *point) for point in grid_points(layer)}
        self._known: Recent[tuple[int, int], float] = Recent(_WIDTHS_KEPT)

    def ms(self, inputs: int, outputs: int) -> float:
        """Return the milliseconds of all its calls in a pass."""
        return self._known.get((inputs, outputs), lambda: self._predicted_ms(inputs, outputs))

    def _predicted_ms(self, inputs: int, outputs: int) -> float:
        return self._layer.calls * predict(self._layer, inputs, outputs, lambda *point: self._points[point])


def _values(layers: Sequence[TimedConvolution], widths: Sequence[tuple[int, int]]) -> int:
    """Return how many values the convolutions read, as a measure of what is moved between them."""
    return sum(
        layer.calls * inputs * layer.shape.height * layer.shape.width
        for layer, (inputs, _) in zip(layers, widths, strict=True)
    )
