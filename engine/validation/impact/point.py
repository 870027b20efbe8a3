"""One point: cut a copy of the model in memory, repair it, validate it."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from engine.base.events import Report, only, step_event
from engine.checkpoints.checkpoint import save_checkpoint
from engine.pruning.compensation import compensate
from engine.pruning.recalibration import recalibrate
from engine.pruning.session import Slimming
from engine.pruning.surgery import prune_model
from engine.validation.impact.lossless import recalibration_pays
from engine.validation.impact.settings import MeasureSettings
from engine.validation.impact.subset import Subset, copy_subset
from engine.validation.validator import validate

Metrics = dict[str, float]


class Bench(AbstractContextManager):
    """The images of a measurement, copied aside for as long as it takes, and what is measured on them."""

    def __init__(self, slimming: Slimming, subset: Subset, measure: MeasureSettings, device: str) -> None:
        self._slimming, self._subset, self._measure, self._device = slimming, subset, measure, device

    def __enter__(self) -> Bench:
        self._aside = tempfile.TemporaryDirectory(prefix="accuracy-", ignore_cleanup_errors=True)
        self._folder = Path(self._aside.name)
        self._data = copy_subset(self._subset, self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._aside.cleanup()

    def original(self, report: Report) -> Metrics:
        """Measure the checkpoint as it is."""
        return self._validated(self._slimming.checkpoint.path, report)

    def recalibrates(self, keep: np.ndarray) -> bool:
        """Whether BatchNorm statistics are estimated again after a cut to a (G,) keep mask."""
        if not self._subset.training:
            return False
        checkpoint, graph = self._slimming.checkpoint, self._slimming.graph
        return self._measure.recalibrate_free or recalibration_pays(
            checkpoint.model, graph, keep, compensated=self._measure.compensate
        )

    def cut(self, keep: np.ndarray, report: Report) -> Metrics:
        """Measure what is left by a (G,) keep mask, in exactly the form that ``Slimming.prune`` would write."""
        checkpoint, graph = self._slimming.checkpoint, self._slimming.graph
        model = checkpoint.model
        if self._measure.compensate and not keep.all():
            model = compensate(model, graph, keep)
        pruned = prune_model(model, graph, keep)
        if self.recalibrates(keep):
            pruned = recalibrate(pruned, self._subset.training, checkpoint.imgsz)
        # Through a file, because a checkpoint keeps 16-bit weights and validation should see them.
        return self._validated(save_checkpoint(pruned, self._folder / "pruned.pt", source=checkpoint, made={}), report)

    def _validated(self, weights: Path, report: Report) -> Metrics:
        measured = validate(
            weights,
            self._data,
            imgsz=self._measure.imgsz,
            batch=self._measure.batch,
            device=self._device,
            report=only("step", report),
        )
        return measured.metrics


def counting(report: Report, done: int, steps: int) -> Report:
    """Turn the batches of one validation into the count of finished ones: a wish to stop is heard at each."""
    return lambda event: report(step_event(done, steps))
