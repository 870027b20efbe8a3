"""One run from its settings to its checkpoints: here, or spread over several processes; anew, or gone on with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import get_num_params, strip_optimizer

from engine.errors import DatasetError, StopRequested, StorageError, TrainingError
from engine.training.checks import check_task, explained
from engine.training.progress import STATE_NAME, Progress, Report, short_metrics, student_of
from engine.training.settings import TrainResult, TrainSettings
from engine.training.trainers import RESUME_NAME, TRAINERS


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
    """
    check_task(task)
    settings.save_dir.mkdir(parents=True, exist_ok=True)
    if settings.world_size > 1:
        from engine.training.distributed import run_distributed

        result = run_distributed(settings, task, report)
        return replace(result, metrics=_measured(result.best, settings, report))
    return train_here(settings, task, report)


def train_here(settings: TrainSettings, task: str, report: Report) -> TrainResult:
    """Train in this process, which may be one of several; errors as ``run_training``."""
    overrides = settings.overrides()
    saved = resumable(settings.save_dir) if settings.resume else None
    if settings.resume and RANK in {-1, 0}:
        _say_where(saved, settings.epochs, report)
    if saved and saved.epochs_done >= settings.epochs:
        return _finished(saved, settings, report)
    if saved:
        overrides["resume"] = str(saved.path)
    with _errors_explained(settings):
        trainer = TRAINERS[task](overrides=overrides)
        progress = Progress(settings, report)
        progress.attach(trainer)
        trainer.train()
    if not trainer.best.exists() and not trainer.last.exists():
        raise TrainingError("Training ended before its first checkpoint; give it at least one whole epoch.")
    if not trainer.stopped and RANK in {-1, 0}:
        _forget_state(settings.save_dir)
    return TrainResult(
        best=trainer.best,
        last=trainer.last,
        params=get_num_params(student_of(trainer.model)),
        epochs_done=trainer.epoch + 1,
        stopped=trainer.stopped,
        metrics=short_metrics(trainer.metrics or {}),
        last_metrics=progress.last_metrics,
    )


class SavedRun:
    """The state that a stopped or killed run left in its folder."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        """Take the file and what it holds."""
        self.path = path
        self.epochs_done: int = content["epoch"] + 1
        self.metrics = short_metrics(content.get("train_metrics") or {})


def resumable(save_dir: Path) -> SavedRun | None:
    """Return the state from which a run can go on, None where there is none (no epoch was finished, or all were).

    A killed run has it in last.pt; from the last.pt of one that was asked to stop Ultralytics has stripped it.
    """
    for name in ("last.pt", RESUME_NAME):
        path = save_dir / "weights" / name
        if not path.exists():
            continue
        try:
            content = load_checkpoint(path)[1]
        except Exception as error:  # the loader lets through whatever a damaged file provokes
            raise TrainingError(f"{path} cannot be read, so this run cannot go on; start it anew.") from error
        if content.get("optimizer") is not None and content.get("epoch", -1) >= 0:
            return SavedRun(path, content)
    return None


def _say_where(saved: SavedRun | None, epochs: int, report: Report) -> None:
    text = f"Going on after epoch {saved.epochs_done} of {epochs}" if saved else "No finished epoch to go on from"
    with contextlib.suppress(StopRequested):  # the first step will be told again
        report({"kind": "status", "text": text})


def _finished(saved: SavedRun, settings: TrainSettings, report: Report) -> TrainResult:
    """Do what remained of a run that was killed after its last epoch: strip its checkpoints, validate the best."""
    last, best = saved.path.with_name("last.pt"), saved.path.with_name("best.pt")
    for path in (last, best):
        strip_optimizer(path)
    _forget_state(settings.save_dir)
    return TrainResult(
        best=best,
        last=last,
        params=get_num_params(load_checkpoint(last)[0]),
        epochs_done=settings.epochs,
        stopped=False,
        metrics=_measured(best, settings, report) if RANK == -1 else {},
        last_metrics=saved.metrics,
    )


def _measured(weights: Path, settings: TrainSettings, report: Report) -> dict[str, float]:
    """Return the metrics of a checkpoint on the validation split, on the first of the run's devices."""
    from engine.evaluation import validate

    try:
        return validate(
            weights,
            settings.data,
            imgsz=settings.imgsz,
            batch=settings.batch,
            device=settings.device.split(",")[0],
            report=lambda event: report(event) if event["kind"] == "status" else None,
        ).metrics
    except StopRequested:
        return {}  # the checkpoints are there; they are only not measured


def _forget_state(save_dir: Path) -> None:
    for name in (RESUME_NAME, STATE_NAME):
        (save_dir / "weights" / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _errors_explained(settings: TrainSettings) -> Iterator[None]:
    try:
        yield
    except (TrainingError, DatasetError, StorageError):
        raise
    except Exception as error:
        raise explained(error, settings.device, settings.batch, settings.imgsz, settings.data) from error
