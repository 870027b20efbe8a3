"""Surgery: a plan becomes a physically smaller model, made of the same stock Ultralytics classes."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from engine.checkpoints.unpruning import mark_pruned
from engine.profile.graph import ChannelGraph


def prune_model(model: nn.Module, graph: ChannelGraph, keep: np.ndarray) -> nn.Module:
    """Return a smaller copy of the model; the model itself stays as it is.

    Every tensor is cut along each of its channel axes by the same rule, then the channel numbers that layers keep
    beside their tensors follow. Strides, names, eps, momentum and everything else survive, except that the model's
    description then says how to train it (``engine.checkpoints.unpruning``) where anything was removed.

    Args:
        model: The model that the graph was traced from.
        graph: Its channel graph.
        keep: (G,) bool keep mask with group 0 kept.
    """
    pruned = copy.deepcopy(model)
    kept_rows = [torch.from_numpy(np.flatnonzero(keep[groups])) for groups in graph.axes]
    tensors = dict([*pruned.named_parameters(), *pruned.named_buffers()])
    for name, axes in graph.tensor_axes.items():
        _cut(tensors[name], [kept_rows[axis] if axis >= 0 else None for axis in axes])
    for module in pruned.modules():
        _follow_tensors(module)
    for update in graph.attributes:
        setattr(pruned.get_submodule(update.module), update.attribute, len(kept_rows[update.axis]))
    if not keep.all():
        mark_pruned(pruned)
    return pruned


@torch.no_grad()
def _cut(tensor: torch.Tensor, rows_by_dim: list[torch.Tensor | None]) -> None:
    """Keep the given rows along each dimension, in place: the module that owns the tensor keeps owning it."""
    cut = tensor.data
    for dim, rows in enumerate(rows_by_dim):
        if rows is not None:
            cut = cut.index_select(dim, rows.to(cut.device))
    tensor.data = cut.clone(memory_format=torch.contiguous_format)
    tensor.grad = None


def _follow_tensors(module: nn.Module) -> None:
    """Make a layer's own channel numbers agree with its tensors."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        module.in_channels, module.out_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
    elif isinstance(module, nn.modules.conv._ConvNd):
        if module.groups > 1 and module.groups == module.in_channels:  # depthwise: its groups are its input channels
            multiplier = module.out_channels // module.in_channels
            module.groups = module.in_channels = module.weight.shape[0] // multiplier
        else:
            module.in_channels = module.weight.shape[1] * module.groups
        module.out_channels = module.weight.shape[0]
    elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.weight is not None:
        module.num_features = len(module.weight)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
