"""The exported file: written by Ultralytics' exporter, converted to fewer bits, signed, put in its place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from engine.base.events import Report, status_event
from engine.base.files import atomic_path, require_free_space
from engine.base.images import read_input
from engine.checkpoints.checkpoint import Checkpoint
from engine.export.feasible import rounded_size
from engine.export.metadata import lineage
from engine.export.settings import END2END, ExportSettings
from engine.runtimes.formats import Format, format_named


@dataclass(frozen=True)
class Written:
    """What the exporter left in a temporary folder."""

    path: Path
    "A file, or a folder."
    full: Path | None
    "The fp32 file that it was converted from, None where it was not."
    format: Format
    imgsz: tuple[int, int]
    "Height and width in pixels, after the exporter rounded them up."
    opset: int | None
    "Of ONNX."


def write_export(checkpoint: Checkpoint, settings: ExportSettings, head: str, folder: Path, report: Report) -> Written:
    """Export a checkpoint into an empty folder.

    Args:
        checkpoint: what to export; its file is not touched.
        settings: what to export to.
        head: from ``choose_head``.
        folder: an empty folder that the caller removes.
        report: receives ``status`` and ``step`` events; may raise ``StopRequested``.

    Raises:
        ExportError: the exporter failed, or its file cannot be converted.
        StorageError: the folder has no space left.
    """
    format = format_named(settings.format)
    # To Ultralytics, False means the end-to-end head, and None the other one with nothing behind it.
    nms = False if head == END2END else settings.nms or None
    arguments = {"imgsz": settings.size, "dynamic": settings.dynamic, "nms": nms, **format.arguments(settings)}
    exported, full = format.export(checkpoint.path, folder, arguments), None
    imgsz = format.image_size(exported) or rounded_size(checkpoint, settings)
    if settings.precision in format.converted:
        full, exported = exported, folder / f"{settings.precision}{format.suffix}"
        paths = _calibration(checkpoint, settings, report)
        # Read one by one when asked for: a set need not fit into memory.
        images = (read_input(path, checkpoint.channels, *imgsz, checkpoint.task) for path in paths)
        format.convert(full, exported, settings.precision, images, len(paths), report)
    format.sign(exported, lineage(checkpoint, settings.precision))
    return Written(exported, full, format, imgsz, format.opset(exported))


def _calibration(checkpoint: Checkpoint, settings: ExportSettings, report: Report) -> list[Path]:
    """Return the training images that int8 is calibrated on, none for other precisions."""
    if settings.precision != "int8":
        return []
    paths = dataset_images(settings.data, "train", settings.calibration_images)
    report(status_event(f"Calibrating on {len(paths)} training images"))
    return paths


def dataset_images(data: Path | None, split: str, count: int) -> list[Path]:
    """Return so many images of a split, evenly spread; none without a data set."""
    if data is None:
        return []
    from engine.datasets import check_dataset, image_files, spread

    return spread(image_files(check_dataset(data), split), count)


def place(packed: Path, save_path: Path) -> None:
    """Copy across file systems into a file aside, which is then renamed; raises StorageError."""
    require_free_space(save_path.parent, packed.stat().st_size)
    with atomic_path(save_path) as aside:
        shutil.copyfile(packed, aside)
