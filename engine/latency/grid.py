"""Channel widths at which a convolution is timed, and what lies between them.

ONNX Runtime computes convolutions on blocks of 16 channels (8 without AVX-512): outputs are padded to whole blocks,
inputs as well if they are a multiple of 4, and inputs that are not go through a slower path. So there are three
regimes, each of them close to bilinear in input and output channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from engine.latency.layers import TimedConvolution

ALIGNMENT = 4
"Input channels must be a multiple of it for ONNX Runtime's blocked convolutions."
_STEPS = (1, 4, 16, 64)
Lookup = Callable[[int, int], float]
"(input channels, output channels) -> milliseconds"


@cache
def block_channels() -> int:
    """Return how many channels ONNX Runtime's convolutions take at once on this machine."""
    # PyTorch tells the same, and takes seconds to import.
    from numpy._core._multiarray_umath import __cpu_features__ as has  # type: ignore[import-not-found]

    return 8 if has.get("AVX2") and not has.get("AVX512F") else 16


def ceil_to(width: int, multiple: int) -> int:
    """Return the smallest multiple that is not below a width."""
    return -(-width // multiple) * multiple


def predict(layer: TimedConvolution, inputs: int, outputs: int, lookup: Lookup) -> float:
    """Return the milliseconds of a convolution at any width, from those at the widths of the grid."""
    if layer.shape.groups > 1:  # a fixed number of groups cannot be cut freely; in proportion is near enough
        full = lookup(layer.inputs, layer.outputs)
        return full * inputs * outputs / (layer.inputs * layer.outputs)
    depthwise = layer.shape.groups == 0
    aligned = inputs % ALIGNMENT == 0 or (inputs < block_channels() and not depthwise)
    if aligned:
        outputs = ceil_to(outputs, block_channels())
        if inputs >= block_channels() or depthwise:
            inputs = ceil_to(inputs, block_channels())
    rows = _input_points(layer, inputs, aligned)
    if depthwise:
        return _along(rows, inputs, lambda width: lookup(width, width))
    columns = _output_points(layer)
    return _along(rows, inputs, lambda row: _along(columns, outputs, lambda column: lookup(row, column)))


def grid_points(layer: TimedConvolution) -> list[tuple[int, int]]:
    """Return every (input, output) width that ``predict`` may look up for a convolution."""
    if layer.shape.groups > 1:
        return [(layer.inputs, layer.outputs)]
    block = block_channels()
    rows = {
        row for width, aligned in ((1, True), (block, True), (block, False)) for row in _rows(layer, width, aligned)
    }
    if layer.shape.groups == 0:
        return [(row, row) for row in sorted(rows)]
    return [(row, column) for row in sorted(rows) for column in _output_points(layer)]


def _rows(layer: TimedConvolution, width: int, aligned: bool) -> list[int]:
    return _input_points(layer, block_channels() if layer.shape.groups == 0 else width, aligned)


def _input_points(layer: TimedConvolution, inputs: int, aligned: bool) -> list[int]:
    block = block_channels()
    if layer.input_axis < 0 and layer.shape.groups == 1:
        return [layer.inputs]
    if aligned and inputs < block:
        return sorted({ALIGNMENT, block - ALIGNMENT})  # the same width where a block is 8
    full = ceil_to(layer.inputs, block)
    # One channel off a multiple of 4 stands for every width that is not one.
    return sorted({width + (0 if aligned else 1) for width in _widths_up_to(full)})


def _output_points(layer: TimedConvolution) -> list[int]:
    if layer.output_axis < 0:
        return [layer.outputs]
    return _widths_up_to(ceil_to(layer.outputs, block_channels()))


def _widths_up_to(full: int) -> list[int]:
    return sorted({full, *(step * block_channels() for step in _STEPS if step * block_channels() < full)})


def _along(points: list[int], width: int, value: Callable[[int], float]) -> float:
    """Interpolate linearly between the two points around a width, or beyond them along the last two."""
    if len(points) == 1:
        return value(points[0])
    upper = int(np.clip(np.searchsorted(points, width), 1, len(points) - 1))
    low, high = points[upper - 1], points[upper]
    at_low, at_high = value(low), value(high)
    share = (width - low) / (high - low)
    return max(at_low + share * (at_high - at_low), 0.25 * min(at_low, at_high))
