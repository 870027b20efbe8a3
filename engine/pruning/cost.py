"""What a plan of an opened model costs, see ``engine.profile.cost``."""

from __future__ import annotations

from torch import nn

from engine.base.imgsz import ImageSize
from engine.profile.cost import GraphCosts
from engine.profile.counting import count_operations, count_parameters
from engine.profile.graph import ChannelGraph


class CostModel(GraphCosts):
    """Cost of any plan for one model at one image size.

    Args:
        graph: The model's channel graph.
        model: The model itself; it is neither run nor changed.
        imgsz: Image size in pixels, one number or (height, width).

    Raises:
        PlanError: The model does not run at that image size.
    """

    def __init__(self, graph: ChannelGraph, model: nn.Module, imgsz: ImageSize = 640) -> None:
        super().__init__(graph, count_parameters(model), count_operations(model, imgsz), imgsz)
