"""Training: Ultralytics' own trainers, extended through their hooks, never a fork.

The classic trap is that a trainer rebuilds the full network from its YAML and so undoes the pruning. These trainers
train the module that the checkpoint holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models import yolo
from ultralytics.utils.torch_utils import get_num_params, unwrap_model

from engine.errors import DatasetError, StopRequested, StorageError, TrainingError
from engine.graph import trace
from engine.sparsity import Sparsifier, SparsitySettings
from engine.sparsity.reach import warmup_epochs

Report = Callable[[dict[str, Any]], None]
TRAINING_BYTES = 200_000_000
"Free space that a run should find: two checkpoints with their optimizer state, and results."
LEAST = {"epochs": 1, "imgsz": 32, "batch": 1, "nbs": 1, "workers": 0, "seed": 0, "patience": 0}
"Smallest value of each number."
OPTIMIZERS = ("SGD", "AdamW", "Adam", "MuSGD", "RMSprop", "Adamax", "NAdam", "RAdam", "auto")
STEP_INTERVAL_S = 0.5
"Steps are reported at most this often."


@dataclass(frozen=True)
class TrainSettings:
    """One training run."""

    weights: str
    "Checkpoint to start from, or a model YAML to start from scratch (plain training only)."
    data: Path
    "Data set description with an absolute ``path``."
    save_dir: Path
    epochs: int
    imgsz: int
    batch: int = 16
    device: str = "cpu"
    optimizer: str = "SGD"
    "Explicit: ``auto`` ignores the learning rate."
    lr0: float = 0.01
    "Initial learning rate."
    cos_lr: bool = False
    nbs: int = 64
    "Nominal batch size: gradients of about so many images are gathered before an optimizer step."
    workers: int = 2
    seed: int = 0
    patience: int = 100
    "Epochs without improvement after which training ends early; 0 for never."
    sparsity: SparsitySettings | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    "Further Ultralytics training arguments."

    def __post_init__(self) -> None:
        for name, smallest in LEAST.items():
            if getattr(self, name) < smallest:
                raise TrainingError(f"{name} is {getattr(self, name)}; it must be at least {smallest}.")
        check_device(self.device)
        if self.optimizer.lower() not in {name.lower() for name in OPTIMIZERS}:
            raise TrainingError(f"There is no optimizer {self.optimizer!r}; use {', '.join(OPTIMIZERS)}.")
        if not self.lr0 > 0:
            raise TrainingError(f"A learning rate (lr0) of {self.lr0:g} trains nothing; use a positive number.")

    def overrides(self) -> dict[str, Any]:
        """Return Ultralytics' arguments for this run."""
        return {
            "model": self.weights,
            "data": str(self.data),
            "epochs": self.epochs,
            "imgsz": self.imgsz,
            "batch": self.batch,
            "device": self.device,
            "optimizer": self.optimizer,
            "lr0": self.lr0,
            "cos_lr": self.cos_lr,
            "nbs": self.nbs,
            "workers": self.workers,
            "seed": self.seed,
            "patience": self.patience,
            "warmup_epochs": warmup_epochs(self.epochs),
            # Ultralytics starts biases at a rate of 0.1, which suits random weights and throws trained ones back.
            **({} if self.weights.endswith((".yaml", ".yml")) else {"warmup_bias_lr": 0.0}),
            "project": str(self.save_dir.resolve().parent),
            "name": self.save_dir.name,
            "exist_ok": True,
            "plots": False,
            **self.extra,
        }


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind."""

    best: Path
    last: Path
    params: int
    epochs_done: int
    stopped: bool
    "The run was asked to stop before its last epoch."
    metrics: dict[str, float]
    "Of best.pt on the validation split: mAP50, mAP50-95, precision, recall where the task has them."
    last_metrics: dict[str, float]
    "The same of last.pt."


class KeepsModule:
    """Trainer mix-in: trains the module that the checkpoint holds instead of rebuilding one from YAML."""

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> nn.Module:
        """Return the checkpoint's module as it is, or Ultralytics' own new one where classes differ."""
        if not isinstance(weights, nn.Module):
            return super().get_model(cfg, weights, verbose)
        if _class_count(weights) in (None, self.data["nc"]):
            return weights
        rebuilt = super().get_model(cfg, weights, verbose)
        if not _same_body(rebuilt, weights):
            raise TrainingError(
                f"This pruned model knows {_class_count(weights)} classes and the data set has {self.data['nc']}; "
                "fine-tune it on a data set with its own classes, or train the dense model on the new ones first."
            )
        return rebuilt


def _class_count(model: nn.Module) -> int | None:
    names = getattr(model, "names", None)
    return getattr(model, "nc", None) or (len(names) if names else None)


def _same_body(first: nn.Module, second: nn.Module) -> bool:
    """Whether two models agree in all layers before the head."""
    shapes = [{k: v.shape for k, v in model.model[:-1].state_dict().items()} for model in (first, second)]
    return shapes[0] == shapes[1]


class DetectionTrainer(KeepsModule, yolo.detect.DetectionTrainer):
    """Detection."""


class SegmentationTrainer(KeepsModule, yolo.segment.SegmentationTrainer):
    """Instance segmentation."""


class PoseTrainer(KeepsModule, yolo.pose.PoseTrainer):
    """Pose estimation."""


class OBBTrainer(KeepsModule, yolo.obb.OBBTrainer):
    """Oriented boxes."""


TRAINERS: dict[str, type[BaseTrainer]] = {
    "detect": DetectionTrainer,
    "segment": SegmentationTrainer,
    "pose": PoseTrainer,
    "obb": OBBTrainer,
}


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
    try:
        trainer = TRAINERS[task](overrides=settings.overrides())
        progress = _Progress(settings, report)
        progress.attach(trainer)
        trainer.train()
    except (TrainingError, DatasetError, StorageError):
        raise
    except Exception as error:
        raise explained(error, settings.device, settings.batch, settings.imgsz, settings.data) from error
    if not trainer.best.exists() and not trainer.last.exists():
        raise TrainingError("Training ended before its first checkpoint; give it at least one whole epoch.")
    return TrainResult(
        best=trainer.best,
        last=trainer.last,
        params=get_num_params(unwrap_model(trainer.model)),
        epochs_done=trainer.epoch + 1,
        stopped=progress.stopped,
        metrics=short_metrics(trainer.metrics or {}),
        last_metrics=progress.last_metrics,
    )


def check_task(task: str) -> None:
    """Refuse a task that can be pruned and exported here, but not trained or validated.

    Raises:
        TrainingError: Names the tasks that can.
    """
    if task not in TRAINERS:
        raise TrainingError(
            f"Models for {task} can be pruned and exported here, but not trained or validated; that works for "
            f"{', '.join(TRAINERS)}."
        )


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have, and several at once.

    Raises:
        TrainingError: Names the device.
    """
    name = str(device).strip().lower()
    if "," in name:
        raise TrainingError(f"Training uses one device, and {device!r} names several; choose one, such as 0.")
    index = name.removeprefix("cuda").removeprefix(":") or "0"
    known = name in ("cpu", "mps") or (index.isdigit() and int(index) < torch.cuda.device_count())
    if not known or (name == "mps" and not torch.backends.mps.is_available()):
        raise TrainingError(f"Device {device!r} is not available on this machine; use cpu or another one.")


def explained(error: Exception, device: str, batch: int, imgsz: int, data: Path) -> Exception:
    """Return an error of Ultralytics as one for a person where its cause is theirs to mend, else the error itself."""
    text = " ".join(str(error).strip("'\" \n").splitlines()[:1])
    lowered = str(error).lower()
    if "no space left" in lowered or "disk quota" in lowered:
        return StorageError("The disk is full; free some space and start the run again.")
    if "out of memory" in lowered:
        return TrainingError(f"Out of memory on {device} at batch {batch} and {imgsz} px; lower one of them.")
    about_data = "dataset" in lowered or "kpt_shape" in lowered
    if about_data and isinstance(
        error, (FileNotFoundError, RuntimeError, SyntaxError, ValueError, KeyError, TypeError)
    ):
        return DatasetError(f"Ultralytics cannot use {data} for this model: {text}")
    return error


class _Progress:
    """Turns trainer callbacks into events, drives the sparsifier, and passes on a wish to stop."""

    def __init__(self, settings: TrainSettings, report: Report) -> None:
        self.stopped = False
        self.last_metrics: dict[str, float] = {}
        self._settings, self._report = settings, report
        self._sparsifier: Sparsifier | None = None
        self._step, self._last_step_time, self._epoch_start = 0, 0.0, 0.0

    def attach(self, trainer: BaseTrainer) -> None:
        """Hang on the trainer's own callbacks."""
        for event, callback in {
            "on_train_start": self._start,
            "on_train_epoch_start": self._epoch_starts,
            "on_train_batch_start": self._batch_starts,
            "on_train_batch_end": self._batch_ends,
            "on_train_epoch_end": self._epoch_trained,
            "on_fit_epoch_end": self._epoch_ends,
        }.items():
            trainer.add_callback(event, callback)

    def _send(self, trainer: BaseTrainer, event: dict[str, Any]) -> None:
        try:
            self._report(event)
        except StopRequested:
            self.stopped = True
            trainer.stop = True

    def _start(self, trainer: BaseTrainer) -> None:
        model = unwrap_model(trainer.model)
        if self._settings.sparsity:
            self._sparsifier = Sparsifier(model, trace(model), self._settings.sparsity)
            self._sparsifier.attach(trainer.optimizer)
        self._send(trainer, {"kind": "status", "text": f"Training {get_num_params(model):,} parameters"})

    def _epoch_starts(self, trainer: BaseTrainer) -> None:
        self._step, self._epoch_start = 0, time.monotonic()

    def _batch_starts(self, trainer: BaseTrainer) -> None:
        if self._sparsifier:
            done = trainer.epoch + (self._step + 1) / len(trainer.train_loader)
            self._sparsifier.progress = min(done / trainer.epochs, 1.0)

    def _batch_ends(self, trainer: BaseTrainer) -> None:
        self._step += 1
        now, steps = time.monotonic(), len(trainer.train_loader)
        if now - self._last_step_time < STEP_INTERVAL_S and self._step < steps:
            return
        self._last_step_time = now
        losses = {name: float(value) for name, value in (trainer.tloss or {}).items()}
        self._send(
            trainer,
            {
                "kind": "step",
                "epoch": trainer.epoch + 1,
                "epochs": trainer.epochs,
                "step": self._step,
                "steps": steps,
                "losses": losses,
            },
        )

    def _epoch_trained(self, trainer: BaseTrainer) -> None:
        if self._sparsifier and trainer.ema:
            self._sparsifier.carry_zeros(trainer.ema.ema)

    def _epoch_ends(self, trainer: BaseTrainer) -> None:
        if trainer.epoch >= trainer.epochs or not self._epoch_start:
            return  # the call after the last epoch repeats the validation of best.pt
        self.last_metrics = short_metrics(trainer.metrics or {})
        event = {
            "kind": "epoch",
            "epoch": trainer.epoch + 1,
            "epochs": trainer.epochs,
            "seconds": round(time.monotonic() - self._epoch_start, 2),
            "metrics": self.last_metrics,
            "losses": _losses(trainer),
            "lr": max(group["lr"] for group in trainer.optimizer.param_groups),
        }
        if self._sparsifier:
            event["gammas"] = self._sparsifier.statistics()
        self._epoch_start = 0.0
        self._send(trainer, event)


def _losses(trainer: BaseTrainer) -> dict[str, float]:
    training = trainer.label_loss_items(trainer.tloss) if trainer.tloss else {}
    validation = {name: value for name, value in (trainer.metrics or {}).items() if name.startswith("val/")}
    return {name: float(value) for name, value in {**training, **validation}.items()}


def short_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """Return Ultralytics' metrics under short names: ``metrics/mAP50(B)`` -> ``mAP50``; losses are left out."""
    return {
        name.removeprefix("metrics/").removesuffix("(B)"): float(value)
        for name, value in metrics.items()
        if name.startswith("metrics/")
    }


def default_device() -> str:
    """Return the first CUDA device where there is one, else the CPU."""
    return "0" if torch.cuda.is_available() else "cpu"
