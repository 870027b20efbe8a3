"""Points of a study: cut a copy of the model in memory, repair it, validate it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.errors import StopRequested
from engine.base.events import Report, StepEvent, only, status_event, step_event
from engine.base.measurements import validating_device
from engine.base.tasks import score_words
from engine.checkpoints.checkpoint import save_checkpoint
from engine.pruning.compensation import compensate
from engine.pruning.recalibration import recalibrate
from engine.pruning.session import Slimming
from engine.pruning.surgery import prune_model
from engine.validation.impact.lossless import recalibration_pays
from engine.validation.impact.settings import MeasureSettings
from engine.validation.impact.subset import Subset, choose_subset, copy_subset
from engine.validation.study import Study, StudyFile, settings_of
from engine.validation.validator import validate

Metrics = dict[str, float]


@dataclass(frozen=True)
class Cut:
    """What is measured for one point."""

    name: str
    "Of the point in its study."
    told: str
    "What a person calls it."
    keep: np.ndarray | None = None
    "(G,) keep mask; None: the checkpoint as it is."
    about: dict[str, Any] = field(default_factory=dict)
    "What the point says beside its metrics."


DENSE = Cut("dense", "As it is")


class Bench(AbstractContextManager):
    """The images of a study, copied aside while they are needed, and what is measured on them."""

    def __init__(self, slimming: Slimming, data: Path, measure: MeasureSettings, device: str) -> None:
        """Choose the images.

        Raises:
            DatasetError: The data set cannot be used.
        """
        self.slimming, self.measure, self.device = slimming, measure, validating_device(device)
        self.subset: Subset = choose_subset(data, measure, slimming.checkpoint.task)

    def study(self, kind: str, *, blocks: Sequence[dict[str, str]] = (), **settings: Any) -> Study:
        """Return the study, without points, that is measured here with ``settings`` of solver and importance."""
        return Study(
            kind=kind,
            weights=self.slimming.checkpoint.digest,
            settings=settings_of(measure=self.measure, **settings),
            data_digest=self.subset.digest,
            device=self.device,
            data=str(self.subset.info.yaml_path),
            images=len(self.subset.validation),
            name=self.slimming.checkpoint.path.name,
            blocks=blocks,
        )

    def __enter__(self) -> Bench:
        self._aside = tempfile.TemporaryDirectory(prefix="accuracy-", ignore_cleanup_errors=True)
        self._folder = Path(self._aside.name)
        self._data = copy_subset(self.subset, self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._aside.cleanup()

    def recalibration_images(self, keep: np.ndarray) -> list[Path]:
        """Return the images that BatchNorm statistics are estimated on again after a cut to a (G,) keep mask."""
        checkpoint, graph, measure = self.slimming.checkpoint, self.slimming.graph, self.measure
        pays = measure.recalibrate_free or recalibration_pays(
            checkpoint.model, graph, keep, compensated=measure.compensate
        )
        return list(self.subset.training) if pays else []

    def metrics(self, keep: np.ndarray | None, report: Report) -> Metrics:
        """Validate what a (G,) keep mask leaves, exactly as ``Slimming.prune`` would write it; None: the checkpoint."""
        checkpoint, graph = self.slimming.checkpoint, self.slimming.graph
        if keep is None:
            return self._validated(checkpoint.path, report)
        model = checkpoint.model
        if self.measure.compensate and not keep.all():
            model = compensate(model, graph, keep)
        pruned = prune_model(model, graph, keep)
        if images := self.recalibration_images(keep):
            pruned = recalibrate(pruned, images, checkpoint.imgsz)
        # Through a file, because a checkpoint keeps 16-bit weights and validation should see them.
        return self._validated(save_checkpoint(pruned, self._folder / "pruned.pt", source=checkpoint, made={}), report)

    def _validated(self, weights: Path, report: Report) -> Metrics:
        measured = validate(
            weights,
            self._data,
            imgsz=self.measure.imgsz,
            batch=self.measure.batch,
            device=self.device,
            report=only("step", report),
        )
        return measured.metrics


def fill(file: StudyFile, cuts: Sequence[Cut], bench: Bench, report: Report) -> bool:
    """Measure the points that a study lacks, one after another, and return whether all of them are there.

    Args:
        file: Where points are kept, and looked for first.
        cuts: What to measure, in this order.
        bench: The images.
        report: Receives ``step`` events that count points, and a ``status`` for each; where it raises StopRequested,
            what was measured until then stays.

    Raises:
        DatasetError, TrainingError, StorageError: As ``engine.validation.validator.validate``.
    """
    try:
        with bench:
            for done, cut in enumerate(cuts):
                # The batches of a validation become the count of points: a wish to stop is heard at each.
                step = step_event(done, len(cuts))
                report(step)
                if cut.name not in file.study.points:
                    metrics = bench.metrics(cut.keep, _repeated(step, report))
                    file.put(cut.name, {**cut.about, "metrics": metrics})
                report(status_event(f"{cut.told}: {score_words(file.study.metrics(cut.name))}"))
            report(step_event(len(cuts), len(cuts)))
    except StopRequested:
        return False
    return True


def _repeated(step: StepEvent, report: Report) -> Report:
    """Return a report that tells this step, whatever it is told."""
    return lambda event: report(step)
