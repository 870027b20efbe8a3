"""Weighted sums: they read channels along one dimension and make new ones, or keep them (depthwise, BatchNorm)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.pruning.graph.common import argument, freeze_inputs, full_labels
from engine.pruning.graph.labels import along, compress, shifted, vector_along
from engine.pruning.graph.tracer import Tracer


def read_channels(tracer: Tracer, tensor: Tensor, dim: int) -> Tensor | None:
    """Return the (n,) channels that a weighted sum reads along ``dim``; freeze those it may not be deprived of."""
    labels = tracer.labels(tensor)
    if labels is None:
        return None
    vector = vector_along(labels, dim, tensor.shape[dim])
    if vector is None:
        tracer.freeze(tensor, f"mixed with positions before {type(tracer.module).__name__}")
        return None
    tracer.channels.freeze(vector[vector < 0], "read without a BatchNorm of its own")
    return vector.abs()


def weighted_sum(
    tracer: Tracer, args: tuple, kwargs: dict, output: Tensor, *, groups: int, in_dim: int, out_dim: int, axis: int
) -> None:
    """Convolution or linear layer with weight dimensions ``in_dim`` and ``out_dim``; channels lie along ``axis``."""
    source, weight = args[0], argument(args, kwargs, 1, "weight")
    bias = argument(args, kwargs, 2, "bias")
    name, bias_name = tracer.parameter_name(weight), tracer.parameter_name(bias)
    channels_in = source.shape[axis]
    if name is None:
        tracer.freeze(source, f"read by a computed weight in {type(tracer.module).__name__}")
        tracer.set(output, None)
        return
    if groups > 1 and groups == channels_in:
        made = _depthwise(tracer, source, name, weight, groups, has_bias=bias is not None, axis=axis)
    else:
        read = read_channels(tracer, source, axis)
        if groups > 1:
            tracer.freeze(source, "read by a grouped convolution")
        else:
            tracer.store(name, in_dim, torch.zeros(channels_in, dtype=torch.int64) if read is None else read)
        made = -tracer.axis(name, out_dim, output.shape[axis])
        if groups > 1:
            tracer.channels.freeze(made, "made by a grouped convolution")
    if made is not None and bias_name is not None:
        tracer.store(bias_name, 0, made)
    tracer.set(output, None if made is None else along(made, axis % output.dim(), output.dim()))
    tracer.made_by[id(output)] = name.rpartition(".")[0]


def _depthwise(
    tracer: Tracer, source: Tensor, name: str, weight: Tensor, groups: int, *, has_bias: bool, axis: int
) -> Tensor | None:
    """Depthwise convolution: every output channel is its input channel filtered, so it keeps its identity."""
    labels = tracer.labels(source)
    vector = None if labels is None else vector_along(labels, axis, source.shape[axis])
    if vector is None:
        tracer.freeze(source, "mixed with positions before a depthwise convolution")
        made = -tracer.axis(name, 0, weight.shape[0])
        tracer.channels.freeze(made, "depthwise convolution of a fixed input")
        return made
    made = vector.repeat_interleave(weight.shape[0] // groups)
    tracer.store(name, 0, made)
    return shifted(made) if has_bias else made


def convolution(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``conv1d/2d/3d(input, weight (out, in/groups, ...), bias, stride, padding, dilation, groups)``."""
    groups = argument(args, kwargs, 6, "groups", 1)
    axis = 1 if args[0].dim() == argument(args, kwargs, 1, "weight").dim() else 0
    weighted_sum(tracer, args, kwargs, output, groups=groups, in_dim=1, out_dim=0, axis=axis)


def transposed_convolution(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``conv_transpose2d(input, weight (in, out/groups, ...), bias, stride, padding, output_padding, groups)``."""
    groups = argument(args, kwargs, 6, "groups", 1)
    if groups > 1:
        tracer.freeze(args[0], "read by a grouped transposed convolution")
        tracer.set(output, None)
        return
    weighted_sum(tracer, args, kwargs, output, groups=1, in_dim=0, out_dim=1, axis=1)


def linear(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``linear(input (..., in), weight (out, in), bias)``."""
    weighted_sum(tracer, args, kwargs, output, groups=1, in_dim=1, out_dim=0, axis=-1)


def batch_norm(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``batch_norm(input, running_mean, running_var, weight, bias, ...)``: names a layer, keeps the channels."""
    source, name = args[0], tracer.parameter_name(argument(args, kwargs, 3, "weight"))
    vector = tracer.vector(source, 1)
    if name is None:
        tracer.freeze(source, "normalised without a gamma of its own")
        tracer.set(output, None)
        return
    if vector is None:
        tracer.freeze(source, "mixed with positions before a BatchNorm")
        vector = torch.zeros(source.shape[1], dtype=torch.int64)
    vector, layer = vector.abs(), name.rpartition(".")[0]
    tracer.layers.setdefault(layer, vector)
    if id(source) in tracer.made_by:
        tracer.normalised.setdefault(tracer.made_by[id(source)], layer)
    for position, key in ((1, "running_mean"), (2, "running_var"), (3, "weight"), (4, "bias")):
        stored = tracer.parameter_name(argument(args, kwargs, position, key))
        if stored is not None:
            tracer.store(stored, 0, vector)
    tracer.set(output, along(vector, 1, output.dim()))


def matrix_product(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``a @ b``: rows of a and columns of b pass through, the contracted channels are tied pairwise."""
    first, second = args[0], argument(args, kwargs, 1, "other")
    if min(first.dim(), second.dim()) < 2:
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    left, right = full_labels(tracer, first), full_labels(tracer, second)
    contracted_left, contracted_right = _varies(left, -1), _varies(right, -2)
    if contracted_left or contracted_right:
        pairs = torch.broadcast_tensors(left.narrow(-2, 0, 1).squeeze(-2), right.narrow(-1, 0, 1).squeeze(-1))
        single = (pairs[0] == 0) != (pairs[1] == 0)
        tracer.channels.freeze(torch.cat([pairs[0][single], pairs[1][single]]), "multiplied into a sum")
        negative = (pairs[0] < 0) & (pairs[1] < 0)
        tracer.channels.freeze(torch.cat([pairs[0][negative], pairs[1][negative]]), "summed before a BatchNorm")
        tracer.channels.unite(*pairs)
    passes_left = bool((left != 0).any()) and not contracted_left
    passes_right = bool((right != 0).any()) and not contracted_right
    if tracer.recording_products:
        counted = [left] if contracted_left else [right] if contracted_right else []
        counted += [left] if passes_left else []
        counted += [right] if passes_right else []
        tracer.products.append((tracer.module_name, [compress(labels).flatten().abs() for labels in counted]))
    if passes_left and passes_right:
        tracer.freeze([first, second], "multiplied with other channels")
    rows = left.narrow(-1, 0, 1).expand(output.shape) if passes_left and not passes_right else None
    columns = right.narrow(-2, 0, 1).expand(output.shape) if passes_right and not passes_left else None
    carried = rows if rows is not None else columns
    tracer.set(output, None if carried is None else compress(carried))


def _varies(labels: Tensor, dim: int) -> bool:
    return bool((labels != labels.narrow(dim, 0, 1)).any())
