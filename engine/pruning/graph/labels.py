"""Label tensors: for every element of a feature map, the channel that it belongs to.

A label is ``0`` (no channel), ``k`` (channel k, and the element is zero once gamma and beta of channel k are zero) or
``-k`` (channel k, but the element is not zero then: it lies before its BatchNorm, or an offset was added to it).

Labels are stored with size 1 along every dimension along which they do not vary, so that a feature map of shape
(B, C, H, W) usually has labels of shape (1, C, 1, 1) and tracing costs almost nothing.
"""

from __future__ import annotations

from torch import Tensor


def compress(labels: Tensor) -> Tensor:
    """Return labels with every dimension along which they do not vary narrowed to size 1."""
    for dim in range(labels.dim()):
        if labels.shape[dim] > 1 and bool((labels == labels.narrow(dim, 0, 1)).all()):
            labels = labels.narrow(dim, 0, 1)
    return labels


def along(vector: Tensor, dim: int, dims: int) -> Tensor:
    """Return a (C,) vector as labels of ``dims`` dimensions that vary along ``dim`` alone."""
    shape = [1] * dims
    shape[dim] = len(vector)
    return vector.reshape(shape)


def varying_dims(labels: Tensor) -> list[int]:
    """Return the dimensions along which compressed labels vary."""
    return [dim for dim, size in enumerate(labels.shape) if size > 1]


def vector_along(labels: Tensor, dim: int, size: int) -> Tensor | None:
    """Return the channels along one dimension as a (size,) vector, or None if labels vary along another one too."""
    dim %= labels.dim()
    if any(other != dim for other in varying_dims(labels)):
        return None
    return labels.flatten().expand(size)


def shifted(labels: Tensor) -> Tensor:
    """Mark every element as not zero when its channel is removed."""
    return -labels.abs()
