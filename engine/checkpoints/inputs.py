"""What goes into a model: a copy that runs without memory, and how many channels its images have."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

COLOUR = 3
_PROBE = (64, 96)
"(height, width) in pixels that a stem is tried at: it may halve them five times."


class _Reached(Exception):
    """The first convolution took what it was given."""


def meta_copy(model: nn.Module) -> nn.Module:
    """Return a copy of the model whose parameters and buffers have shapes but no memory."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(model, memo)


def meta_result(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an operation on tensors without memory and return its result.

    BatchNorm keeps the shape, which PyTorch finds out in Python, in half the time of a whole pass.
    """
    if getattr(func, "__name__", "") == "batch_norm" and len(args) > 1 and isinstance(args[1], Tensor):
        if args[0].is_meta and len(args[1]) == args[0].shape[1]:
            return torch.empty_like(args[0])
    return func(*args, **kwargs)


def image_channels(model: nn.Module) -> int:
    """Return how many channels the images have that a model takes.

    The model's own description says so (Ultralytics keeps it under ``channels``, older versions under ``ch``). Where it
    says nothing, or the model does not run on such images, the number is found by trying: the first convolution alone
    does not tell, since a stem may rearrange pixels into channels, or add some, before it.

    Args:
        model: Any model; neither it nor its buffers are changed.
    """
    described = _described(getattr(model, "yaml", None))
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    inputs = first.in_channels if first is not None else COLOUR
    if described == inputs:
        return inputs
    twin = meta_copy(model).eval()
    likely = (inputs, COLOUR) if described is None else (described, inputs, COLOUR)
    candidates = dict.fromkeys((*likely, *range(inputs - 1, 0, -1)))
    return next((channels for channels in candidates if _takes(twin, channels)), likely[0])


def _described(description: Any) -> int | None:
    if not isinstance(description, dict):
        return None
    said = description.get("channels", description.get("ch"))
    return said if isinstance(said, int) and said > 0 else None


def _takes(twin: nn.Module, channels: int) -> bool:
    """Whether images of so many channels get through the stem of a model on the meta device.

    The pass ends behind the first convolution, so that it costs little and nothing deeper can fail.
    """

    def reached(*_: Any) -> None:
        raise _Reached

    handles = [each.register_forward_hook(reached) for each in twin.modules() if isinstance(each, nn.Conv2d)]
    try:
        with torch.no_grad():
            twin(torch.empty(1, channels, *_PROBE, device="meta"))
    except _Reached:
        return True
    except Exception:  # whatever a layer raises at images that it was not made for
        return False
    finally:
        for handle in handles:
            handle.remove()
    return True
