"""One run from its settings to its checkpoints: here, or spread over several processes; anew, or gone on with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import get_num_params

from engine.base.errors import DatasetError, StopRequested, StorageError, TrainingError
from engine.base.events import Report, only, status_event
from engine.base.files import file_digest
from engine.base.tasks import short_metrics
from engine.checkpoints.restricted import allow_torchvision
from engine.training.progress import Progress
from engine.training.resuming import (
    RUN_NAME,
    SavedRun,
    forget_state,
    forget_unfinished_epochs,
    note_start,
    note_stranger,
    saved_run,
)
from engine.training.settings import TrainResult, TrainSettings
from engine.training.state import read_state, student_of
from engine.training.trackers import tracked
from engine.training.trainers import TRAINERS, strip_checkpoints
from engine.validation.checks import check_task, explained


def run_training(settings: TrainSettings, task: str, report: Report) -> TrainResult:
    """Train, with or without a sparsity penalty, and return where the checkpoints are.

    Args:
        settings: The run.
        task: Ultralytics task of the model.
        report: Receives step and epoch events; may raise ``StopRequested``.

    Raises:
        TrainingError: The task, the device or the settings do not allow the run.
        DatasetError: Ultralytics refuses the data set.
        StorageError: The disk is full.
        StopRequested: ``report`` raised it before the first epoch was done, so that there is nothing to keep.
    """
    check_task(task)
    settings.save_dir.mkdir(parents=True, exist_ok=True)
    digest = _digest(settings.weights)
    saved = saved_run(settings.save_dir) if settings.resume else None
    if saved is None:
        note_start(settings, digest)
    elif not (settings.save_dir / RUN_NAME).exists():
        (note_stranger if saved.path else note_start)(replace(settings, resume=False), digest)
    if saved:
        _say_where(saved, settings.epochs, report)
    if saved and not saved.path and saved.trained is None:
        forget_state(settings.save_dir)  # what an unfinished first epoch left is of no use
    if saved and not saved.exact:
        forget_unfinished_epochs(settings.save_dir, saved.epochs_done)
    if saved and saved.trained is not None:
        result = _trained(settings, saved)
    elif settings.world_size > 1:
        from engine.training.distributed import run_distributed

        result = run_distributed(settings, task, report)
    else:
        result = train_here(settings, task, report)
    if result.stopped and not result.epochs_done:
        raise StopRequested("Stopped before the first epoch was done: there is no model yet, and going on begins anew.")
    if not result.metrics:
        with contextlib.suppress(StopRequested):  # the checkpoints are there; they are only not measured
            result = replace(result, metrics=measure(result.best, settings, report))
    if not result.stopped:
        forget_state(settings.save_dir)
    return result


def train_here(settings: TrainSettings, task: str, report: Report) -> TrainResult:
    """Train in this process, which may be one of several; errors as ``run_training``."""
    if settings.weights.endswith(".pt"):
        allow_torchvision(settings.weights)  # one of several processes has not opened the checkpoint before
    overrides = settings.overrides()
    saved = saved_run(settings.save_dir) if settings.resume else None
    if saved and saved.path and not saved.exact:
        # The saved arguments name the folder that the run began in; a workspace may have been moved since.
        overrides |= {"resume": str(saved.path), "save_dir": str(settings.save_dir.resolve())}
    with errors_explained(settings):
        with tracked(settings.tracker, settings.save_dir):
            trainer = TRAINERS[task](overrides=overrides)
            trainer.keeps_state = True
            trainer.bn_momentum = settings.bn_momentum
            if saved and saved.path and saved.exact:
                trainer.saved_state = read_state(saved.path)
            progress = Progress(settings, report)
            progress.attach(trainer)
            trainer.train()
    if not trainer.stopped and not trainer.best.exists() and not trainer.last.exists():
        raise TrainingError("Training ended before its first checkpoint; give it at least one whole epoch.")
    return TrainResult(
        best=trainer.best,
        last=trainer.last,
        params=get_num_params(student_of(trainer.model)),
        epochs_done=trainer.epoch + 1,
        stopped=trainer.stopped,
        metrics=short_metrics(trainer.metrics or {}) if RANK == -1 else {},
        last_metrics=progress.last_metrics,
        start=trainer.start_metrics,
        kept_start=trainer.kept_start,
    )


def _digest(weights: str) -> str:
    """Return the digest of a checkpoint, the name itself of a model YAML."""
    return file_digest(weights) if weights.endswith(".pt") else weights


def _say_where(saved: SavedRun, epochs: int, report: Report) -> None:
    if saved.trained is not None:
        text = f"All {saved.epochs_done} epochs are trained; doing what remained"
    elif saved.path:
        text = f"Going on after epoch {saved.epochs_done} of {epochs}"
        if not saved.exact:
            text += ", less exactly than newer runs do: from averaged weights, with other random numbers"
    else:
        text = "No finished epoch to go on from; starting at the first"
    with contextlib.suppress(StopRequested):  # the first step will be told again
        report(status_event(text))


def _trained(settings: TrainSettings, saved: SavedRun) -> TrainResult:
    """Return the result of a run that ended after its last epoch, with its checkpoints stripped; not yet measured."""
    last, best = (settings.save_dir / "weights" / name for name in ("last.pt", "best.pt"))
    strip_checkpoints(last, best)
    return TrainResult(
        best=best,
        last=last,
        params=get_num_params(load_checkpoint(last)[0]),
        epochs_done=saved.epochs_done,
        stopped=False,
        metrics={},
        last_metrics=saved.trained or {},
        start=saved.start,
        kept_start=saved.kept_start,
    )


def measure(weights: Path, settings: TrainSettings, report: Report) -> dict[str, float]:
    """Return the metrics of a checkpoint on the validation split of a run, under the run's conditions.

    Only statuses are reported: the steps of a validation are none of the training. Errors as ``validate``.
    """
    from engine.validation.validator import validate

    return validate(
        weights,
        settings.data,
        imgsz=settings.imgsz,
        batch=settings.whole_batch,
        device=settings.device,
        report=only("status", report),
    ).metrics


@contextlib.contextmanager
def errors_explained(settings: TrainSettings) -> Iterator[None]:
    """Raise errors of Ultralytics as those for a person, where their cause is theirs to mend."""
    try:
        yield
    except (TrainingError, DatasetError, StorageError):
        raise
    except Exception as error:
        raise explained(error, settings.device, settings.whole_batch, settings.imgsz, settings.data) from error
