"""The convolutions of a model as things to time: what a pass at one image size asks of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.base.imgsz import ImageSize, height_width
from engine.checkpoints.inputs import image_channels, meta_copy
from engine.pruning.graph import ChannelGraph

WITH_ACTIVATION = "silu"


@dataclass(frozen=True)
class ConvolutionShape:
    """What decides the time of a convolution besides its channels."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    "0 where there are as many groups as channels (depthwise)."
    activation: str
    "silu, or empty."
    height: int
    "Of the input, in pixels of the feature map."
    width: int

    @property
    def key(self) -> str:
        """Return a text that names the shape in files."""
        numbers = [*self.kernel, *self.stride, *self.padding, *self.dilation, self.groups]
        return f"conv {' '.join(map(str, numbers))} {self.activation or '-'} {self.height}x{self.width}"


@dataclass(frozen=True)
class TimedConvolution:
    """One convolution of a model and where its channel numbers come from."""

    name: str
    shape: ConvolutionShape
    inputs: int
    "Input channels before pruning."
    outputs: int
    "Output channels before pruning."
    input_axis: int
    "Index into ``ChannelGraph.axes``; -1 where the number never changes."
    output_axis: int
    calls: int
    "How often a pass runs it."


def convolutions(graph: ChannelGraph, model: nn.Module, imgsz: ImageSize) -> list[TimedConvolution]:
    """List the convolutions that a pass of the model runs at an image size, pixels or (height, width)."""
    twin = meta_copy(model).eval()
    seen: dict[str, list[tuple[int, int]]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, args, output: seen.setdefault(name, []).append(_pair(args[0].shape[2:]))

    modules = {name: module for name, module in twin.named_modules() if isinstance(module, nn.Conv2d)}
    channels = image_channels(twin)
    hooks = [module.register_forward_hook(note(name)) for name, module in modules.items()]
    twin(torch.empty(1, channels, *height_width(imgsz), device="meta"))
    for hook in hooks:
        hook.remove()
    return [_timed(graph, twin, name, modules[name], sizes) for name, sizes in seen.items()]


def _pair(sizes: Sequence[int]) -> tuple[int, int]:
    """Return the height and width of what PyTorch keeps as any number of numbers."""
    height, width = sizes
    return height, width


def _timed(
    graph: ChannelGraph, model: nn.Module, name: str, module: nn.Conv2d, sizes: list[tuple[int, int]]
) -> TimedConvolution:
    depthwise = module.groups > 1 and module.groups == module.in_channels == module.out_channels
    owner = model.get_submodule(name.rpartition(".")[0])
    shape = ConvolutionShape(
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        padding=(0, 0) if isinstance(module.padding, str) else _pair(module.padding),
        dilation=_pair(module.dilation),
        groups=0 if depthwise else module.groups,
        activation=WITH_ACTIVATION if isinstance(getattr(owner, "act", None), nn.SiLU) else "",
        height=sizes[0][0],
        width=sizes[0][1],
    )
    output_axis, input_axis = (*graph.tensor_axes.get(f"{name}.weight", ()), -1, -1)[:2]
    return TimedConvolution(
        name=name,
        shape=shape,
        inputs=module.in_channels,
        outputs=module.out_channels,
        input_axis=output_axis if depthwise else input_axis,
        output_axis=output_axis,
        calls=len(sizes),
    )
