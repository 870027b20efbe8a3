"""What all handlers of operations share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.pruning.graph.labels import varying_dims
from engine.pruning.graph.tracer import Tracer, tensors_in

Handler = Callable[[Tracer, Callable, tuple, dict, Any], None]
"(tracer, func, args, kwargs, output); runs after the operation itself."


def argument(args: tuple, kwargs: dict, position: int, name: str, default: Any = None) -> Any:
    """Return an argument that may be given by position or by name."""
    return args[position] if len(args) > position else kwargs.get(name, default)


def full_labels(tracer: Tracer, tensor: Tensor) -> Tensor:
    """Return the labels of a tensor at its full size, all 0 where it has none."""
    labels = tracer.labels(tensor)
    return torch.zeros((), dtype=torch.int64).expand(tensor.shape) if labels is None else labels.expand(tensor.shape)


def channel_dims(tracer: Tracer, tensor: Tensor) -> list[int]:
    """Return the dimensions along which a tensor's channels lie, none where it carries no channel."""
    labels = tracer.labels(tensor)
    return [] if labels is None else varying_dims(labels)


def freeze_inputs(tracer: Tracer, func: Callable, args: tuple, kwargs: dict, output: Any) -> None:
    """Anything that the labels cannot follow: what goes in is always kept, what comes out has no channels."""
    where = type(tracer.module).__name__ if tracer.module_name else "the model"
    tracer.freeze([args, kwargs], f"read by {func.__name__.strip('_')} in {where}")
    for tensor in tensors_in(output):
        tracer.set(tensor, None)
