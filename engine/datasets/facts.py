"""What a checkpoint and a data set are, as far as they have to fit each other."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch import nn

from engine.base.errors import DatasetError
from engine.checkpoints.checkpoint import Checkpoint
from engine.checkpoints.unpruning import is_pruned
from engine.datasets import DatasetInfo
from engine.datasets.fit import (
    REBUILT,
    REFUSED,
    DataFacts,
    Fit,
    data_facts,
    fit_for_measuring,
    fit_for_training,
    moved_classes,
)
from engine.profile.describing import checkpoint_facts, class_names
from engine.profile.facts import ModelFacts, as_keypoints

if TYPE_CHECKING:
    from ultralytics.nn.tasks import BaseModel


def training_fit(
    checkpoint: Checkpoint, info: DatasetInfo, *, single_cls: bool | None = None, pruned: bool = False
) -> Fit:
    """Say what training a checkpoint on a data set would do to it.

    Args:
        checkpoint: What training starts from.
        info: The checked data set.
        single_cls: Whether all classes count as one; as the checkpoint was trained, by default.
        pruned: It will be pruned before it is trained.
    """
    facts, data = _counted(checkpoint, single_cls), data_facts(info)
    return fit_for_training(replace(facts, pruned=True), data) if pruned else module_fit(checkpoint.model, facts, data)


def measuring_fit(checkpoint: Checkpoint, info: DatasetInfo, *, single_cls: bool | None = None) -> Fit:
    """Say whether a checkpoint can be measured on a data set, and what the numbers then mean; as ``training_fit``."""
    return fit_for_measuring(_counted(checkpoint, single_cls), data_facts(info))


def require_measurable(checkpoint: Checkpoint, info: DatasetInfo, *, single_cls: bool | None = None) -> Fit:
    """Return how a checkpoint and a data set go together for measuring.

    Raises:
        DatasetError: They do not.
    """
    fit = measuring_fit(checkpoint, info, single_cls=single_cls)
    if fit.verdict == REFUSED:
        raise DatasetError(fit.sentence)
    return fit


def _counted(checkpoint: Checkpoint, single_cls: bool | None) -> ModelFacts:
    """Return what a data set has to fit, with all classes counted as one, or not, where that is said expressly."""
    facts = checkpoint_facts(checkpoint)
    return facts if single_cls is None else replace(facts, single_cls=single_cls)


def require_images(checkpoint: Checkpoint, info: DatasetInfo) -> None:
    """Refuse a data set whose images the model does not take; its labels do not matter.

    Raises:
        DatasetError: The images have other channels.
    """
    facts = checkpoint_facts(checkpoint)
    fit = fit_for_measuring(facts, DataFacts(facts.names, info.channels, facts.keypoints))
    if fit.verdict == REFUSED:
        raise DatasetError(fit.sentence)


def module_fit(model: nn.Module, facts: ModelFacts, data: DataFacts) -> Fit:
    """Return the fit for training of a module; whether it is pruned is only asked where that matters."""
    fit = fit_for_training(facts, data)
    return fit_for_training(replace(facts, pruned=is_pruned(model)), data) if fit.verdict == REBUILT else fit


def described_facts(description: dict[str, Any]) -> DataFacts:
    """Return what a data set shows from a description as Ultralytics has read it."""
    names = description.get("names") or ()
    names = tuple(names[number] for number in sorted(names)) if isinstance(names, dict) else tuple(names)
    return DataFacts(names, description.get("channels", 3), as_keypoints(description.get("kpt_shape")))


def move_classes(model: BaseModel, names: dict[int, str] | None) -> None:
    """Put a model's outputs for classes that the new names have too where the new names have them.

    Ultralytics does the same where it builds a new model; here the module itself stays, in whatever shape it has.
    """
    old, kept = class_names(model), getattr(model, "names", None)
    if not names or not moved_classes(old, [names[number] for number in sorted(names)]):
        return
    model.names = dict(names)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model._remap_cls_by_names(before, SimpleNamespace(names=dict(enumerate(old))), verbose=False)
    model.names = kept  # the trainer sets them
