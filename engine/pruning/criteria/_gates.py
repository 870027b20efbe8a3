"""Gates: factors of 1 behind BatchNorm, and what the loss says of them.

A gate multiplies what BatchNorm gives for one channel of one image. Its gradient is the sum over positions of
y dL/dy; over the images of a batch these add up to gamma dL/dgamma + beta dL/dbeta, because y = gamma x + beta. The
loss is that of the batch, which Ultralytics normalises by what the whole batch shows; the gradient by the gate of one
image is that image's share in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.base.errors import PlanError
from engine.pruning.criteria._context import Context


def gate_gradients(context: Context) -> Iterator[np.ndarray]:
    """Yield for each batch the (N, G) gradients of its loss by one gate an image and channel group.

    Tied channels share a gate, so the gradients of theirs are added.

    Raises:
        PlanError: There are no images, or the loss of a batch is no number.
    """
    layers = context.graph.layers
    gates: list[tuple[int, Tensor]] = []

    def gate(index: int) -> Any:
        def multiplied(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            factors = torch.ones(output.shape[:2], dtype=output.dtype, requires_grad=True)
            gates.append((index, factors))
            return output * factors.reshape(*factors.shape, *[1] * (output.dim() - 2))

        return multiplied

    def prepare(model: nn.Module) -> None:
        for index, layer in enumerate(layers):
            model.get_submodule(layer.name).register_forward_hook(gate(index))

    seen = False
    for _ in context.backward_passes(prepare):
        images = len(gates[0][1])
        gradients = np.zeros((images, context.graph.group_count))
        for index, factors in gates:  # several for a layer that is used several times; none where no loss comes from
            if factors.grad is not None:
                by_image = factors.grad.double().reshape(images, -1, factors.shape[1]).sum(dim=1)
                np.add.at(gradients.T, layers[index].groups, by_image.numpy().T)
        gates.clear()
        if not np.isfinite(gradients).all():
            raise PlanError("The loss of these images is no number, so it scores no channel; check model and labels.")
        seen = True
        yield gradients
    if not seen:
        raise PlanError("There are no images to score channels on; give a data set with training images.")


def by_layer(context: Context, scores: np.ndarray) -> list[np.ndarray]:
    """Return (G,) scores of groups as for each layer the (C,) scores of its channels."""
    return [scores[layer.groups] for layer in context.graph.layers]
