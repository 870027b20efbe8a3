"""A trainer mix-in: a run that was stopped or killed goes on as the very run that it was.

Ultralytics resumes from a checkpoint that holds the averaged weights in half precision. Here the whole state of the
trainer is written at the end of each epoch, and put back into a trainer that was built as for a new run. An epoch that
was cut short leaves no trace and is done again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils import RANK

from engine.base.tasks import short_metrics
from engine.training.randomness import Orders, orders_of
from engine.training.resuming import STATE_NAME, note_trained
from engine.training.sparsity import Sparsifier
from engine.training.state import capture, differences, restore, restore_images, student_of, write_state


def set_bn_momentum(model: nn.Module, momentum: float) -> None:
    """Let running statistics follow the batches by this share of each."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = momentum


class EpochCutShort(Exception):
    """Raised in every process after the same batch to leave an epoch that is not done."""


class Resumable(BaseTrainer):
    """Keeps the state of a run at every epoch's end, and goes on from one."""

    keeps_state = False
    "Whether the state is written; not where somebody uses the trainer without a run of this project."
    saved_state: dict[str, Any] | None = None
    "What to go on from; set before the training."
    stopped = False
    "The run was asked to stop before its end."
    interrupted = False
    "It was asked so within an epoch, of which nothing is kept."
    sparsifier: Sparsifier | None = None
    _sparsifier_before: dict[str, Tensor]
    "Its state when the present epoch began."
    batches_done = 0
    "Of the present epoch."
    _accumulate = 1
    _last_step = -1
    "Number of the batch, counted over the whole run, after which the optimizer stepped last."
    start_metrics: dict[str, float] | None = None
    "Of that validation, under their short names."
    best_epoch: int | None = None
    "That best.pt is of, from 1; 0 for the model that training began with, None where it was not measured."
    bn_momentum: float | None = None
    "Share of a batch in the running statistics of BatchNorm while training; None for what each layer says."
    _held_back = 0
    "By how many batches Ultralytics, which counts from its own start, would step too early."
    _in_epoch = _begun = False

    # What Ultralytics sets
    epoch: int
    start_epoch: int
    metrics: dict[str, Any] | None
    train_loader: InfiniteDataLoader
    train_time_start: float
    stop: bool
    save_dir: Path
    save_period: int
    wdir: Path
    last: Path
    best: Path

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set up as Ultralytics does, and watch the epochs."""
        super().__init__(*args, **kwargs)
        self.add_callback("on_train_start", Resumable._begin_run)
        self.add_callback("on_train_epoch_start", Resumable._begin_epoch)
        self.add_callback("on_train_batch_end", Resumable._end_batch)
        self.add_callback("on_train_epoch_end", Resumable._end_order)
        self.add_callback("on_fit_epoch_end", Resumable._end_epoch)

    # How far it is

    @property
    def seconds(self) -> float:
        """How long the run has trained, over all its parts."""
        return time.time() - self.train_time_start

    @property
    def gathered_batches(self) -> int:
        """Batches before the end of this epoch whose gradients no step has used yet."""
        return (self.epoch + 1) * len(self.train_loader) - 1 - self._last_step

    @property
    def kept_start(self) -> bool | None:
        """Whether no epoch was better than the model that training began with; None where it was not measured."""
        return None if self.best_epoch is None else self.best_epoch == 0

    @property
    def changed(self) -> list[str]:
        """What is not as it was when the state was taken, in words."""
        return differences(self, self.saved_state) if self.saved_state else []

    # Going on

    def _build_train_pipeline(self) -> None:
        self._held_back, self._last_step = 0, -1
        super()._build_train_pipeline()
        Orders(self.train_loader)

    def _setup_train(self) -> None:
        super()._setup_train()
        if self.bn_momentum is not None:  # the average, which is what is handed out, keeps its own
            set_bn_momentum(student_of(self.model), self.bn_momentum)
        if self.saved_state:
            restore(self, self.saved_state)
        goes_on = self.saved_state or (self.resume and self.keeps_state)
        if goes_on and RANK in {-1, 0} and self.args.save:
            # That of a stopped run was stripped, and Ultralytics goes back to it where losses are not numbers.
            self.epoch = self.start_epoch - 1
            self.save_model()

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Resume as Ultralytics does, and know the metrics of the last epoch."""
        super().resume_training(ckpt)
        if ckpt and self.resume and RANK in {-1, 0}:
            self.metrics = dict(ckpt.get("train_metrics") or self.metrics or {})
            self.fitness = self.metrics.pop("fitness", None)

    def _begin_run(self) -> None:
        if self.saved_state and not self.args.time:  # a limit in hours is for each part of a run
            self.train_time_start -= self.saved_state["seconds"]

    def measure_start(self) -> None:
        """Validate the model as an epoch 0 that later ones have to beat, and write it as last.pt and best.pt.

        So best.pt is never worse than what training began with. Called before the first step.
        """
        self.epoch = -1
        batch = self.preprocess_batch(self.test_loader.collate_fn([self.test_loader.dataset[0]]))
        model = self.ema.ema.eval()
        with torch.no_grad():  # the validator sums losses by the names that a first batch would have told
            loss, self.loss_items = model.loss(batch, model(batch["img"]))
        self.loss = loss.sum()
        self.metrics, self.fitness = self.validate()
        if RANK in {-1, 0}:
            self.start_metrics = short_metrics(self.metrics)
            self.stopper.best_fitness, self.stopper.best_epoch = self.fitness, 0
            period, self.save_period = self.save_period, -1  # it is no epoch to keep a file of
            if self.args.save:
                self.save_model()
            self.save_period = period
        self.epoch = self.start_epoch

    def save_model(self) -> bool:
        """Save as Ultralytics does, and know of which epoch best.pt is."""
        saved = super().save_model()
        if self.start_metrics is not None and self.best_fitness == self.fitness:
            self.best_epoch = self.epoch + 1
        return saved

    def _begin_epoch(self) -> None:
        if self.sparsifier and not self._in_epoch:
            self._sparsifier_before = {name: value.clone() for name, value in self.sparsifier.state_dict().items()}
        self.batches_done, self._in_epoch = 0, True
        if self.saved_state and self.epoch == self.start_epoch and not self._begun:
            restore_images(self, self.saved_state)
            self._last_step = self.epoch * len(self.train_loader) - 1 - self.saved_state["gathered"]
            self._held_back = self._last_step + 1
            self.saved_state = None  # it has served
        elif self.resume and self.keeps_state and not self._begun:
            self.epoch -= 1
            self._keep_state()  # from a run of an older version on, what follows is exact
            self.epoch += 1
        self._begun = True

    @property
    def accumulate(self) -> int:
        """Batches whose gradients are gathered before a step; until the first step, those before this process too."""
        return self._accumulate + self._held_back

    @accumulate.setter
    def accumulate(self, batches: int) -> None:
        self._accumulate = batches

    def optimizer_step(self) -> None:
        """Step, and remember after which batch."""
        super().optimizer_step()
        self._last_step, self._held_back = self.epoch * len(self.train_loader) + self.batches_done, 0

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Go back to the last checkpoint where the loss is no number, and take the sparsifier back with the weights.

        What it saw and chose in the epoch that is now done again would count twice.
        """
        # Ultralytics takes the first epoch of a process for the first of the run, from which there is no way back.
        first, self.start_epoch = self.start_epoch, 0
        try:
            recovered = super()._handle_nan_recovery(epoch)
        finally:
            self.start_epoch = first
        if recovered:
            self._last_step, self._held_back = -1, 0  # it counts as at its own start
            if self.sparsifier:
                self.sparsifier.load_state_dict(self._sparsifier_before)
        return recovered

    # The end of an epoch, and of the run

    def _end_batch(self) -> None:
        self.batches_done += 1

    def _end_order(self) -> None:
        orders_of(self.train_loader).end_epoch()

    def _end_epoch(self) -> None:
        under_way, self._in_epoch = self._in_epoch, False
        if not (under_way and self.keeps_state):
            return  # the call after the last epoch repeats the validation of best.pt
        if self.stop and RANK in {-1, 0}:
            metrics = short_metrics(self.metrics or {})
            note_trained(self.save_dir, self.epoch + 1, metrics, self.start_metrics, self.kept_start)
        self._keep_state(ended=self.stop)

    def _keep_state(self, *, ended: bool = False) -> None:
        state = capture(self)  # all processes, also where the first alone knows that the run ends here
        if state and not ended:
            write_state(self.wdir / STATE_NAME, state)

    def _do_train(self) -> None:
        try:
            super()._do_train()
        except EpochCutShort:
            self.interrupted, self._in_epoch = True, False
            self.epoch -= 1
            if self.epoch >= 0:
                self.final_eval()
            else:
                self._forget_start()
            if RANK in {-1, 0}:
                self.run_callbacks("on_train_end")
            for loader in (self.train_loader, self.test_loader):
                loader.close()
        except BaseException:
            if self._in_epoch and self.epoch == 0:
                self._forget_start()
            raise

    def _forget_start(self) -> None:
        """Remove the model that training began with where there is no epoch: it is no result of a training."""
        if RANK in {-1, 0}:
            for path in (self.last, self.best):
                path.unlink(missing_ok=True)
