"""Ultralytics' own exporter, run on a copy so that nothing appears beside the checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from engine.base.errors import ExportError, StorageError
from engine.base.files import writing_to
from engine.base.runtime import import_ultralytics


def run_exporter(weights: Path, folder: Path, format: str = "onnx", **arguments: Any) -> Path:
    """Export a copy of the weights into a folder and return the file, or folder, that came out.

    Args:
        weights: a checkpoint.
        folder: an empty folder that the caller removes.
        format: as Ultralytics names it.
        arguments: of Ultralytics' ``export``.

    Raises:
        ExportError: the exporter failed.
        StorageError: the folder has no space left.
    """
    copy = folder / "weights.pt"
    try:
        with writing_to(folder):
            shutil.copyfile(weights, copy)  # the exporter writes beside the file it is given
            exported = import_ultralytics().YOLO(str(copy)).export(format=format, device="cpu", **arguments)
    except StorageError:
        raise
    except Exception as error:  # the exporter lets through whatever PyTorch, onnx or an assertion raises
        raise ExportError(f"{weights.name} could not be exported to {format}: {first_line(error)}") from error
    return Path(exported)


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says, its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
