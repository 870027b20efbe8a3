"""The channel graph: traced, not typed in."""

from engine.graph.build import trace
from engine.graph.inputs import image_channels, meta_copy
from engine.graph.structure import AttributeUpdate, ChannelGraph, EqualCount, Layer, Product

__all__ = ["AttributeUpdate", "ChannelGraph", "EqualCount", "Layer", "Product", "image_channels", "meta_copy", "trace"]
