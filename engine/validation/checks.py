"""Before and after a run: which device validates, and what is refused, in sentences for a person."""

from __future__ import annotations

import re
from pathlib import Path

from engine.base.errors import DatasetError, StorageError, TrainingError
from engine.base.tasks import TASKS


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
