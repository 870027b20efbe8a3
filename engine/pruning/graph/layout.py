"""Operations that move elements about, and those that treat each channel by itself.

What only moves elements is applied to the labels as it is; what picks, repeats or joins by position is frozen or tied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.pruning.graph.common import argument, channel_dims, freeze_inputs, full_labels
from engine.pruning.graph.labels import compress, shifted, varying_dims
from engine.pruning.graph.sizes import Dim, plain
from engine.pruning.graph.tracer import Tracer, tensors_in


def move(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """Apply the operation itself to the labels."""
    moved = func(*_with_labels(tracer, args), **_with_labels(tracer, kwargs))
    for tensor, labels in zip(tensors_in(output), tensors_in(moved), strict=True):
        tracer.set(tensor, compress(labels))


def _with_labels(tracer: Tracer, value: Any) -> Any:
    """Return the value with every tensor replaced by its labels at full size."""
    if isinstance(value, Tensor):
        return full_labels(tracer, value)
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)(_with_labels(tracer, item) for item in value)
    if isinstance(value, dict):
        return {key: _with_labels(tracer, item) for key, item in value.items()}
    return value


def joined(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``cat`` and ``stack``: maps that are joined along another dimension share their channels, so those are tied."""
    tensors = argument(args, kwargs, 0, "tensors")
    dim = argument(args, kwargs, 1, "dim", 0) % output.dim()
    stacked = output.dim() > tensors[0].dim()
    pieces = [
        full_labels(tracer, tensor).unsqueeze(dim) if stacked else full_labels(tracer, tensor) for tensor in tensors
    ]
    pieces = [compress(piece) for piece in pieces if piece.numel()]
    if all(set(varying_dims(piece)) <= {dim} for piece in pieces):
        move(tracer, func, args, kwargs, output)
        return
    if any(dim in varying_dims(piece) for piece in pieces):  # channels along this dimension and along another one
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    tied = torch.broadcast_tensors(*pieces)
    for piece in tied[1:]:
        alone = (tied[0] == 0) != (piece == 0)
        tracer.channels.freeze(torch.cat([tied[0][alone], piece[alone]]), "joined with fixed values")
        tracer.channels.unite(tied[0], piece)
    zero = torch.stack([piece > 0 for piece in tied]).all(dim=0)
    channel = torch.stack([piece.abs() for piece in tied]).amax(dim=0)
    tracer.set(output, compress(torch.where(zero, channel, -channel)))


def index(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``x[...]``: free along other dimensions, frozen where channels are picked by number."""
    items = args[1] if isinstance(args[1], tuple) else (args[1],)
    if not all(item is None or item is Ellipsis or isinstance(item, (int, slice)) for item in items):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    if set(channel_dims(tracer, args[0])) & _picked_dims(items, args[0].dim()):
        tracer.freeze(args[0], f"picked by position in {type(tracer.module).__name__}")
    tracer.set(output, compress(full_labels(tracer, args[0])[items]))


def _picked_dims(items: tuple, dims: int) -> set[int]:
    """Return the dimensions that an index cuts; ``:`` cuts nothing."""
    taken = sum(item is not None and item is not Ellipsis for item in items)
    picked, dim = set(), 0
    for item in items:
        if item is Ellipsis:
            dim += dims - taken
        elif item is not None:
            if item != slice(None):
                picked.add(dim)
            dim += 1
    return picked


def expanded(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``x.expand(sizes)`` and ``x.repeat(counts)``: frozen where a channel dimension is given a size in the code."""
    sizes = list(args[1:] if len(args) != 2 or isinstance(args[1], int) else args[1])
    added = output.dim() - args[0].dim()
    vector_dims = channel_dims(tracer, args[0])
    unit = 1 if func.__name__ == "repeat" else -1
    if any(
        plain(sizes[dim + added]) != unit and not _same_size(tracer, args[0], dim, sizes[dim + added])
        for dim in vector_dims
    ):
        tracer.freeze(args[0], f"repeated by fixed numbers in {type(tracer.module).__name__}")
    move(tracer, func, (args[0], plain(sizes)), {}, output)


def _same_size(tracer: Tracer, tensor: Tensor, dim: int, size: int | Dim) -> bool:
    """Whether a size follows the channels along a dimension of a tensor."""
    vector = tracer.vector(tensor, dim)
    if type(size) is not Dim or size.channels is None or vector is None:
        return False
    return torch.equal(size.channels.abs(), vector.abs())


def rolled(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``roll(x, shifts, dims)``: the last channels come first only where the dimension is not that of the channels."""
    dims = argument(args, kwargs, 2, "dims", ())
    dims = {dim % args[0].dim() for dim in ((dims,) if isinstance(dims, int) else dims)}
    if not dims or dims & set(channel_dims(tracer, args[0])):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    tracer.set(output, tracer.labels(args[0]))


def spatial(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """Pooling and resampling: each channel by itself, along dimensions along which labels do not vary."""
    labels = tracer.labels(args[0])
    kept_dims = 2 if args[0].dim() > 2 else 1
    if labels is None or any(dim >= kept_dims for dim in varying_dims(labels)):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    for tensor in tensors_in(output):
        tracer.set(tensor, labels)


def constant_pad(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``pad(input, pad, mode, value)`` along dimensions along which labels do not vary."""
    padded_dims = len(argument(args, kwargs, 1, "pad")) // 2
    if any(dim >= args[0].dim() - padded_dims for dim in channel_dims(tracer, args[0])):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    labels, value = tracer.labels(args[0]), argument(args, kwargs, 3, "value", 0)
    tracer.set(output, shifted(labels) if value and labels is not None else labels)


def reduction(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """mean, sum, amax ... along dimensions along which labels do not vary."""
    labels, dims = tracer.labels(args[0]), argument(args, kwargs, 1, "dim")
    keepdim = argument(args, kwargs, 2, "keepdim", False)
    if labels is None or dims is None or isinstance(dims, Tensor):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    dims = sorted({dim % args[0].dim() for dim in (dims if isinstance(dims, (list, tuple)) else [dims])}, reverse=True)
    if any(dim in varying_dims(labels) for dim in dims):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    if not keepdim:
        for dim in dims:
            labels = labels.squeeze(dim)
    for tensor in tensors_in(output):
        tracer.set(tensor, labels)


def alike(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``ones_like``, ``full_like`` ...: a value for each element, which stays when gamma and beta are zero."""
    labels = tracer.labels(args[0])
    tracer.set(output, None if labels is None else shifted(labels))


def zeros_alike(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``zeros_like``: as many zeros as there are elements."""
    labels = tracer.labels(args[0])
    tracer.set(output, None if labels is None else labels.abs())


def made_new(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``x.new_zeros(sizes)`` ...: uses the type of its input, and the sizes that it is given."""
    tracer.made_to_size(args[1:], kwargs, output, zero=func.__name__ == "new_zeros")
