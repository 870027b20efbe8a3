"""Reads off an opened checkpoint what it is."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from ultralytics.nn.modules.head import Detect

from engine.base.imgsz import model_stride
from engine.base.tasks import TASKS
from engine.checkpoints.checkpoint import Checkpoint
from engine.checkpoints.inputs import image_channels
from engine.checkpoints.unpruning import is_pruned
from engine.profile.facts import (
    CheckpointFacts,
    ModelFacts,
    RecordedScore,
    TrainingConditions,
    as_keypoints,
    data_identity,
    scores_of,
)

_MOST_TEXT, _MOST_DEPTH, _MOST_ITEMS = 1000, 8, 10_000


def describe(checkpoint: Checkpoint, gflops: float | None) -> CheckpointFacts:
    """Return what a checkpoint is.

    Args:
        checkpoint: As opened.
        gflops: At GFLOPS_IMGSZ, None where they were not counted.
    """
    arguments = checkpoint.content.get("train_args")
    return CheckpointFacts(
        digest=checkpoint.digest,
        task=short(checkpoint.task),
        names={number: short(name) for number, name in checkpoint.names.items()},
        trained_imgsz=checkpoint.imgsz,
        params=checkpoint.params,
        gflops=gflops,
        size_mb=checkpoint.path.stat().st_size / 1e6,
        stride=model_stride(checkpoint.model),
        fitting=checkpoint_facts(checkpoint, pruned=is_pruned(checkpoint.model)),
        told=file_score(checkpoint),
        made=_plain(checkpoint.made),
        training=_plain(arguments) if isinstance(arguments, dict) else {},
        end2end=has_end2end_head(checkpoint.model),
        centres=gives_centres(checkpoint.model),
    )


def checkpoint_facts(checkpoint: Checkpoint, *, pruned: bool = False) -> ModelFacts:
    """Return what a data set has to fit; whether the model is ``pruned`` takes a moment to find out."""
    name, single_cls = checkpoint.path.name, checkpoint.single_cls
    return module_facts(checkpoint.model, name, checkpoint.task, single_cls=single_cls, pruned=pruned)


def module_facts(
    model: nn.Module, name: str, task: str, *, single_cls: bool = False, pruned: bool = False
) -> ModelFacts:
    """Return the same of a module.

    Args:
        model: An Ultralytics model.
        name: What sentences call it.
        task: As Ultralytics names it.
        single_cls: Whether all classes of a data set count as one.
        pruned: Whether no part of it can be built anew.
    """
    return ModelFacts(
        name=short(name),
        names=class_names(model) if task not in TASKS or TASKS[task].per_class else (),
        channels=image_channels(model),
        keypoints=as_keypoints(getattr(model, "kpt_shape", None)) if task == "pose" else None,
        single_cls=single_cls,
        pruned=pruned,
        moves_classes=task != "classify",
    )


def class_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a model's classes in the order of their numbers; numbers where it has none."""
    names = getattr(model, "names", None) or [str(number) for number in range(getattr(model, "nc", None) or 0)]
    return (
        tuple(short(str(name)) for _, name in sorted(names.items()))
        if isinstance(names, dict)
        else tuple(short(str(name)) for name in names)
    )


def has_end2end_head(model: nn.Module) -> bool:
    """Whether a model has an end-to-end head beside the other one."""
    return getattr(_head(model), "one2one_cv2", None) is not None


def gives_centres(model: nn.Module) -> bool:
    """Whether the final boxes of a model are centres and sizes as shares of the image, as those of RT-DETR are."""
    return getattr(model, "task", None) == "detect" and not isinstance(_head(model), Detect)


def _head(model: nn.Module) -> nn.Module | None:
    layers = getattr(model, "model", None)
    return layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None


def file_score(checkpoint: Checkpoint) -> RecordedScore:
    """Return the accuracy that a checkpoint tells of itself; its metrics are empty where it tells none."""
    trained = checkpoint.content.get("train_metrics") or {}
    trained = {str(key).removeprefix("metrics/").removesuffix("(B)"): value for key, value in trained.items()}
    metrics = scores_of(checkpoint.made.get("metrics") or {}) or scores_of(trained)
    arguments = checkpoint.content.get("train_args") or {}
    data, imgsz = (arguments.get(name) if isinstance(arguments, dict) else None for name in ("data", "imgsz"))
    if not data or not isinstance(imgsz, int):
        return RecordedScore(metrics, None)
    # A path alone says little, since most descriptions are called data.yaml; the classes say more.
    names = ", ".join(checkpoint.names.values())
    return RecordedScore(metrics, TrainingConditions(short(f"{data_identity(data)} {names}"), imgsz))


def short(text: str) -> str:
    """Return a text from a file, cut where it is longer than any that means something."""
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"


def _plain(value: Any, depth: int = 0) -> Any:
    """Return what a file says as JSON-able values; what has no place among them as its text."""
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, dict) and depth < _MOST_DEPTH:
        return {short(str(key)): _plain(each, depth + 1) for key, each in list(value.items())[:_MOST_ITEMS]}
    if isinstance(value, (list, tuple)) and depth < _MOST_DEPTH:
        return [_plain(each, depth + 1) for each in value[:_MOST_ITEMS]]
    return short(str(value))
