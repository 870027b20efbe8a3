"""One opened checkpoint, ready for slimming: preview any ratio, then prune at one.

The page, the terminal and the jobs all go through this, so that a preview and the model that pruning writes come
from the same plan.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
from engine.cost import CostModel
from engine.errors import PlanError
from engine.graph import ChannelGraph, trace
from engine.importance import gamma_scores
from engine.solver import PrunePlan, Ranking, SolverSettings, rank, require_feasible, solve
from engine.surgery import prune_model


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


@dataclass(frozen=True)
class Preview:
    """What pruning at a ratio would give. Parameters and GFLOPs are exact."""

    params_before: int
    params: int
    gflops_before: float
    gflops: float
    imgsz: int
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
    """A checkpoint with its channel graph and scores; rankings and cost models are made once and kept."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Trace the model (about a second).

        Raises:
            PlanError: The model cannot be traced, or nothing of it can be pruned.
        """
        self.checkpoint = checkpoint
        self.graph: ChannelGraph = trace(checkpoint.model)
        if self.graph.prunable_channels == 0:
            raise PlanError(f"No channel of {checkpoint.path.name} can be pruned; its layers only feed the output.")
        self.scores = gamma_scores(self.graph, checkpoint.model)
        self._rankings: dict[SolverSettings, Ranking] = {}
        self._costs: dict[int, CostModel] = {}

    @classmethod
    def open(cls, path: str | Path) -> Slimming:
        """Open and trace a checkpoint file; errors as ``open_checkpoint`` and the constructor."""
        return cls(open_checkpoint(path))

    def ranking(self, settings: SolverSettings) -> Ranking:
        """Return the order of removal under these limits."""
        if settings not in self._rankings:
            self._rankings[settings] = rank(self.graph, self.scores, settings)
        return self._rankings[settings]

    def cost_model(self, imgsz: int) -> CostModel:
        """Return the cost model at an image size in pixels, a multiple of 32."""
        if imgsz not in self._costs:
            if imgsz < 32 or imgsz % 32:
                raise PlanError(f"Image size {imgsz} is not a positive multiple of 32; 320 and 640 are common.")
            self._costs[imgsz] = CostModel(self.graph, self.checkpoint.model, imgsz)
        return self._costs[imgsz]

    def plan(self, ratio: float, settings: SolverSettings | None = None) -> PrunePlan:
        """Solve for a ratio from 0 to 0.95."""
        return solve(self.ranking(settings or SolverSettings()), ratio)

    def preview(self, ratio: float, settings: SolverSettings | None = None, imgsz: int = 640) -> Preview:
        """Return what pruning at a ratio would give; pure arithmetic after the first call."""
        plan, costs = self.plan(ratio, settings), self.cost_model(imgsz)
        after = costs.cost(plan.keep)
        layers = tuple(
            LayerPreview(layer.name, layer.channels, kept, layer.prunable_channels, layer.reason, at_floor)
            for layer, kept, at_floor in zip(
                self.graph.layers, plan.kept_channels.tolist(), plan.at_floor.tolist(), strict=True
            )
        )
        return Preview(
            params_before=costs.before.params,
            params=after.params,
            gflops_before=costs.before.gflops,
            gflops=after.gflops,
            imgsz=imgsz,
            ratio_requested=ratio,
            ratio_achieved=plan.ratio_achieved,
            max_ratio=plan.max_ratio,
            limiting_layer=plan.limiting_layer,
            ceiling_ratio=plan.ceiling_ratio,
            channels_before=self.graph.total_channels,
            channels=int(plan.kept_channels.sum()),
            layers=layers,
        )

    def prune(self, ratio: float, save_path: str | Path, settings: SolverSettings | None = None) -> Path:
        """Write the model pruned at a ratio as an ordinary Ultralytics checkpoint.

        Raises:
            PlanError: The ratio is out of range or would empty a layer.
            StorageError: The file cannot be written.
        """
        settings = settings or SolverSettings()
        require_feasible(self.ranking(settings), ratio)
        plan = self.plan(ratio, settings)
        pruned = prune_model(self.checkpoint.model, self.graph, plan.keep)
        made = {
            "verb": "prune",
            "prune_ratio": ratio,
            "ratio_achieved": plan.ratio_achieved,
            "parent": self.checkpoint.digest,
            **asdict(settings),
        }
        return save_checkpoint(pruned, save_path, source=self.checkpoint, made=made)
