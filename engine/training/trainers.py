"""Ultralytics' own trainers, extended through their hooks, never a fork.

The classic trap is that a trainer rebuilds the full network from its YAML and so undoes the pruning. These trainers
train the module that the checkpoint holds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import distributed, nn
from ultralytics.engine import trainer as trainer_module
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models import yolo
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import strip_optimizer

from engine.base.errors import TrainingError
from engine.base.files import atomic_path
from engine.base.tasks import TASKS
from engine.checkpoints.unpruning import is_marked_description, mark_if_narrower
from engine.datasets.facts import described_facts, module_fit, move_classes
from engine.datasets.fit import REBUILT, REFUSED
from engine.profile.describing import module_facts
from engine.training.resumable import Resumable
from engine.training.trackers import tracker_of


class KeepsModule(Resumable):
    """Trainer mix-in: trains the module that the checkpoint holds, writes whole files, and can be resumed.

    It also trains with several processes on the CPU, which Ultralytics does on GPUs alone.
    """

    last: Path
    best: Path

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set up as Ultralytics does, and count the processes on a CPU too."""
        self.tracker_failures: dict[str, str] = {}
        super().__init__(*args, **kwargs)
        if self.device.type == "cpu" and RANK != -1:
            self.world_size = int(os.environ["WORLD_SIZE"])

    def run_callbacks(self, event: str) -> None:
        """Run the callbacks of an event; a tracker that fails is left out from then on, and the training goes on."""
        for callback in list(self.callbacks.get(event, [])):
            tracker = tracker_of(callback)
            try:
                callback(self)
            except Exception as error:
                if tracker is None:
                    raise
                self.tracker_failures[tracker] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                for hooks in self.callbacks.values():
                    hooks[:] = [hook for hook in hooks if tracker_of(hook) != tracker]

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> nn.Module:
        """Return the checkpoint's module as it is, or Ultralytics' own new one where the data set needs other parts.

        Those are a head for other classes or keypoints, and a first layer for images of other channels.

        Raises:
            TrainingError: The model was pruned, and something else than its own module is asked for.
        """
        if is_marked_description(cfg) and getattr(weights, "yaml", None) != cfg:
            raise TrainingError(
                "A pruned model is trained from its own weights alone; leave pretrained out, or train the other "
                "checkpoint itself."
            )
        if not isinstance(weights, nn.Module):
            return super().get_model(cfg, weights, verbose)
        mark_if_narrower(weights)
        weights.requires_grad_(True)  # checkpoints are stored frozen, and Ultralytics would warn of every parameter
        facts = module_facts(weights, Path(str(self.args.model)).name, self.args.task)
        fit = module_fit(weights, facts, described_facts(self.data))
        if fit.verdict == REFUSED:
            raise TrainingError(fit.sentence)
        if fit.verdict == REBUILT:
            return super().get_model(cfg, weights, verbose)
        move_classes(weights, self.data.get("names"))
        return weights

    def save_model(self) -> bool:
        """Write the checkpoints aside, then rename them: a run may be killed at any time."""
        last, best = self.last, self.best
        self.last, self.best = (path.with_name(f".{path.name}.partial") for path in (last, best))
        try:
            saved = super().save_model()
            for partial, path in ((self.last, last), (self.best, best)):
                if partial.exists():
                    os.replace(partial, path)
        finally:
            for partial in (self.last, self.best):
                partial.unlink(missing_ok=True)
            self.last, self.best = last, best
        return saved

    def final_eval(self) -> None:
        """Strip the checkpoints, whole files at any time, and validate best.pt as Ultralytics does.

        With several processes, whoever started them validates: Ultralytics' own way needs GPUs.
        """
        if RANK == -1:
            with _replaced(trainer_module, "strip_optimizer", _strip):  # Ultralytics' own would write over the files
                super().final_eval()
        elif RANK == 0:
            strip_checkpoints(self.last, self.best)

    def _setup_ddp(self) -> None:
        if self.device.type != "cpu":
            return super()._setup_ddp()
        return distributed.init_process_group("gloo", rank=RANK, world_size=self.world_size)

    def _setup_train(self) -> None:
        on_cpu = self.device.type == "cpu"
        parallel = _ParallelOnCpu if on_cpu else nn.parallel.DistributedDataParallel
        with _replaced(nn.parallel, "DistributedDataParallel", parallel):
            super()._setup_train()


def strip_checkpoints(last: Path, best: Path) -> None:
    """Take out of the checkpoints of a run what only training needs; a run may be killed at any time."""
    results = _strip(last).get("train_results") if last.exists() else None
    if best.exists():
        _strip(best, {"train_results": results})


def _strip(path: Path, updates: dict[str, Any] | None = None) -> dict[str, Any]:
    with atomic_path(path) as aside:
        content = strip_optimizer(path, s=str(aside), updates=updates)
        if not content:  # Ultralytics only logs it
            raise TrainingError(f"{path} cannot be read, so this run has no result; start it anew in another folder.")
        return content


@contextlib.contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    """Let something of a module be another one inside the block."""
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)


class _ParallelOnCpu(nn.parallel.DistributedDataParallel):
    """Takes no device ids, which Ultralytics always passes and a CPU does not have."""

    def __init__(self, module: nn.Module, device_ids: Any = None, **options: Any) -> None:
        super().__init__(module, **options)


class DetectionTrainer(KeepsModule, yolo.detect.DetectionTrainer):
    """Detection."""


class SegmentationTrainer(KeepsModule, yolo.segment.SegmentationTrainer):
    """Instance segmentation."""


class PoseTrainer(KeepsModule, yolo.pose.PoseTrainer):
    """Pose estimation."""


class OBBTrainer(KeepsModule, yolo.obb.OBBTrainer):
    """Oriented boxes."""


class ClassificationTrainer(KeepsModule, yolo.classify.ClassificationTrainer):
    """Classification of whole images."""

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> nn.Module:
        """Return the checkpoint's module with the dropout that was asked for, as Ultralytics sets it in a new one."""
        model = super().get_model(cfg, weights, verbose)
        for module in model.modules():
            if isinstance(module, nn.Dropout) and self.args.dropout:
                module.p = self.args.dropout
        return model


class SemanticTrainer(KeepsModule, yolo.semantic.SemanticSegmentationTrainer):
    """Semantic segmentation: a class for every pixel."""


class DepthTrainer(KeepsModule, yolo.depth.DepthTrainer):
    """Monocular depth: metres for every pixel."""


TRAINERS: dict[str, type[BaseTrainer]] = {name: globals()[task.trainer] for name, task in TASKS.items()}
