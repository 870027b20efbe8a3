"""Predicted latency of any plan, beside its parameters and FLOPs.

``latency = anchor * sum of table times + moving * share of values left + rest``. The table times single convolutions at
the widths of the plan. The whole model, measured once, anchors them: how much longer its convolutions take between
their neighbours than alone, what moves data (in proportion to the channels that are left) and what no plan changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from torch import nn

from engine.cost import Cost, CostModel
from engine.graph import ChannelGraph
from engine.graph.structure import RaggedRows
from engine.latency.grid import predict
from engine.latency.layers import TimedConvolution, convolutions
from engine.latency.table import LatencyTable

Reporter = Callable[[dict], None]


@dataclass(frozen=True)
class TimedCost(Cost):
    """Size of a model, and its time."""

    latency_ms: float
    "One image in ONNX Runtime on this machine's processor, with nothing else running."


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
    """A cost model that also predicts latency; stands in for ``CostModel`` where a budget is solved.

    Args:
        costs: parameters and FLOPs of the same model.
        graph: the model's channel graph.
        model: the model itself; it is neither run nor changed.
        imgsz: image size in pixels that latency is predicted at.
        table: of this machine.
        digest: of the checkpoint, under which its own time is kept.
        measure_parts: measures the whole model; called where the table does not know it yet.
        report: receives ``status`` events while something is measured.
    """

    def __init__(
        self,
        costs: CostModel,
        graph: ChannelGraph,
        model: nn.Module,
        imgsz: int,
        table: LatencyTable,
        digest: str,
        measure_parts: Callable[[], ModelParts],
        report: Reporter = lambda event: None,
    ) -> None:
        self._costs, self._rows, self._table = costs, RaggedRows(graph.axes), table
        self._layers = convolutions(graph, model, imgsz)
        table.prepare(self._layers, report)
        parts = table.model_parts(f"model {digest} {imgsz}", lambda: asdict(measure_parts()))
        self.parts = ModelParts(**parts)
        widths = [(layer.inputs, layer.outputs) for layer in self._layers]
        # How much longer convolutions take between their neighbours than alone.
        self.anchor = self.parts.convolutions / self._table_ms(widths)
        self._values = _values(self._layers, widths)
        self.before = self.cost(np.ones(graph.group_count, dtype=bool))

    def cost(self, keep: np.ndarray) -> TimedCost:
        """Return the cost for a (G,) keep mask."""
        return TimedCost(**asdict(self._costs.cost(keep)), latency_ms=self.latency_ms(keep))

    def latency_ms(self, keep: np.ndarray) -> float:
        """Return the predicted milliseconds of one image for a (G,) keep mask."""
        counts = self._rows.count(keep)
        widths = [
            (
                layer.inputs if layer.input_axis < 0 else int(counts[layer.input_axis]),
                layer.outputs if layer.output_axis < 0 else int(counts[layer.output_axis]),
            )
            for layer in self._layers
        ]
        share = _values(self._layers, widths) / self._values
        return self.anchor * self._table_ms(widths) + self.parts.moving * share + self.parts.rest

    def _table_ms(self, widths: list[tuple[int, int]]) -> float:
        return sum(
            layer.calls
            * predict(layer, *width, lambda inputs, outputs, shape=layer.shape: self._lookup(shape, inputs, outputs))
            for layer, width in zip(self._layers, widths, strict=True)
        )

    def _lookup(self, shape, inputs: int, outputs: int) -> float:
        return self._table.convolution_ms(shape, inputs, outputs)


def _values(layers: list[TimedConvolution], widths: list[tuple[int, int]]) -> int:
    """Return how many values the convolutions read, as a measure of what is moved between them."""
    return sum(
        layer.calls * inputs * layer.shape.height * layer.shape.width
        for layer, (inputs, _) in zip(layers, widths, strict=True)
    )
