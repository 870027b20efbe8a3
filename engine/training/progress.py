"""Trainer callbacks: events out, the sparsifier in, and a person's wish to stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import get_num_params

from engine.base.errors import StopRequested, TrainingError
from engine.base.events import AnyEvent, EpochEvent, Report, status_event, step_event
from engine.base.tasks import short_metrics
from engine.pruning.gammas import collect_gammas
from engine.pruning.graph import ChannelGraph, trace
from engine.training.resumable import EpochCutShort, Resumable
from engine.training.resuming import OLD_SPARSITY_NAME
from engine.training.settings import TrainSettings
from engine.training.sparsity import Sparsifier
from engine.training.state import read_plain, student_of
from engine.training.trackers import GammaRecord, log_gammas

STEP_INTERVAL_S = 1.0
"Steps are reported at most this often."


class Progress:
    """Turns trainer callbacks into events, drives the sparsifier, and passes on a wish to stop.

    With several processes each has one; the first alone reports.
    """

    def __init__(self, settings: TrainSettings, report: Report) -> None:
        """Take the settings of the run; ``report`` receives events and may raise ``StopRequested``."""
        self.last_metrics: dict[str, float] = {}
        self._settings, self._report = settings, report
        self._sparsifier: Sparsifier | None = None
        self._told_failures: set[str] = set()
        self._last_step_time, self._epoch_start = 0.0, 0.0

    def attach(self, trainer: Resumable) -> None:
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
        if self._settings.tracker and RANK in (-1, 0):
            # Before the trackers' own callbacks: some of them end the step there.
            trainer.callbacks["on_fit_epoch_end"].insert(0, self._track)

    def _track(self, trainer: Resumable) -> None:
        if trainer.epoch >= trainer.epochs or not self._epoch_start:
            return  # the call after the last epoch repeats the validation of best.pt
        strength, sparsity = None, self._settings.sparsity
        if self._sparsifier and sparsity and sparsity.method != "targeted":
            strength = sparsity.strength_at(self._sparsifier.progress)
        values = np.concatenate([layer.values for layer in collect_gammas(student_of(trainer.model))])
        working = [name for name in self._settings.tracker if name not in trainer.tracker_failures]
        trainer.tracker_failures.update(log_gammas(trainer, working, GammaRecord(values, strength)))
        for name in trainer.tracker_failures.keys() - self._told_failures:
            self._told_failures.add(name)
            text = f"The tracker {name} failed and records no more: {trainer.tracker_failures[name]}"
            self._send(trainer, status_event(text))

    def _send(self, trainer: Resumable, event: AnyEvent) -> None:
        if RANK > 0:
            return
        try:
            self._report(event)
        except StopRequested:
            trainer.stopped = True

    def _start(self, trainer: Resumable) -> None:
        model = student_of(trainer.model)
        if self._settings.sparsity:
            graph = trace(model)
            _refuse_frozen(model, graph, self._settings.extra)
            self._sparsifier = Sparsifier(model, graph, self._settings.sparsity)
            self._sparsifier.attach(trainer.optimizer)
            if state := self._sparsifier_state(trainer):
                self._sparsifier.load_state_dict(state)
            trainer.sparsifier = self._sparsifier
        if trainer.start_epoch:
            self.last_metrics = short_metrics(trainer.metrics or {})
        elif trainer.args.val and self._settings.weights.endswith(".pt"):
            trainer.measure_start()
            self._send(trainer, {"kind": "start", "metrics": trainer.start_metrics or {}})
        if trainer.changed:
            text = f"Going on with {', '.join(trainer.changed)}: the digits will not be those of a run in one go"
            self._send(trainer, status_event(text))
        self._send(trainer, status_event(f"Training {get_num_params(model):,} parameters"))

    def _sparsifier_state(self, trainer: Resumable) -> dict[str, Any] | None:
        if trainer.saved_state:
            return trainer.saved_state["sparsifier"]
        old = trainer.wdir / OLD_SPARSITY_NAME
        return read_plain(old) if self._settings.resume and old.exists() else None

    def _epoch_starts(self, trainer: Resumable) -> None:
        self._epoch_start = time.monotonic()

    def _batch_starts(self, trainer: Resumable) -> None:
        if self._sparsifier:
            done = trainer.epoch + (trainer.batches_done + 1) / len(trainer.train_loader)
            self._sparsifier.progress = min(done / trainer.epochs, 1.0)

    def _batch_ends(self, trainer: Resumable) -> None:
        now, steps = time.monotonic(), len(trainer.train_loader)
        is_last = trainer.batches_done == steps
        if now - self._last_step_time >= STEP_INTERVAL_S or is_last:
            self._last_step_time = now
            self._report_step(trainer, steps)
        if distributed.is_initialized():  # all processes leave the epoch at the same batch, or they would wait forever
            wish = torch.tensor(float(trainer.stopped), device=trainer.device)
            distributed.all_reduce(wish, distributed.ReduceOp.MAX)
            trainer.stopped = bool(wish)
        if trainer.stopped and not is_last:
            self._epoch_start = 0.0
            raise EpochCutShort

    def _report_step(self, trainer: Resumable, steps: int) -> None:
        losses = {name: float(value) for name, value in (trainer.tloss or {}).items()}
        at = {"epoch": trainer.epoch + 1, "epochs": trainer.epochs}
        self._send(trainer, step_event(trainer.batches_done, steps, **at, losses=losses))

    def _epoch_trained(self, trainer: Resumable) -> None:
        if self._sparsifier and distributed.is_initialized() and not self._sparsifier.agrees():
            raise TrainingError("The training processes ended up with different gammas; start the run anew on one.")
        if self._sparsifier and trainer.ema:
            self._sparsifier.carry_zeros(student_of(trainer.ema.ema))

    def _epoch_ends(self, trainer: Resumable) -> None:
        if not self._epoch_start:
            return  # the call after the last epoch repeats the validation of best.pt
        ended = trainer.stop
        self.last_metrics = short_metrics(trainer.metrics or {})
        event: EpochEvent = {
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
        trainer.stopped = trainer.stopped and not ended  # a wish that came too late
        trainer.stop = trainer.stop or trainer.stopped


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
        if (layer.groups > 0).any() and not model.get_parameter(f"{layer.name}.weight").requires_grad
    ]
    if frozen:
        raise TrainingError(
            f"freeze={extra.get('freeze')} holds {len(frozen)} layers still that sparse training chooses channels from "
            f"({frozen[0]} is the first), and without gradients it cannot tell which of them matter; leave freeze out "
            "here, and freeze in plain training or fine-tuning."
        )


def _losses(trainer: Resumable) -> dict[str, float]:
    training = trainer.label_loss_items(trainer.tloss) if trainer.tloss else {}
    validation = {name: value for name, value in (trainer.metrics or {}).items() if name.startswith("val/")}
    return {name: float(value) for name, value in {**training, **validation}.items()}
