"""The channel graph: traced, not typed in."""

from engine.pruning.graph.build import trace
from engine.pruning.graph.structure import AttributeUpdate, ChannelGraph, EqualCount, Layer, Product

__all__ = ["AttributeUpdate", "ChannelGraph", "EqualCount", "Layer", "Product", "trace"]
