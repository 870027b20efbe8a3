"""Run a model, exported or not, on arrays: the same call for every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.base.runtime import compute_threads
from engine.runtimes.formats import Backend, Outputs, format_named


def open_backend(exported: Path, format: str) -> Backend:
    """Return a function that runs an exported file on the CPU, with as many threads as there are cores for it."""
    return format_named(format).open(exported, compute_threads())


def torch_backend(model: nn.Module) -> Backend:
    """Return a function that runs a PyTorch model in float32, as it was opened."""

    @torch.inference_mode()
    def run(array: np.ndarray) -> Outputs:
        return _arrays(model(torch.from_numpy(array)))

    return run


def _arrays(output: Any) -> Outputs:
    """Return the outputs that the exporter keeps: the decoded predictions, without the raw maps beside them."""
    decoded = output[0] if isinstance(output, (tuple, list)) else output
    tensors = decoded if isinstance(decoded, (tuple, list)) else [decoded]
    return [tensor.numpy() for tensor in tensors]
