"""What criteria read off the weights of a model."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from engine.pruning.graph import ChannelGraph


def gammas(graph: ChannelGraph, model: nn.Module) -> list[np.ndarray]:
    """Return for each layer the (C,) absolute scale factors of its BatchNorm."""
    return [_absolute(model.get_parameter(f"{layer.name}.weight")) for layer in graph.layers]


def weight_sums(graph: ChannelGraph, model: nn.Module, *, reading: bool) -> np.ndarray:
    """Return the (G,) sums of absolute weights with which convolutions and linear layers read or make each group."""
    sums = np.zeros(graph.group_count)
    for name, axes in graph.tensor_axes.items():
        module_name, _, kind = name.rpartition(".")
        module = model.get_submodule(module_name)
        if kind != "weight" or not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            continue
        weight, read, made = weight_dims(module)
        dim = read if reading else made
        if len(axes) > dim and axes[dim] >= 0:
            sums += np.bincount(graph.axes[axes[dim]], weights=sums_along(weight, dim), minlength=graph.group_count)
    return sums


def weight_dims(module: nn.Module) -> tuple[np.ndarray, int, int]:
    """Return the absolute weights of a convolution or linear layer, the dimension it reads by and the one it makes.

    A transposed convolution has its inputs first: (in, out, ...) instead of (out, in, ...).
    """
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    return _absolute(module.get_parameter("weight")), *((0, 1) if transposed else (1, 0))


def sums_along(weight: np.ndarray, dim: int) -> np.ndarray:
    """Return the sums of an array over every dimension but one."""
    return weight.sum(axis=tuple(other for other in range(weight.ndim) if other != dim))


def _absolute(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().abs().double().cpu().numpy()
