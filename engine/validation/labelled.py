"""Labelled training images for criteria that look at some: read as Ultralytics validates, from a copy set aside."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.base.imgsz import model_stride
from engine.base.runtime import import_ultralytics, logs_to_stderr
from engine.checkpoints.checkpoint import Checkpoint
from engine.datasets import DatasetInfo
from engine.pruning.criteria import Batch
from engine.validation.checks import check_task, explained
from engine.validation.impact.subset import Subset, copy_subset

BATCH = 8
"Images at a time."


def labelled_batches(
    checkpoint: Checkpoint, info: DatasetInfo, images: Sequence[Path]
) -> Callable[[], Iterable[Batch]]:
    """Return what reads images with their labels in batches of eight, from the first one at every call.

    They are scaled to the size that the checkpoint was trained at, without augmentation; they stay in memory, most of
    them as bytes.

    Args:
        checkpoint: Says task, image size and classes.
        info: The data set.
        images: Files of it.

    Raises:
        TrainingError: Models for this task cannot be trained, so there is no loss.
        DatasetError: The data set cannot be used.
    """
    check_task(checkpoint.task)
    with tempfile.TemporaryDirectory(prefix="scores-", ignore_cleanup_errors=True) as name, logs_to_stderr():
        folder = Path(name)
        data = copy_subset(Subset(info, tuple(images), (), ""), folder)
        try:
            validator = _validator(checkpoint, data, folder)
            batches = list(validator.get_dataloader(validator.data["val"], BATCH))
        except Exception as error:
            raise explained(error, "cpu", BATCH, checkpoint.imgsz, info.yaml_path) from error
    return lambda: (validator.preprocess(dict(batch)) for batch in batches)


def _validator(checkpoint: Checkpoint, data: Path, folder: Path) -> Any:
    """Return Ultralytics' validator of the checkpoint's task, ready to load the validation split of a data set."""
    import torch
    from ultralytics.data.utils import check_cls_dataset, check_det_dataset

    model = import_ultralytics().YOLO(str(checkpoint.path))
    arguments = {
        "task": checkpoint.task,
        "mode": "val",
        "data": str(data),
        "imgsz": checkpoint.imgsz,
        "batch": BATCH,
        "rect": False,
        "workers": 0,
        "device": "cpu",
        "plots": False,
        "single_cls": checkpoint.single_cls,
    }
    validator = model._smart_load("validator")(save_dir=folder / "val", args=arguments)
    validator.data = (check_cls_dataset if checkpoint.task == "classify" else check_det_dataset)(str(data))
    validator.device, validator.names = torch.device("cpu"), checkpoint.names
    validator.stride = model_stride(checkpoint.model)
    return validator
