"""Small hand-made networks for tests: stock layers, and a forward pass that is written where it is tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from ultralytics.nn.modules import Conv

from engine.pruning.graph import ChannelGraph, trace
from tests.models import check_every_plan, image, randomise


class Net(nn.Module):
    """Named modules, wired by a function of the network and its input."""

    def __init__(self, flow: Callable[[Any, Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.flow = flow
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Any:
        """Run the flow."""
        return self.flow(self, x)


def block(channels_in: int, channels_out: int, kernel: int = 3, **options: Any) -> Conv:
    """Return convolution, BatchNorm and SiLU: Ultralytics' own block. The BatchNorm is called ``bn``."""
    return Conv(channels_in, channels_out, kernel, **options)


def head(channels_in: int, channels_out: int = 5) -> nn.Conv2d:
    """Return a plain convolution with a bias that makes the output."""
    return nn.Conv2d(channels_in, channels_out, 1)


def net(flow: Callable[[Any, Tensor], Any], **modules: nn.Module) -> Net:
    """Return a randomised network in evaluation mode."""
    return randomise(Net(flow, **modules)).eval()


def traced(model: nn.Module, height: int = 16, width: int = 24) -> ChannelGraph:
    """Trace a model and hold pruned against masked for plans of every strength."""
    graph = trace(model)
    check_every_plan(model, graph, image(model, height, width, batch=2))
    return graph


def prunable(graph: ChannelGraph) -> dict[str, int]:
    """Return layer name (without ``.bn``) -> channels that a plan may remove."""
    return {layer.name.removesuffix(".bn"): layer.prunable_channels for layer in graph.layers}


def reason(graph: ChannelGraph, name: str) -> str:
    """Return why channels of a layer are always kept."""
    return next(layer.reason for layer in graph.layers if layer.name.removesuffix(".bn") == name)
