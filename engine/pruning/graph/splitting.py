"""Operations that cut or regroup channels by position: chunk, split, view and reshape.

After pruning, the same code runs on fewer channels. A cut is safe only where its sizes follow the channel counts:
``chunk`` halves whatever comes in, sizes read from ``tensor.shape`` follow that tensor, and the blocks of the table in
``blocks`` keep theirs in an attribute that surgery updates. Everything else is frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

from engine.pruning.graph.blocks import AttentionHeads, EqualSplit, block_rule
from engine.pruning.graph.common import argument, channel_dims
from engine.pruning.graph.labels import compress, varying_dims
from engine.pruning.graph.layout import move
from engine.pruning.graph.sizes import Dim, plain
from engine.pruning.graph.tracer import Tracer


def chunk(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: tuple[Tensor, ...]) -> None:
    """``x.chunk(n, dim)``: the pieces stay equal, so the same number of channels must survive in each."""
    dim = argument(args, kwargs, 2, "dim", 0) % args[0].dim()
    move(tracer, func, args, kwargs, output)
    if dim not in channel_dims(tracer, args[0]):
        return
    pieces = _vectors(tracer, output, dim)
    if len(pieces) < len(output) or len({len(piece) for piece in pieces}) > 1:
        tracer.freeze(args[0], f"cut unevenly in {type(tracer.module).__name__}")
        return
    _equal_pieces(tracer, pieces)
    rule = block_rule(tracer.module)
    if isinstance(rule, EqualSplit) and getattr(tracer.module, rule.width) == len(pieces[0]):
        tracer.attributes.append((tracer.module_name, rule.width, pieces[0].abs()))


def split(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: tuple[Tensor, ...]) -> None:
    """``x.split(sizes, dim)``: sizes are written in the code, so only the blocks of the table may be cut."""
    dim = argument(args, kwargs, 2, "dim", 0) % args[0].dim()
    move(tracer, func, args, kwargs, output)
    if dim not in channel_dims(tracer, args[0]):
        return
    rule, module = block_rule(tracer.module), tracer.module
    sizes = {piece.shape[dim] for piece in output}
    if isinstance(rule, EqualSplit) and sizes == {getattr(module, rule.width)}:
        pieces = _vectors(tracer, output, dim)
        if len(pieces) == len(output):
            _equal_pieces(tracer, pieces)
            tracer.attributes.append((tracer.module_name, rule.width, pieces[0].abs()))
            return
    if isinstance(rule, AttentionHeads) and len(output) == 3 and output[2].shape[dim] == getattr(module, rule.value):
        tracer.freeze(output[:2], "attention query/key size")
        labels = tracer.labels(output[2])
        values = None if labels is None else labels.movedim(dim, -1).reshape(-1, output[2].shape[dim])
        if values is not None and len(values) == getattr(module, rule.heads):  # (heads, value width)
            tracer.equal_counts.append((list(values), [1] * len(values), "same value width in every attention head"))
            tracer.attributes.append((tracer.module_name, rule.value, values[0].abs()))
            return
    tracer.freeze(args[0], f"split by fixed sizes in {type(module).__name__}")


def _vectors(tracer: Tracer, pieces: tuple[Tensor, ...], dim: int) -> list[Tensor]:
    """Return the channels along one dimension of those pieces that have them along that one alone."""
    return [vector for piece in pieces if (vector := tracer.vector(piece, dim)) is not None]


def _equal_pieces(tracer: Tracer, pieces: list[Tensor]) -> None:
    reason = f"equal parts after a split in {type(tracer.module).__name__}"
    tracer.equal_counts.append((list(pieces), [1] * len(pieces), reason))


def view(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Tensor) -> None:
    """``x.view(sizes)`` and ``x.reshape(sizes)``: followed where each size of a channel dimension follows a count."""
    source, sizes = args[0], _sizes(args, kwargs)
    if sizes is None:
        tracer.freeze(source, "viewed as another type")
        return
    inner = tracer.labels(source)
    move(tracer, torch.reshape, (source, plain(sizes)), {}, output)  # labels may not be contiguous
    labels = tracer.labels(output)
    if inner is None or labels is None or _follows(tracer, source, inner, labels, sizes):
        return
    tracer.freeze(source, f"reshaped by fixed sizes in {type(tracer.module).__name__}")


def _sizes(args: tuple, kwargs: dict) -> list[int | Dim] | None:
    given: Any = args[1:] if len(args) > 1 else kwargs.get("size", kwargs.get("shape"))
    if isinstance(given, (tuple, list)) and len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = given[0]
    if not isinstance(given, (tuple, list)) or not all(isinstance(size, int) for size in given):
        return None
    return list(given)


def _follows(tracer: Tracer, source: Tensor, inner: Tensor, labels: Tensor, sizes: list[int | Dim]) -> bool:
    """Whether the sizes still fit after any pruning, given the constraints that this records.

    Args:
        tracer: Is told the constraints.
        source: What is viewed.
        inner: Its labels.
        labels: Those of the view.
        sizes: Of the view, as the code gives them.
    """
    before, after = varying_dims(inner), varying_dims(labels)
    if not after:
        return True
    if len(after) == 1:
        return _joins(tracer, source, inner, labels.flatten(), sizes[after[0]])
    rule = block_rule(tracer.module)
    return (
        isinstance(rule, AttentionHeads)
        and len(before) == 1
        and len(after) == 2
        and plain(sizes[after[0]]) == getattr(tracer.module, rule.heads)
    )


def _joins(tracer: Tracer, source: Tensor, inner: Tensor, joined: Tensor, size: int | Dim) -> bool:
    """Channels end up along one dimension: from one (kept as it was) or from several (heads x width)."""
    inner = compress(inner)
    before = varying_dims(inner)
    rows = inner.movedim(before[-1], -1).reshape(-1, inner.shape[before[-1]])  # (product of outer sizes, inner size)
    if len(before) > 1:
        tracer.equal_counts.append((list(rows), [1] * len(rows), "same width in every row that is joined"))
    if type(size) is not Dim:
        return size == -1
    if size.channels is None:
        return False
    if len(before) == 1 and torch.equal(size.channels.abs(), joined.abs()):
        return True
    outer = prod(source.shape[dim] for dim in before[:-1])
    reason = f"viewed back to the input's shape in {type(tracer.module).__name__}"
    tracer.equal_counts.append(([size.channels, rows[0]], [outer, 1], reason))
    return True
