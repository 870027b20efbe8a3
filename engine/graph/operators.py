"""How labels travel through each operation.

Every handler has the signature ``(tracer, func, args, kwargs, output)`` and runs after the operation itself. One
principle serves them all: an operation that only moves elements about is applied to the labels as it is; an
elementwise one ties what it combines; a weighted sum reads its input's channels and makes new ones. Operations that
cut or reshape by sizes written in the code stand in ``cuts``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.graph.labels import along, compress, shifted, varying_dims, vector_along
from engine.graph.tracer import Dim, Tracer, tensors_in

Handler = Callable[[Tracer, Callable, tuple, dict, Any], None]


def argument(args: tuple, kwargs: dict, position: int, name: str, default: Any = None) -> Any:
    """Return an argument that may be given by position or by name."""
    return args[position] if len(args) > position else kwargs.get(name, default)


# --- weighted sums: read channels, make channels -------------------------------------------------------------------


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
    left, right = _full(tracer, first), _full(tracer, second)
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


# --- operations that move elements about ---------------------------------------------------------------------------


def move(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """Apply the operation itself to the labels."""
    moved = func(*_with_labels(tracer, args), **_with_labels(tracer, kwargs))
    for tensor, labels in zip(tensors_in(output), tensors_in(moved), strict=True):
        tracer.set(tensor, compress(labels))


def _with_labels(tracer: Tracer, value: Any) -> Any:
    """Return the value with every tensor replaced by its labels at full size."""
    if isinstance(value, Tensor):
        return _full(tracer, value)
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)(_with_labels(tracer, item) for item in value)
    if isinstance(value, dict):
        return {key: _with_labels(tracer, item) for key, item in value.items()}
    return value


def _full(tracer: Tracer, tensor: Tensor) -> Tensor:
    labels = tracer.labels(tensor)
    return torch.zeros((), dtype=torch.int64).expand(tensor.shape) if labels is None else labels.expand(tensor.shape)


def same(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """Operations after which every element is where it was: casts, copies, activations with f(0) = 0."""
    tracer.set(output, tracer.labels(args[0]))


def offset(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """Elementwise functions with f(0) != 0."""
    labels = tracer.labels(args[0])
    tracer.set(output, None if labels is None else shifted(labels))


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
    labels = tracer.labels(args[0])
    padded_dims = len(argument(args, kwargs, 1, "pad")) // 2
    if any(dim >= args[0].dim() - padded_dims for dim in varying_dims(labels)):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    value = argument(args, kwargs, 3, "value", 0)
    tracer.set(output, shifted(labels) if value else labels)


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


def softmax(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """Softmax along a dimension along which labels do not vary."""
    labels, dim = tracer.labels(args[0]), argument(args, kwargs, 1, "dim")
    if labels is None or dim is None or dim % args[0].dim() in varying_dims(labels):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    tracer.set(output, shifted(labels))


def index(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``x[...]``: free along other dimensions, frozen where channels are picked by number."""
    items = args[1] if isinstance(args[1], tuple) else (args[1],)
    if not all(item is None or item is Ellipsis or isinstance(item, (int, slice)) for item in items):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    labels = tracer.labels(args[0])
    if set(varying_dims(labels)) & _picked_dims(items, args[0].dim()):
        tracer.freeze(args[0], f"picked by position in {type(tracer.module).__name__}")
    tracer.set(output, compress(_full(tracer, args[0])[items]))


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


def joined(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``cat`` and ``stack``: maps that are joined along another dimension share their channels, so those are tied."""
    tensors = argument(args, kwargs, 0, "tensors")
    dim = argument(args, kwargs, 1, "dim", 0) % output.dim()
    stacked = output.dim() > tensors[0].dim()
    pieces = [_full(tracer, tensor).unsqueeze(dim) if stacked else _full(tracer, tensor) for tensor in tensors]
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


def expanded(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``x.expand(sizes)`` and ``x.repeat(counts)``: frozen where a channel dimension is given a size in the code."""
    sizes = args[1:] if len(args) != 2 or isinstance(args[1], int) else args[1]
    added = output.dim() - args[0].dim()
    vector_dims = varying_dims(tracer.labels(args[0]))
    unit = 1 if func.__name__ == "repeat" else -1
    if any(
        sizes[dim + added] != unit and not _same_size(tracer, args[0], dim, sizes[dim + added]) for dim in vector_dims
    ):
        tracer.freeze(args[0], f"repeated by fixed numbers in {type(tracer.module).__name__}")
    move(tracer, func, (args[0], [int(size) for size in sizes]), {}, output)


def _same_size(tracer: Tracer, tensor: Tensor, dim: int, size: int) -> bool:
    """Whether a size follows the channels along a dimension of a tensor."""
    vector = tracer.vector(tensor, dim)
    known = isinstance(size, Dim) and size.channels is not None and vector is not None
    return known and torch.equal(size.channels.abs(), vector.abs())


def rolled(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``roll(x, shifts, dims)``: the last channels come first only where the dimension is not that of the channels."""
    dims = argument(args, kwargs, 2, "dims", ())
    dims = {dim % args[0].dim() for dim in ((dims,) if isinstance(dims, int) else dims)}
    if not dims or dims & set(varying_dims(tracer.labels(args[0]))):
        freeze_inputs(tracer, func, args, kwargs, output)
        return
    tracer.set(output, tracer.labels(args[0]))


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


def freeze_inputs(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """Anything that the labels cannot follow: what goes in is always kept, what comes out has no channels."""
    where = type(tracer.module).__name__ if tracer.module_name else "the model"
    tracer.freeze([args, kwargs], f"read by {func.__name__.strip('_')} in {where}")
    for tensor in tensors_in(output):
        tracer.set(tensor, None)


def unrelated(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``new_zeros``, ``zeros_like`` ...: uses shape and type of its input, none of its values."""
    tracer.set(output, None)


# --- elementwise combinations --------------------------------------------------------------------------------------


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


# --- tables --------------------------------------------------------------------------------------------------------

_MOVES = "permute transpose swapaxes swapdims movedim unsqueeze expand_as flatten squeeze ravel flip"
_JOINED = "cat concat concatenate stack"
_SAME = "to float half bfloat16 type type_as contiguous clone detach cpu cuda requires_grad relu relu6 leaky_relu "
_SAME += "silu gelu mish hardswish tanh elu selu celu softsign abs neg sqrt square dropout dropout2d dropout3d "
_SAME += "identity"
_OFFSET = "sigmoid hardsigmoid logsigmoid softplus exp cos clamp clip"
_SPATIAL = "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
_SPATIAL += "adaptive_max_pool1d adaptive_max_pool2d interpolate upsample boolean_dispatch fn"
_REDUCTIONS = "mean sum amax amin"
_ADDED = "add iadd radd sub isub maximum minimum"
_MULTIPLIED = "mul imul rmul multiply"
_DIVIDED = "div truediv itruediv true_divide"
_UNRELATED = "new_full new_zeros new_ones new_empty new_tensor zeros_like ones_like empty_like full_like"

SOURCES = frozenset("conv1d conv2d conv3d conv_transpose2d linear batch_norm".split())
SIZED = frozenset(f"view reshape expand size empty zeros ones full getitem interpolate {_UNRELATED}".split())
ADOPTING = frozenset(f"{_MULTIPLIED} {_ADDED} view reshape unsqueeze".split())


def handlers() -> dict[str, Handler]:
    """Return operation name (without leading and trailing underscores) -> handler."""
    from engine.graph import cuts

    table: dict[str, Handler] = {
        "conv1d": convolution,
        "conv2d": convolution,
        "conv3d": convolution,
        "conv_transpose2d": transposed_convolution,
        "linear": linear,
        "batch_norm": batch_norm,
        "matmul": matrix_product,
        "bmm": matrix_product,
        "softmax": softmax,
        "pad": constant_pad,
        "chunk": cuts.chunk,
        "split": cuts.split,
        "view": cuts.view,
        "reshape": cuts.view,
        "expand": expanded,
        "repeat": expanded,
        "roll": rolled,
        "getitem": index,
        "setitem": freeze_inputs,
        "numel": freeze_inputs,
        "hardtanh": clamped,
        "prelu": prelu,
    }
    for names, handler in (
        (_MOVES, move),
        (_JOINED, joined),
        (_SAME, same),
        (_OFFSET, offset),
        (_SPATIAL, spatial),
        (_REDUCTIONS, reduction),
        (_ADDED, added),
        (_MULTIPLIED, multiplied),
        (_DIVIDED, divided),
        (_UNRELATED, unrelated),
    ):
        table.update(dict.fromkeys(names.split(), handler))
    return table
