"""Compensation: what a removed channel still emitted is folded into everything that reads it.

A channel whose gamma is near zero does not fall silent: BatchNorm turns it into the constant beta, and the activation
into act(beta). Cutting the channel takes that constant away from every layer that reads it. Shifting the running mean
of the BatchNorm behind such a layer, or its bias, by the constant's share puts it back: exactly, except where a
convolution reads zero padding instead of the constant at the border of its input.

A removed channel with a large gamma is no constant, and nothing is folded for it: estimates of its mean without data
made real checkpoints worse, not better. Recalibration is the remedy there.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from engine.base.errors import PlanError
from engine.checkpoints.inputs import image_channels
from engine.profile.graph import ChannelGraph
from engine.pruning.graph.build import TRACE_SIZES

CONSTANT_GAMMA = 0.1
"A channel with |gamma| up to this varies so little around act(beta) that it counts as constant."


@dataclass(frozen=True)
class _Reader:
    """A convolution or linear layer that reads removed channels."""

    module: str
    removed: Tensor
    "(n,) positions of removed channels among its inputs."


@torch.no_grad()
def compensate(model: nn.Module, graph: ChannelGraph, keep: np.ndarray) -> nn.Module:
    """Return a copy of the model, still of full size, that is prepared for losing its removed channels.

    The model runs once on a small blank image with its removed channels held constant; what arrives at each reader is
    what concatenations, additions, pooling and attention made of the constants, whatever the architecture.

    Args:
        model: The model that the graph was traced from; not changed.
        graph: Its channel graph.
        keep: (G,) bool keep mask.

    Raises:
        PlanError: The model cannot be run.
    """
    prepared = copy.deepcopy(model)
    readers = _readers(model, graph, keep)
    constants = _centre_inputs(_held_constant(model, graph, keep), [reader.module for reader in readers])
    for reader in readers:
        if reader.module not in constants:  # a branch that only training runs; inference never reads there
            continue
        module = prepared.get_submodule(reader.module)
        assert isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))  # as _readers chose them
        weight = module.weight.flatten(2).sum(dim=2) if module.weight.dim() > 2 else module.weight  # (out, in)
        shift = weight[:, reader.removed].double() @ constants[reader.module][reader.removed]  # (out,)
        if module.bias is not None:
            module.bias += shift.to(module.bias.dtype)
        elif reader.module in graph.normalised:
            mean = prepared.get_buffer(f"{graph.normalised[reader.module]}.running_mean")
            mean -= shift.to(mean.dtype)
    return prepared


def _readers(model: nn.Module, graph: ChannelGraph, keep: np.ndarray) -> list[_Reader]:
    readers = []
    for name, axes in graph.tensor_axes.items():
        module_name, _, kind = name.rpartition(".")
        module = model.get_submodule(module_name)
        if kind != "weight" or not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            continue
        transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
        axis = axes[0] if transposed else (axes[1] if len(axes) > 1 else -1)
        if transposed or axis < 0:  # a transposed convolution spreads a constant unevenly; it is left as it is
            continue
        removed = np.flatnonzero(~keep[graph.axes[axis]])
        if len(removed):
            readers.append(_Reader(module_name, torch.from_numpy(removed)))
    return readers


def _held_constant(model: nn.Module, graph: ChannelGraph, keep: np.ndarray) -> nn.Module:
    """Return a copy in which every removed channel leaves its BatchNorm as beta, or as 0 where gamma is large."""
    probe = copy.deepcopy(model).eval()
    for layer in graph.layers:
        removed = torch.from_numpy(~keep[layer.groups])
        gamma, beta = (probe.get_parameter(f"{layer.name}.{kind}") for kind in ("weight", "bias"))
        beta[removed & (gamma.abs() > CONSTANT_GAMMA)] = 0
        gamma[removed] = 0
    return probe


def _centre_inputs(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Run a model on a blank image and return what each named module reads in the middle, (in,) float64."""
    seen: dict[str, list[Tensor]] = defaultdict(list)

    def watch(name: str, module: nn.Module) -> None:
        def read(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0][0]
            if isinstance(module, nn.Linear):
                seen[name].append(values.reshape(-1, values.shape[-1])[0].double())
            else:
                centre: tuple[int | slice, ...] = (slice(None), *(size // 2 for size in values.shape[1:]))
                seen[name].append(values[centre].double())

        handles.append(module.register_forward_pre_hook(read))

    handles: list = []
    dtype, channels = next(model.parameters()).dtype, image_channels(model)
    for name in names:
        watch(name, model.get_submodule(name))
    failure: Exception | None = None
    try:
        for size in TRACE_SIZES:
            seen.clear()
            try:
                model(torch.zeros(1, channels, *size, dtype=dtype))
                return {name: torch.stack(values).mean(dim=0) for name, values in seen.items()}
            except Exception as error:  # decoders that need a larger image raise whatever their code happens to raise
                failure = error
    finally:
        for handle in handles:
            handle.remove()
    raise PlanError(f"This model cannot be run on a blank image: {failure}")
