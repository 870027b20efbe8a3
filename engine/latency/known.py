"""What a table of this machine predicts of a model already."""

from __future__ import annotations

from engine.base.imgsz import ImageSize
from engine.latency.costs import LatencyCosts, ModelParts
from engine.latency.layers import convolutions
from engine.latency.table import LatencyTable
from engine.pruning.planning import Planner


def known_costs(opened: Planner, imgsz: ImageSize, table: LatencyTable) -> LatencyCosts | None:
    """Return the cost model that predicts latency from what a table holds already; measures nothing.

    Returns:
        None where something would have to be measured first.

    Raises:
        PlanError: the model does not run at that image size.
    """
    costs, parts = opened.cost_model(imgsz), table.known_parts(opened.digest, imgsz)
    if parts is None:
        return None
    layers = convolutions(opened.graph, opened.convolutions(imgsz))
    if not table.holds(layers):
        return None
    return LatencyCosts(costs, opened.graph, layers, ModelParts(**parts), table)
