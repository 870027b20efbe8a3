"""What a criterion may look at: the graph and the model, and images with gradients where some are given."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from engine.base.errors import PlanError
from engine.profile.graph import ChannelGraph

if TYPE_CHECKING:
    import torch
    from torch import nn
    from ultralytics.nn.tasks import BaseModel

NEEDS_IMAGES = "This criterion looks at images; give the data set that the model was trained for (--data)."
Batch = dict[str, Any]
"Labelled images as Ultralytics' data loaders give them: ``img`` is (N, C, H, W) float32 from 0 to 1."


class Criterion(Protocol):
    """What a file of this folder offers."""

    def channel_scores(self, context: Context) -> list[np.ndarray]:
        """Return for each layer of the graph the (C,) scores of its channels."""
        ...


def task_loss(model: BaseModel, batch: Batch) -> torch.Tensor:
    """Return the loss that Ultralytics trains a model with, summed over its parts."""
    from ultralytics.cfg import DEFAULT_CFG_DICT, get_cfg

    given = getattr(model, "args", {})  # a model that was never trained has none
    given = given if isinstance(given, dict) else vars(given)
    model.args = get_cfg(overrides={key: value for key, value in given.items() if key in DEFAULT_CFG_DICT})
    head = model.model[-1]
    if not hasattr(model, "nc") and hasattr(head, "nc"):  # the loss of RT-DETR reads what only a trainer sets
        model.nc = head.nc
    return model.loss(batch)[0].sum()


@dataclass(frozen=True)
class Context:
    """What a criterion may look at."""

    graph: ChannelGraph
    model: Any
    "The ``nn.Module`` that the graph was traced from, not to be changed; None for criteria of ``MODEL_FREE``."
    seed: int = 0
    batches: Callable[[], Iterable[Batch]] | None = None
    "Reads labelled images, from the first one at every call; None where no images were given."
    loss: Callable[[nn.Module, Batch], torch.Tensor] = task_loss

    def images(self) -> Iterator[torch.Tensor]:
        """Yield the images of each batch, (N, C, H, W) float32 from 0 to 1.

        Raises:
            PlanError: no images were given.
        """
        return (batch["img"] for batch in self._read())

    def backward_passes(self, prepare: Callable[[nn.Module], None] | None = None) -> Iterator[nn.Module]:
        """Yield a copy of the model once for each batch, its parameters' ``grad`` that of the loss on this batch.

        The copy is in evaluation mode, so that BatchNorm keeps its statistics and nothing is random.

        Args:
            prepare: Called with the copy before the first batch, such as to register hooks.

        Raises:
            PlanError: no images were given, or the loss cannot be computed on them.
        """
        model = copy.deepcopy(self.model).float().eval().requires_grad_(True)
        if prepare:
            prepare(model)
        for batch in self._read():
            model.zero_grad()
            try:
                self.loss(model, batch).backward()
            except Exception as error:  # of whatever kind Ultralytics raises where a batch lacks what a loss needs
                raise PlanError(
                    f"This model's loss cannot be computed on these images ({type(error).__name__}: {error}); choose a "
                    "criterion that looks at the model alone."
                ) from error
            yield model

    def _read(self) -> Iterable[Batch]:
        if self.batches is None:
            raise PlanError(NEEDS_IMAGES)
        return self.batches()
