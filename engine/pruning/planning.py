"""Plans and previews of one checkpoint: pure arithmetic on its channel graph, its scores and what was counted of it.

``ProfilePlanner`` has these from a profile, ``engine.pruning.session.Slimming`` from an opened model. Everything else
is the same code, so that both say the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from engine.base.errors import PlanError
from engine.base.imgsz import ImageSize, as_size, height_width, option_text
from engine.base.recent import Recent
from engine.profile.convolutions import ConvolutionRun
from engine.profile.cost import Cost, Costs, GraphCosts, Operations
from engine.profile.facts import CheckpointFacts
from engine.profile.graph import ChannelGraph
from engine.profile.profile import Profile, SizeCounts
from engine.pruning.criteria import (
    MODEL_FREE,
    NEEDS_IMAGES,
    Context,
    ImportanceSettings,
    channel_scores,
    combined_scores,
)
from engine.pruning.solver import Budget, PrunePlan, Ranking, SolverSettings, cost_curve, rank, solve, solve_budget
from engine.settings.results import PlannedLayer, Preview

_SIZES_KEPT, _SCORES_KEPT, _RANKINGS_KEPT, _CURVES_KEPT = 8, 8, 24, 24
"A page's settings of the last minutes; one ranking of a large model takes about a megabyte."
FLOP_IMGSZ = 640
"Image size at which FLOPs weigh scores; which one hardly matters, as all layers scale alike."


class Planner(ABC):
    """The rankings, curves and cost models of one checkpoint; those asked for last are kept.

    Nothing that is asked for changes what another caller gets, so several may share one.
    """

    def __init__(self, graph: ChannelGraph, name: str, digest: str, stride: int) -> None:
        """Score the channels by |gamma|.

        Args:
            graph: Its channel graph.
            name: Of the file, for sentences.
            digest: SHA-256 of the file.
            stride: What image sizes are multiples of, in pixels.

        Raises:
            PlanError: Nothing of the model can be pruned.
        """
        if graph.prunable_channels == 0:
            raise PlanError(f"No channel of {name} can be pruned; its layers only feed the output.")
        self.graph, self.digest, self.stride = graph, digest, stride
        self._costs: Recent[ImageSize, GraphCosts] = Recent(_SIZES_KEPT)
        self._learnt: Recent[tuple[str, str], tuple[np.ndarray, ...]] = Recent(_SCORES_KEPT)
        self._rankings: Recent[tuple[SolverSettings, ImportanceSettings], Ranking] = Recent(_RANKINGS_KEPT)
        self._curves: Recent[tuple, list[Cost]] = Recent(_CURVES_KEPT)
        self.scores = self.group_scores(ImportanceSettings())

    @abstractmethod
    def parameters(self) -> Mapping[str, int]:
        """Return name -> elements of every parameter."""

    @abstractmethod
    def operations(self, imgsz: ImageSize) -> Operations:
        """Return the operations of the whole model. Raises PlanError where it does not run at that size."""

    @abstractmethod
    def convolutions(self, imgsz: ImageSize) -> Sequence[ConvolutionRun]:
        """Return the convolutions that a pass runs. Raises PlanError where it does not run at that size."""

    @abstractmethod
    def channel_scores(self, importance: ImportanceSettings) -> Sequence[np.ndarray]:
        """Return for each layer of the graph the (C,) scores of its channels, by a criterion that needs no images."""

    def group_scores(self, importance: ImportanceSettings) -> np.ndarray:
        """Return the (G,) scores of the channel groups.

        Raises:
            PlanError: They come from images and were not told (``learn``), or what else the settings need is missing.
        """
        costs = self.cost_model(FLOP_IMGSZ) if importance.per_flop else None
        by_layer = self._learnt_by(importance) if importance.images else self.channel_scores(importance)
        return combined_scores(self.graph, list(by_layer), importance, costs)

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

    def cost_model(self, imgsz: ImageSize) -> GraphCosts:
        """Return the cost model at an image size: pixels or (height, width), multiples of the stride (32 for most)."""
        size = as_size(imgsz)
        return self._costs.get(size, lambda: self._counted(size))

    def _counted(self, imgsz: ImageSize) -> GraphCosts:
        if any(side % self.stride for side in height_width(imgsz)):
            raise PlanError(
                f"Image size {option_text(imgsz)} is not a positive multiple of {self.stride}; 320 and 640 are common."
            )
        return GraphCosts(self.graph, self.parameters(), self.operations(imgsz), imgsz)

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
            PlannedLayer(
                name=layer.name,
                before=layer.channels,
                after=kept,
                prunable=layer.prunable_channels,
                reason=layer.reason,
                at_floor=at_floor,
                bounds=bounds,
            )
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


class ProfilePlanner(Planner):
    """Plans and previews from a profile; needs neither the file nor PyTorch.

    Args:
        profile: Of the checkpoint.
        count: Counts the model at an image size that the profile does not have; None where nobody does.

    Raises:
        PlanError: The model cannot be traced, or nothing of it can be pruned.
    """

    def __init__(self, profile: Profile, count: Callable[[ImageSize], SizeCounts] | None = None) -> None:
        self.profile, self._count = profile, count
        facts = profile.facts
        super().__init__(profile.require_graph(), facts.fitting.name, facts.digest, facts.stride)

    @property
    def facts(self) -> CheckpointFacts:
        """What the checkpoint is."""
        return self.profile.facts

    def parameters(self) -> Mapping[str, int]:
        """Return name -> elements of every parameter."""
        return self.profile.parameters

    def operations(self, imgsz: ImageSize) -> Operations:
        """Return the operations of the whole model. Raises PlanError where it does not run at that size."""
        counts = self._at(imgsz)
        if counts.operations is None:
            raise PlanError(counts.refusal)
        return counts.operations

    def convolutions(self, imgsz: ImageSize) -> Sequence[ConvolutionRun]:
        """Return the convolutions that a pass runs. Raises PlanError where it does not run at that size."""
        self.operations(imgsz)
        return self._at(imgsz).convolutions

    def _at(self, imgsz: ImageSize) -> SizeCounts:
        if known := self.profile.at(imgsz):
            return known
        if self._count is None:
            raise PlanError(f"Nothing was counted at {option_text(imgsz)} pixels; choose 640.")
        counts = self._count(imgsz)
        self.profile = self.profile.with_size(counts)
        return counts

    def channel_scores(self, importance: ImportanceSettings) -> Sequence[np.ndarray]:
        """Return for each layer of the graph the (C,) scores of its channels, by a criterion that needs no images."""
        if importance.criterion in MODEL_FREE:
            return channel_scores(importance.criterion, Context(self.graph, None, importance.seed))
        if importance.criterion not in self.profile.scores:
            raise PlanError(NEEDS_IMAGES)
        return self.profile.scores[importance.criterion]
