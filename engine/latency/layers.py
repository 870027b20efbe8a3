"""The convolutions of a model as things to time: what a pass at one image size asks of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.profile.convolutions import ConvolutionRun
from engine.profile.graph import ChannelGraph

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


def convolutions(graph: ChannelGraph, runs: Iterable[ConvolutionRun]) -> list[TimedConvolution]:
    """Return the convolutions that a pass runs as things to time."""
    return [_timed(graph, run) for run in runs]


def _timed(graph: ChannelGraph, run: ConvolutionRun) -> TimedConvolution:
    depthwise = run.groups > 1 and run.groups == run.inputs == run.outputs
    shape = ConvolutionShape(
        kernel=run.kernel,
        stride=run.stride,
        padding=run.padding,
        dilation=run.dilation,
        groups=0 if depthwise else run.groups,
        activation=WITH_ACTIVATION if run.silu else "",
        height=run.height,
        width=run.width,
    )
    output_axis, input_axis = (*graph.tensor_axes.get(f"{run.name}.weight", ()), -1, -1)[:2]
    return TimedConvolution(
        name=run.name,
        shape=shape,
        inputs=run.inputs,
        outputs=run.outputs,
        input_axis=output_axis if depthwise else input_axis,
        output_axis=output_axis,
        calls=run.calls,
    )
