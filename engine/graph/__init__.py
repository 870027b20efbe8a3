"""The channel graph: traced, not typed in."""

from engine.graph.build import meta_copy, trace
from engine.graph.structure import AttributeUpdate, ChannelGraph, EqualCount, Layer, Product

__all__ = ["AttributeUpdate", "ChannelGraph", "EqualCount", "Layer", "Product", "meta_copy", "trace"]
