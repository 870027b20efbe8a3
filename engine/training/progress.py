"""Trainer callbacks: events out, the sparsifier in, and a person's wish to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import get_num_params, unwrap_model

from engine.errors import StopRequested, TrainingError
from engine.files import atomic_path
from engine.graph import ChannelGraph, trace
from engine.sparsity import Sparsifier
from engine.training.resuming import STATE_NAME
from engine.training.settings import TrainSettings, short_metrics

Report = Callable[[dict[str, Any]], None]
STEP_INTERVAL_S = 1.0
"Steps are reported at most this often."


def student_of(model: nn.Module) -> nn.Module:
    """Return the model that is trained, out of its wrappers for several processes and for distillation."""
    model = unwrap_model(model)
    return getattr(model, "student_model", model)


class Progress:
    """Turns trainer callbacks into events, drives the sparsifier, and passes on a wish to stop.

    With several processes each has one; the first alone reports.
    """

    def __init__(self, settings: TrainSettings, report: Report) -> None:
        """Take the settings of the run; ``report`` receives events and may raise ``StopRequested``."""
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
        if RANK > 0:
            return
        try:
            self._report(event)
        except StopRequested:
            trainer.stopped = trainer.stop = True

    def _start(self, trainer: BaseTrainer) -> None:
        model = student_of(trainer.model)
        if self._settings.sparsity:
            graph = trace(model)
            _refuse_frozen(model, graph, self._settings.extra)
            self._sparsifier = Sparsifier(model, graph, self._settings.sparsity)
            self._sparsifier.attach(trainer.optimizer)
            state = trainer.wdir / STATE_NAME
            if self._settings.resume:
                self._load_state(state)
            trainer.save_sparsity = lambda: self._save_state(state)
            trainer.restore_sparsity = lambda: self._load_state(state)
        self._send(trainer, {"kind": "status", "text": f"Training {get_num_params(model):,} parameters"})

    def _save_state(self, path: Path) -> None:
        with atomic_path(path) as temporary:
            torch.save(self._sparsifier.state_dict(), temporary)

    def _load_state(self, path: Path) -> None:
        if path.exists():
            self._sparsifier.load_state_dict(torch.load(path, weights_only=True))

    def _epoch_starts(self, trainer: BaseTrainer) -> None:
        self._step, self._epoch_start = 0, time.monotonic()

    def _batch_starts(self, trainer: BaseTrainer) -> None:
        if self._sparsifier:
            done = trainer.epoch + (self._step + 1) / len(trainer.train_loader)
            self._sparsifier.progress = min(done / trainer.epochs, 1.0)

    def _batch_ends(self, trainer: BaseTrainer) -> None:
        self._step += 1
        now, steps = time.monotonic(), len(trainer.train_loader)
        if now - self._last_step_time >= STEP_INTERVAL_S or self._step == steps:
            self._last_step_time = now
            self._report_step(trainer, steps)
        if distributed.is_initialized():  # all processes leave the epoch at the same batch, or they would wait forever
            wish = torch.tensor(float(trainer.stop), device=trainer.device)
            distributed.all_reduce(wish, distributed.ReduceOp.MAX)
            trainer.stop = bool(wish)
        trainer.interrupted = trainer.stop and self._step < steps

    def _report_step(self, trainer: BaseTrainer, steps: int) -> None:
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
        if self._sparsifier and distributed.is_initialized() and not self._sparsifier.agrees():
            raise TrainingError("The training processes ended up with different gammas; start the run anew on one.")
        if self._sparsifier and trainer.ema:
            self._sparsifier.carry_zeros(student_of(trainer.ema.ema))

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


def _refuse_frozen(model: nn.Module, graph: ChannelGraph, extra: Mapping[str, Any]) -> None:
    """Refuse layers that are held still while sparse training should empty channels of them.

    Without gradients every score is 0, so the targeted method would choose just these channels, and a penalty would
    meet nothing that holds the gammas up.

    Raises:
        TrainingError: Names the first of them.
    """
    frozen = [
        layer.name
        for layer in graph.layers
        if (layer.groups > 0).any() and not model.get_submodule(layer.name).weight.requires_grad
    ]
    if frozen:
        raise TrainingError(
            f"freeze={extra.get('freeze')} holds {len(frozen)} layers still that sparse training chooses channels from "
            f"({frozen[0]} is the first), and without gradients it cannot tell which of them matter; leave freeze out "
            "here, and freeze in plain training or fine-tuning."
        )


def _losses(trainer: BaseTrainer) -> dict[str, float]:
    training = trainer.label_loss_items(trainer.tloss) if trainer.tloss else {}
    validation = {name: value for name, value in (trainer.metrics or {}).items() if name.startswith("val/")}
    return {name: float(value) for name, value in {**training, **validation}.items()}
