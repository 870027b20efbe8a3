"""AutoBatch: how many images at a time, found out as Ultralytics does, before the run that is to use the number.

Ultralytics finds it within the run and for one process alone. Here the number is known, said and written down first,
so that several processes share it, and a run that goes on, or a comparison, uses the real one.
"""

from __future__ import annotations

import gc
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.base.devices import device_indices
from engine.base.events import Report, status_event
from engine.training.running import errors_explained
from engine.training.settings import TrainSettings
from engine.training.trainers import TRAINERS
from engine.validation.checks import check_task


class _Found(Exception):
    """The set-up of a trainer has come to the batch."""


def with_batch(settings: TrainSettings, task: str, report: Report) -> TrainSettings:
    """Return the settings with a number of images as their batch, chosen if they leave it open.

    On a GPU Ultralytics measures how much memory batches take, and aims at 60 % of it, or at the share that ``batch``
    names; elsewhere it takes its default. Each of several GPUs gets what fits into the first; several processes on a
    CPU share the default.

    Args:
        settings: The run.
        task: Ultralytics task of the model.
        report: Receives a ``status`` event with the choice.

    Raises:
        TrainingError, DatasetError: As ``run_training``.
    """
    if not settings.automatic_batch:
        return settings
    check_task(task)
    each, count, measured = _found(settings, task), settings.world_size, bool(device_indices(settings.device))
    batch = each * count if measured else max(each // count, 1) * count
    reason = "by the memory of the GPU" if measured else "Ultralytics' default, for only a GPU's memory is measured"
    shared = f", {batch // count} for each of {count} processes" if count > 1 else ""
    report(status_event(f"AutoBatch chose {batch} images a batch{shared} ({reason})"))
    return replace(settings, batch=batch)


def _found(settings: TrainSettings, task: str) -> int:
    """Return what Ultralytics' own set-up chooses for one process, with the model, teacher and precision of the run."""
    with tempfile.TemporaryDirectory(prefix="autobatch-") as folder, errors_explained(settings):
        alone = replace(
            settings, save_dir=Path(folder) / "run", device=settings.device.split(",")[0], processes=1, resume=False
        )
        trainer: Any = TRAINERS[task](overrides=alone.overrides())
        trainer._build_train_pipeline = _stop  # what follows the choice
        try:
            trainer._setup_train()
        except _Found:
            return int(trainer.batch_size)
        finally:
            del trainer
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    raise AssertionError("the trainer did not come to its batch")


def _stop() -> None:
    raise _Found
