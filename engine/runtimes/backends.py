"""Run a model, exported or not, on arrays: the same call for every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.base.runtime import compute_threads

Outputs = list[np.ndarray]
Backend = Callable[[np.ndarray], Outputs]
"Takes (N, C, H, W) float32 from 0 to 1 and returns the decoded outputs."


def open_backend(exported: Path, format: str) -> Backend:
    """Return a function that runs an exported file on the CPU."""
    return {"onnx": _onnx, "torchscript": _torchscript, "openvino": _openvino}[format](exported)


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


def _onnx(exported: Path) -> Backend:
    from engine.runtimes.sessions import open_session

    # Left to itself the runtime counts the machine's cores, not those this process may use, and pins threads to them.
    session = open_session(exported, compute_threads())
    name = session.get_inputs()[0].name
    return lambda array: session.run(None, {name: array})


def _torchscript(exported: Path) -> Backend:
    model = torch.jit.load(str(exported), map_location="cpu").eval()

    @torch.inference_mode()
    def run(array: np.ndarray) -> Outputs:
        output = model(torch.from_numpy(array))
        tensors = output if isinstance(output, (tuple, list)) else [output]
        return [tensor.numpy() for tensor in tensors if isinstance(tensor, torch.Tensor)]

    return run


def _openvino(exported: Path) -> Backend:
    import openvino

    core = openvino.Core()
    # The CPU plugin may otherwise choose bfloat16, which no other runtime is compared in.
    options = {"INFERENCE_NUM_THREADS": compute_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(next(exported.glob("*.xml")), "CPU", options)
    return lambda array: [np.array(value) for value in compiled([array]).values()]
