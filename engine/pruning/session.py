"""One opened checkpoint, ready for slimming: preview any plan, then prune by one.

The terminal and the jobs go through this, pages through its counterpart on a profile, and both through the same code,
so that a preview and the model that pruning writes come from the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from engine.base.imgsz import ImageSize, model_stride
from engine.checkpoints.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
from engine.profile.convolutions import ConvolutionRun
from engine.profile.cost import Costs, Operations
from engine.profile.counting import convolutions_run, count_operations, count_parameters
from engine.pruning.compensation import compensate
from engine.pruning.criteria import Context, ImportanceSettings, channel_scores
from engine.pruning.graph import trace
from engine.pruning.planning import Planner
from engine.pruning.solver import Budget, SolverSettings, require_feasible
from engine.pruning.surgery import prune_model

__all__ = ["Slimming"]


class Slimming(Planner):
    """A checkpoint with its channel graph and scores."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Trace the model (about a second).

        Raises:
            PlanError: The model cannot be traced, or nothing of it can be pruned.
        """
        self.checkpoint = checkpoint
        model = checkpoint.model
        super().__init__(trace(model), checkpoint.path.name, checkpoint.digest, model_stride(model))

    @classmethod
    def open(cls, path: str | Path) -> Slimming:
        """Open and trace a checkpoint file; errors as ``open_checkpoint`` and the constructor."""
        return cls(open_checkpoint(path))

    def parameters(self) -> Mapping[str, int]:
        """Return name -> elements of every parameter."""
        return count_parameters(self.checkpoint.model)

    def operations(self, imgsz: ImageSize) -> Operations:
        """Return the operations of the whole model. Raises PlanError where it does not run at that size."""
        return count_operations(self.checkpoint.model, imgsz)

    def convolutions(self, imgsz: ImageSize) -> Sequence[ConvolutionRun]:
        """Return the convolutions that a pass runs at an image size where the model runs."""
        return convolutions_run(self.checkpoint.model, imgsz)

    def channel_scores(self, importance: ImportanceSettings) -> Sequence[np.ndarray]:
        """Return for each layer of the graph the (C,) scores of its channels, by a criterion that needs no images."""
        return channel_scores(importance.criterion, Context(self.graph, self.checkpoint.model, importance.seed))

    def prune(
        self,
        target: float | Budget,
        save_path: str | Path,
        settings: SolverSettings | None = None,
        *,
        imgsz: ImageSize = 640,
        importance: ImportanceSettings | None = None,
        costs: Costs | None = None,
        compensated: bool = True,
        recalibration: Sequence[Path] = (),
    ) -> Path:
        """Write the pruned model as an ordinary Ultralytics checkpoint.

        Args:
            target: A ratio from 0 to 0.95, or a budget.
            save_path: Where to write; ends in ``.pt``.
            settings: Limits of the solver.
            imgsz: Image size, pixels or (height, width), of a GFLOPs budget.
            importance: How channels are scored.
            costs: What a budget is counted by, as for ``plan``.
            compensated: Fold what removed channels still emitted into what reads them.
            recalibration: Unlabelled images to estimate the BatchNorm statistics on again, at the size that the
                checkpoint was trained at; none by default.

        Raises:
            PlanError: The target cannot be met or would empty a layer.
            StorageError: The file cannot be written.
        """
        settings, importance = settings or SolverSettings(), importance or ImportanceSettings()
        if not isinstance(target, Budget):
            require_feasible(self.ranking(settings, importance), target)
        plan = self.plan(target, settings, imgsz, importance, costs)
        model = self.checkpoint.model
        if compensated and not plan.keep.all():
            model = compensate(model, self.graph, plan.keep)
        pruned = prune_model(model, self.graph, plan.keep)
        if recalibration:
            from engine.pruning.recalibration import recalibrate

            pruned = recalibrate(pruned, recalibration, self.checkpoint.imgsz)
        made = {
            "verb": "prune",
            "prune_ratio": plan.ratio_requested,
            "budget": asdict(target) if isinstance(target, Budget) else None,
            "ratio_achieved": plan.ratio_achieved,
            "parent": self.checkpoint.digest,
            "ancestors": [*self.checkpoint.ancestors, self.checkpoint.digest],
            "compensated": compensated,
            "recalibration_images": len(recalibration),
            "importance": asdict(importance),
            **asdict(settings),
        }
        return save_checkpoint(pruned, save_path, source=self.checkpoint, made=made)
