"""What is refused before or after a run, in sentences for a person."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from engine.errors import DatasetError, StorageError, TrainingError
from engine.tasks import TASKS


def check_task(task: str) -> None:
    """Refuse a task that Ultralytics does not train: its models can be pruned and exported here, but not trained.

    Raises:
        TrainingError: Names the tasks that can.
    """
    if task not in TASKS:
        raise TrainingError(
            f"Models for {task} can be pruned and exported here, but not trained or validated; that works for "
            f"{', '.join(TASKS)}."
        )


def device_indices(device: str) -> tuple[int, ...]:
    """Return the GPUs that a device such as ``0``, ``cuda:1`` or ``0,1`` names; none for ``cpu`` and ``mps``."""
    names = str(device).lower().replace("cuda:", "").replace("cuda", "0").split(",")
    return tuple(int(name) for name in names if name.strip().isdigit())


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        TrainingError: Names the device.
    """
    name = str(device).strip().lower()
    indices, named = device_indices(name), name.count(",") + 1
    gpus = torch.cuda.device_count()
    available = (
        name == "cpu"
        or (name == "mps" and torch.backends.mps.is_available())
        or (len(indices) == named and all(index < gpus for index in indices))
    )
    if not available:
        raise TrainingError(f"Device {device!r} is not available on this machine; use cpu or another one.")
    if len(set(indices)) < len(indices):
        raise TrainingError(f"Device {device!r} names a GPU twice; name each once.")


def explained(error: Exception, device: str, batch: int, imgsz: int, data: Path) -> Exception:
    """Return an error of Ultralytics as one for a person where its cause is theirs to mend, else the error itself."""
    text = " ".join(str(error).strip("'\" \n").splitlines()[:1])
    lowered = str(error).lower()
    if "no space left" in lowered or "disk quota" in lowered:
        return StorageError("The disk is full; free some space and start the run again.")
    if "out of memory" in lowered:
        return TrainingError(f"Out of memory on {device} at batch {batch} and {imgsz} px; lower one of them.")
    if re.search(r"loss nan|fitness nan|nan persisted|nan/inf weights", lowered):
        return TrainingError(
            "Training diverged: its loss is no number any more, and no earlier epoch could be gone back to; start it "
            "anew with a lower learning rate (lr0)."
        )
    if "final batch=1" in lowered:
        return TrainingError(
            f"A batch of {batch} leaves a single image over at {imgsz} px, which BatchNorm cannot train on; use "
            "another batch or a larger image size."
        )
    about_data = "dataset" in lowered or "kpt_shape" in lowered
    if about_data and isinstance(
        error, (FileNotFoundError, RuntimeError, SyntaxError, ValueError, KeyError, TypeError)
    ):
        return DatasetError(f"Ultralytics cannot use {data} for this model: {text}")
    return error


def default_device() -> str:
    """Return the first CUDA device where there is one, else the CPU."""
    return "0" if torch.cuda.is_available() else "cpu"
