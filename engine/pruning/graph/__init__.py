"""The channel graph: traced, not typed in."""

from engine.profile.graph import AttributeUpdate, ChannelGraph, EqualCount, Layer, Product
from engine.pruning.graph.build import trace

__all__ = ["AttributeUpdate", "ChannelGraph", "EqualCount", "Layer", "Product", "trace"]
