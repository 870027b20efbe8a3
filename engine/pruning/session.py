"""One opened checkpoint, ready for slimming: preview any plan, then prune by one.

The page, the terminal and the jobs all go through this, so that a preview and the model that pruning writes come
from the same plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.errors import PlanError
from engine.base.imgsz import ImageSize, as_size, height_width, model_stride, option_text
from engine.base.recent import Recent
from engine.checkpoints.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
from engine.pruning.compensation import compensate
from engine.pruning.cost import Cost, CostModel, Costs
from engine.pruning.criteria import ImportanceSettings, combined_scores, group_scores
from engine.pruning.graph import ChannelGraph, trace
from engine.pruning.solver import (
    Budget,
    PrunePlan,
    Ranking,
    SolverSettings,
    cost_curve,
    rank,
    require_feasible,
    solve,
    solve_budget,
)
from engine.pruning.surgery import prune_model

_SIZES_KEPT, _SCORES_KEPT, _RANKINGS_KEPT, _CURVES_KEPT = 8, 8, 24, 24
"A page's settings of the last minutes; one ranking of a large model takes about a megabyte."
FLOP_IMGSZ = 640
"Image size at which FLOPs weigh scores; which one hardly matters, as all layers scale alike."


@dataclass(frozen=True)
class LayerPreview:
    """One BatchNorm layer of a preview."""

    name: str
    before: int
    after: int
    prunable: int
    "Channels of the layer that any plan may remove."
    reason: str
    "Why the others are always kept, empty where there are none."
    at_floor: bool
    "The floor holds this layer."
    bounds: tuple[str, ...]
    "What shaped the layer besides its scores: floor, rounding, own ratio, coupled, equal parts."


@dataclass(frozen=True)
class Preview:
    """What pruning at a ratio would give. Parameters and GFLOPs are exact."""

    params_before: int
    params: int
    gflops_before: float
    gflops: float
    imgsz: ImageSize
    ratio_requested: float
    ratio_achieved: float
    max_ratio: float
    "Largest ratio at which the order of gammas alone leaves every layer its floor."
    limiting_layer: str
    "The layer that stands in the way of more, empty where none does."
    ceiling_ratio: float
    "Largest ratio at all: every layer at its floor."
    channels_before: int
    channels: int
    layers: tuple[LayerPreview, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the preview as JSON-able values."""
        return asdict(self)


class Slimming:
    """A checkpoint with its channel graph and scores; the rankings, curves and cost models asked for last are kept.

    Nothing that is asked for changes what another caller gets, so several may share one.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Trace the model (about a second).

        Raises:
            PlanError: The model cannot be traced, or nothing of it can be pruned.
        """
        self.checkpoint = checkpoint
        self._costs: Recent[ImageSize, CostModel] = Recent(_SIZES_KEPT)
        self._learnt: Recent[tuple[str, str], tuple[np.ndarray, ...]] = Recent(_SCORES_KEPT)
        self.graph: ChannelGraph = trace(checkpoint.model)
        if self.graph.prunable_channels == 0:
            raise PlanError(f"No channel of {checkpoint.path.name} can be pruned; its layers only feed the output.")
        self.scores = self.group_scores(ImportanceSettings())
        self._rankings: Recent[tuple[SolverSettings, ImportanceSettings], Ranking] = Recent(_RANKINGS_KEPT)
        self._curves: Recent[tuple, list[Cost]] = Recent(_CURVES_KEPT)

    @classmethod
    def open(cls, path: str | Path) -> Slimming:
        """Open and trace a checkpoint file; errors as ``open_checkpoint`` and the constructor."""
        return cls(open_checkpoint(path))

    def group_scores(self, importance: ImportanceSettings) -> Any:
        """Return the (G,) scores of the channel groups.

        Raises:
            PlanError: They come from images and were not told (``learn``), or what else the settings need is missing.
        """
        costs = self.cost_model(FLOP_IMGSZ) if importance.per_flop else None
        if importance.images:
            return combined_scores(self.graph, list(self._learnt_by(importance)), importance, costs)
        return group_scores(self.graph, self.checkpoint.model, importance, costs)

    def learn(self, importance: ImportanceSettings, by_layer: Sequence[np.ndarray]) -> None:
        """Take over what the criterion of ``importance`` said of channels, layer by layer, on its images."""
        self._learnt.get((importance.criterion, importance.images), lambda: tuple(by_layer))

    def _learnt_by(self, importance: ImportanceSettings) -> tuple[np.ndarray, ...]:
        def unknown() -> tuple[np.ndarray, ...]:
            raise PlanError(
                f"The scores by {importance.criterion} on these images are not known yet; compute them first."
            )

        return self._learnt.get((importance.criterion, importance.images), unknown)

    def ranking(self, settings: SolverSettings | None = None, importance: ImportanceSettings | None = None) -> Ranking:
        """Return the order of removal under these limits and by these scores."""
        key = (settings or SolverSettings(), importance or ImportanceSettings())
        return self._rankings.get(key, lambda: rank(self.graph, self.group_scores(key[1]), key[0]))

    def cost_model(self, imgsz: ImageSize) -> CostModel:
        """Return the cost model at an image size: pixels or (height, width), multiples of the stride (32 for most)."""
        size = as_size(imgsz)
        return self._costs.get(size, lambda: self._counted(size))

    def _counted(self, imgsz: ImageSize) -> CostModel:
        stride = model_stride(self.checkpoint.model)
        if any(side % stride for side in height_width(imgsz)):
            raise PlanError(
                f"Image size {option_text(imgsz)} is not a positive multiple of {stride}; 320 and 640 are common."
            )
        return CostModel(self.graph, self.checkpoint.model, imgsz)

    def plan(
        self,
        target: float | Budget,
        settings: SolverSettings | None = None,
        imgsz: ImageSize = 640,
        importance: ImportanceSettings | None = None,
        costs: Costs | None = None,
    ) -> PrunePlan:
        """Solve for a ratio from 0 to 0.95, or for a budget at an image size.

        Args:
            target: A ratio or a budget.
            settings: Limits of the solver.
            imgsz: Image size, pixels or (height, width), of a budget of GFLOPs or latency.
            importance: How channels are scored.
            costs: What a budget is counted by, such as one that predicts latency; this checkpoint's own by default.

        Raises:
            PlanError: The target cannot be met, or names a latency that nothing here predicts.
        """
        ranking = self.ranking(settings, importance)
        if isinstance(target, Budget):
            return solve_budget(ranking, costs or self.budget_costs(target, imgsz), target)
        return solve(ranking, target)

    def budget_costs(self, budget: Budget, imgsz: ImageSize) -> Costs:
        """Return the cost model that a budget is counted by."""
        return self.cost_model(imgsz)

    def preview(
        self,
        target: float | Budget,
        settings: SolverSettings | None = None,
        imgsz: ImageSize = 640,
        importance: ImportanceSettings | None = None,
    ) -> Preview:
        """Return what pruning to a ratio or budget would give; pure arithmetic after the first call."""
        return self.describe(self.plan(target, settings, imgsz, importance), imgsz)

    def describe(self, plan: PrunePlan, imgsz: ImageSize = 640) -> Preview:
        """Return what a plan gives: exact parameters and GFLOPs, and every layer before and after."""
        costs = self.cost_model(imgsz)
        after = costs.cost(plan.keep)
        layers = tuple(
            LayerPreview(layer.name, layer.channels, kept, layer.prunable_channels, layer.reason, at_floor, bounds)
            for layer, kept, at_floor, bounds in zip(
                self.graph.layers, plan.kept_channels.tolist(), plan.at_floor.tolist(), plan.bounds, strict=True
            )
        )
        return Preview(
            params_before=costs.before.params,
            params=after.params,
            gflops_before=costs.before.gflops,
            gflops=after.gflops,
            imgsz=imgsz,
            ratio_requested=plan.ratio_requested,
            ratio_achieved=plan.ratio_achieved,
            max_ratio=plan.max_ratio,
            limiting_layer=plan.limiting_layer,
            ceiling_ratio=plan.ceiling_ratio,
            channels_before=self.graph.total_channels,
            channels=int(plan.kept_channels.sum()),
            layers=layers,
        )

    def curve(
        self,
        ratios: Sequence[float],
        settings: SolverSettings | None = None,
        imgsz: ImageSize = 640,
        importance: ImportanceSettings | None = None,
        costs: Costs | None = None,
    ) -> list[Cost]:
        """Return the cost at each of many ratios; kept, because a slider asks for the same curve at every move.

        ``costs`` counts them, such as one that predicts latency; this checkpoint's own at the image size by default.
        """
        costs = costs or self.cost_model(imgsz)
        key = (tuple(ratios), settings, importance, costs)  # a cost model is itself and no other
        return self._curves.get(key, lambda: cost_curve(self.ranking(settings, importance), costs, ratios))

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
