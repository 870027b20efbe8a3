"""From a model to its channel graph: trace, merge what is tied, freeze what cannot be sound, number the groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.base.errors import PlanError
from engine.checkpoints.inputs import image_channels, meta_copy
from engine.profile.graph import AttributeUpdate, ChannelGraph, Layer, Product
from engine.pruning.graph.equal_counts import merge_equal_counts
from engine.pruning.graph.failure import why_not_traced
from engine.pruning.graph.operators import ADOPTING, SIZED, SOURCES, handlers
from engine.pruning.graph.sizes import Dim
from engine.pruning.graph.tracer import Tracer

TRACE_SIZES = ((64, 96), (160, 192), (320, 384), (640, 640))
"Image sizes (height, width) tried in turn; decoders that select many queries need more positions than the first has."


def trace(model: nn.Module) -> ChannelGraph:
    """Trace a model into its channel graph.

    The model itself is not run and not changed; a copy without memory is, once as for inference and once as in
    training, so that branches that only training uses are followed as well.

    Args:
        model: An Ultralytics model that takes (B, C, H, W) images, on any device.

    Raises:
        PlanError: The model cannot be run on an image, or not be followed; says which.
    """
    failures: list[Exception] = []
    channels = image_channels(model)
    for height, width in TRACE_SIZES:
        try:
            return _traced_at(model, channels, height, width)
        except Exception as error:  # a decoder that needs a larger image raises whatever its code happens to raise
            failures.append(error)
    raise PlanError(why_not_traced(model, channels, failures[-1])) from failures[-1]


def _traced_at(model: nn.Module, channels: int, height: int, width: int) -> ChannelGraph:
    counting: frozenset[type] = frozenset()
    while True:
        twin = meta_copy(model).eval()
        tracer = Tracer(twin, handlers(), sources=SOURCES, adopting=ADOPTING, sized=SIZED, counting=counting)
        image = torch.empty(2, channels, height, width, device="meta")
        try:
            with torch.no_grad(), tracer:
                output = twin(image)
            tracer.freeze(_inference_output(output), "model output")
            notes = _trace_training(tracer, twin, image)
            return _assemble(tracer, twin, notes)
        except TypeError as error:  # code that insists on an int for a size: once more, with plain ones for it
            if not _wants_int(error) or type(tracer.module) in counting:
                raise
            counting |= {type(tracer.module)}
        finally:
            tracer.close()


def _wants_int(error: Exception) -> bool:
    return isinstance(error, TypeError) and Dim.__name__ in str(error)


def _inference_output(output: Any) -> Any:
    """Return what inference uses: heads return (predictions, raw maps for the loss), others predictions alone."""
    return output[0] if isinstance(output, (tuple, list)) and len(output) == 2 else output


def _trace_training(tracer: Tracer, model: nn.Module, image: Tensor) -> tuple[str, ...]:
    tracer.recording_products = False
    model.train()
    try:
        with torch.no_grad(), tracer:
            model(image)
    except Exception as error:  # a training pass may need labels (RT-DETR); the inference pass is complete without it
        if _wants_int(error):
            raise
        return (f"training pass not traced: {type(error).__name__}: {error}",)
    return ()


class _Groups:
    """Numbers the groups: 0 for everything that is kept, 1.. for what may be removed."""

    def __init__(self, tracer: Tracer) -> None:
        self._channels = tracer.channels
        self.reasons = tracer.channels.frozen_groups()
        self._with_gamma = {root for vector in tracer.layers.values() for root in self.roots(vector)} - {0}
        self._numbers: dict[int, int] = {}

    def roots(self, vector: Tensor) -> list[int]:
        return self._channels.representatives(vector)

    def number(self) -> None:
        prunable = sorted(self._with_gamma - set(self.reasons))
        self._numbers = {root: number for number, root in enumerate(prunable, start=1)}

    def __len__(self) -> int:
        return len(self._numbers) + 1

    def numbers(self, vector: Tensor | list[int]) -> np.ndarray:
        roots = self.roots(vector) if isinstance(vector, Tensor) else vector
        return np.array([self._numbers.get(root, 0) for root in roots], dtype=np.int64)

    def freeze(self, roots: list[int], reason: str) -> None:
        for root in roots:
            self.reasons.setdefault(root, reason)

    def frozen(self, root: int) -> bool:
        return root == 0 or root in self.reasons or root not in self._with_gamma


def _assemble(tracer: Tracer, model: nn.Module, notes: tuple[str, ...]) -> ChannelGraph:
    tracer.freeze_read()
    groups = _Groups(tracer)
    recorded = [
        ([groups.roots(piece) for piece in pieces], counts, reason) for pieces, counts, reason in tracer.equal_counts
    ]
    merged = merge_equal_counts(recorded, groups.frozen, groups.freeze)
    groups.number()
    axes = _Axes(groups)
    residual = np.zeros(len(groups), dtype=bool)
    for root in tracer.channels.residual_groups():
        residual[groups.numbers([root])[0]] = True
    residual[0] = False
    tensor_axes = {name: axes.of_tensor(vectors) for name, vectors in tracer.tensor_axes.items()}
    return ChannelGraph(
        group_count=len(groups),
        layers=tuple(_layer(name, vector, groups) for name, vector in tracer.layers.items()),
        residual=residual,
        equal_counts=tuple(constraint.numbered(groups.numbers) for constraint in merged),
        tensor_axes={name: dims for name, dims in tensor_axes.items() if any(dim >= 0 for dim in dims)},
        module_axes={name: axis for name, axis in _module_axes(tracer, axes).items() if axis >= 0},
        attributes=tuple(
            AttributeUpdate(name, attribute, axis)
            for name, attribute, axis in dict.fromkeys(
                (name, attribute, axes.index(vector)) for name, attribute, vector in tracer.attributes
            )
            if axis >= 0
        ),
        products=tuple(
            Product(name, tuple(axis for axis in map(axes.index, vectors) if axis >= 0))
            for name, vectors in tracer.products
        ),
        axes=tuple(axes.arrays),
        normalised=tracer.normalised,
        notes=notes,
    )


class _Axes:
    """Every distinct row of channels once; rows without a prunable channel need no entry."""

    def __init__(self, groups: _Groups) -> None:
        self._groups = groups
        self._indices: dict[bytes, int] = {}
        self.arrays: list[np.ndarray] = []

    def index(self, vector: Tensor | None) -> int:
        if vector is None:
            return -1
        numbers = self._groups.numbers(vector)
        if not numbers.any():
            return -1
        key = numbers.tobytes()
        if key not in self._indices:
            self._indices[key] = len(self.arrays)
            self.arrays.append(numbers)
        return self._indices[key]

    def of_tensor(self, vectors: list[Tensor | None]) -> tuple[int, ...]:
        return tuple(self.index(vector) for vector in vectors)


def _module_axes(tracer: Tracer, axes: _Axes) -> dict[str, int]:
    return {name: axes.index(vector) for name, vector in tracer.module_inputs.items()}


def _layer(name: str, vector: Tensor, groups: _Groups) -> Layer:
    numbers = groups.numbers(vector)
    reasons = [groups.reasons.get(root, "fixed by its input") for root in groups.roots(vector)]
    kept = [reason for reason, number in zip(reasons, numbers, strict=True) if number == 0]
    return Layer(name, numbers, "; ".join(dict.fromkeys(kept)))
