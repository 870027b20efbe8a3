"""Why a model cannot be traced, told from a model that does not run at all."""

from __future__ import annotations

import copy

import torch
from torch import nn

SIZE = 640
"Height and width in pixels of the image that the model is tried on: what Ultralytics takes unless told."


def why_not_traced(model: nn.Module, channels: int, failure: Exception) -> str:
    """Return the sentence for a model whose trace failed; says whether stock Ultralytics runs it.

    Args:
        model: The model, which is run on an empty image; a copy of it, so that it stays as it is.
        channels: Of its images.
        failure: What the trace ended with.
    """
    own = _failure_of(model, channels)
    if own is not None:
        return (
            f"This model cannot be traced because it does not run: stock Ultralytics fails on an image of {channels} "
            f"channels and {SIZE} px as well ({_words(own)}); choose a checkpoint that predicts."
        )
    return (
        f"Stock Ultralytics runs this model, but this workbench cannot follow its channels ({_words(failure)}), so "
        "it can be used, but not pruned here."
    )


def _failure_of(model: nn.Module, channels: int) -> Exception | None:
    """Return what running a model on an empty image raises, None where it runs."""
    parameter = next(model.parameters(), torch.zeros(()))
    image = torch.zeros(1, channels, SIZE, SIZE, device=parameter.device, dtype=parameter.dtype)
    try:
        with torch.no_grad():
            copy.deepcopy(model).eval()(image)
    except Exception as error:  # whatever the code of its layers raises
        return error
    return None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
