"""Elementwise operations: those of one map keep its channels, those of two tie them place by place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.pruning.graph.common import argument, freeze_inputs
from engine.pruning.graph.labels import compress, shifted, varying_dims
from engine.pruning.graph.tracer import Tracer


def same(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """Operations after which every element is where it was: casts, copies, activations with f(0) = 0."""
    tracer.set(output, tracer.labels(args[0]))


def offset(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """Elementwise functions with f(0) != 0."""
    labels = tracer.labels(args[0])
    tracer.set(output, None if labels is None else shifted(labels))


def softmax(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """Softmax along a dimension along which labels do not vary."""
    labels, dim = tracer.labels(args[0]), argument(args, kwargs, 1, "dim")
    if labels is None or dim is None or dim % args[0].dim() in varying_dims(labels):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    tracer.set(output, shifted(labels))


def clamped(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``hardtanh(x, min, max)``: keeps zero where it lies between the bounds."""
    low, high = argument(args, kwargs, 1, "min_val", -1.0), argument(args, kwargs, 2, "max_val", 1.0)
    labels = tracer.labels(args[0])
    tracer.set(output, labels if labels is None or low <= 0 <= high else shifted(labels))


def prelu(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``prelu(x, weight)``: one slope for all channels, or one each, which is then cut with them."""
    weight = argument(args, kwargs, 1, "weight")
    name, vector = tracer.parameter_name(weight), tracer.vector(args[0], 1)
    if weight.numel() > 1:
        if name is None or vector is None:
            freeze_inputs(tracer, func, args, kwargs, output)
            return
        tracer.store(name, 0, vector)
    tracer.set(output, tracer.labels(args[0]))


def added(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """``a + b``, ``a - b``, ``maximum``: channels at the same place are tied, zero only if both are."""
    _combine(tracer, args[0], argument(args, kwargs, 1, "other"), output, product=False)


def multiplied(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """``a * b``: channels at the same place are tied, zero if either is."""
    _combine(tracer, args[0], argument(args, kwargs, 1, "other"), output, product=True)


def divided(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """``a / b``: a's channels pass through, b's are kept."""
    tracer.freeze(argument(args, kwargs, 1, "other"), "divided by")
    _combine(tracer, args[0], argument(args, kwargs, 1, "other"), output, product=True)


def _combine(tracer: Tracer, first: Any, second: Any, output: Any, *, product: bool) -> None:
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        tensor = first if isinstance(first, Tensor) else second
        labels = tracer.labels(tensor)
        keeps_zero = product or (first if tensor is second else second) == 0
        tracer.set(output, None if labels is None else labels if keeps_zero else shifted(labels))
        return
    left, right = (_aligned(tracer, tensor, output.dim()) for tensor in (first, second))
    left, right = _without_spread(tracer, left, right), _without_spread(tracer, right, left)
    left, right = torch.broadcast_tensors(left, right)
    both = (left != 0) & (right != 0)
    if not product or bool(both.any()):
        tracer.channels.unite(left[both], right[both], added=not product)
    _freeze_fixed_partner(tracer, left, right, first, second)
    _freeze_fixed_partner(tracer, right, left, second, first)
    channel = torch.where(left != 0, left.abs(), right.abs())
    zero = (left > 0) | (right > 0) if product else (left > 0) & (right > 0)
    tracer.set(output, compress(torch.where(zero, channel, -channel)))


def _aligned(tracer: Tracer, tensor: Tensor, dims: int) -> Tensor:
    labels = tracer.labels(tensor)
    labels = torch.zeros([1] * tensor.dim(), dtype=torch.int64) if labels is None else labels
    return labels.reshape([1] * (dims - labels.dim()) + list(labels.shape))


def _without_spread(tracer: Tracer, labels: Tensor, other: Tensor) -> Tensor:
    """A single channel that is spread over many others (an attention map) is kept and does not tie them."""
    if all(labels.shape[dim] > 1 for dim in varying_dims(other)) or not bool((labels != 0).any()):
        return labels
    tracer.channels.freeze(labels, f"spread over all channels in {type(tracer.module).__name__}")
    return torch.zeros_like(labels)


def _freeze_fixed_partner(tracer: Tracer, labels: Tensor, other: Tensor, tensor: Tensor, partner: Tensor) -> None:
    """Channels combined with as many fixed numbers cannot be cut, because those numbers are not."""
    alone = (labels != 0) & (other == 0)
    if not bool(alone.any()):
        return
    offset_dims = labels.dim() - partner.dim()
    for dim in varying_dims(compress(labels)):
        if dim - offset_dims >= 0 and partner.shape[dim - offset_dims] > 1:
            tracer.channels.freeze(labels[alone], f"combined with fixed values in {type(tracer.module).__name__}")
            return
