"""The convolutions that a pass of a model at one image size runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConvolutionRun:
    """One convolution of a model, as a pass runs it."""

    name: str
    "Of the module."
    inputs: int
    "Input channels before pruning."
    outputs: int
    "Output channels before pruning."
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    silu: bool
    "Whether SiLU follows."
    height: int
    "Of the input, in pixels of the feature map, at the first call."
    width: int
    calls: int
    "How often a pass runs it."
