"""What can be told of an export before the work: whether it can be, and at which image size."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ultralytics.nn.tasks import BaseModel

from engine.base.errors import ExportError, StorageError
from engine.base.events import Report, status_event
from engine.base.files import require_free_space, writing_to
from engine.base.imgsz import rounded_sides
from engine.base.tasks import TASKS
from engine.checkpoints.checkpoint import Checkpoint
from engine.export.settings import NMS_TASKS, ExportSettings
from engine.runtimes.formats import format_named

# An exported file holds float32 weights; the checkpoint usually holds them in half precision, once or twice.
_SIZE_FACTOR = 3


def check_target(save_path: Path, format: str) -> None:
    """Find out whether a file of a format can be written; folders that are missing are made after the work.

    Raises:
        ExportError: the name has another suffix.
        StorageError: there is a folder of that name, or nothing can be written there.
    """
    suffix = format_named(format).suffix
    if save_path.suffix.lower() != suffix:
        raise ExportError(f"{save_path.name} does not end in {suffix}; name the exported file like model{suffix}.")
    if save_path.is_dir():
        raise StorageError(f"{save_path} is a folder; choose another name, or remove it.")
    existing = next(folder for folder in save_path.absolute().parents if folder.exists())
    with writing_to(save_path.parent), tempfile.TemporaryFile(dir=existing):
        pass


def check_settings(checkpoint: Checkpoint, settings: ExportSettings, report: Report) -> None:
    """Find out whether a model and its data set suit the settings, and the temporary folder has space for the file.

    Raises:
        DatasetError: the data set has other images, or other classes, so that no accuracy can be measured on it.
        ExportError: there is nothing to suppress.
        StorageError: there is not enough space.
    """
    if settings.nms and checkpoint.task not in NMS_TASKS:
        raise ExportError(f"A {checkpoint.task} model finds no boxes, so there is nothing to suppress; leave NMS out.")
    if settings.data is not None:
        _check_data(checkpoint, settings.data, report)
    require_free_space(Path(tempfile.gettempdir()), 3 * _SIZE_FACTOR * checkpoint.path.stat().st_size)


def _check_data(checkpoint: Checkpoint, data: Path, report: Report) -> None:
    from engine.datasets import check_dataset
    from engine.datasets.facts import require_images, require_measurable

    info = check_dataset(data, checkpoint.task)
    if checkpoint.task not in TASKS:
        require_images(checkpoint, info)
    elif words := require_measurable(checkpoint, info).sentence:
        report(status_event(words))


def exported_stride(checkpoint: Checkpoint) -> int:
    """Return what the exporter rounds image sizes up to, in pixels: 32 for most models, 1 for those that classify."""
    model: BaseModel = checkpoint.model
    return int(max(model.stride))


def rounded_size(checkpoint: Checkpoint, settings: ExportSettings) -> tuple[int, int]:
    """Return the (height, width) in pixels that the exporter makes of the one asked for."""
    height, width = rounded_sides(settings.size, exported_stride(checkpoint))
    return height, width


def rounding(checkpoint: Checkpoint, settings: ExportSettings) -> str:
    """Return how the image size differs from the one asked for, empty where it does not."""
    height, width = rounded_size(checkpoint, settings)
    if [height, width] == settings.size:
        return ""
    stride = exported_stride(checkpoint)
    return f" for {height} × {width} px, the size rounded up to the model's stride of {stride}"
