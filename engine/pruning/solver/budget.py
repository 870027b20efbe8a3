"""Budgets: the plan that costs most while it costs no more than asked, and the whole curve of costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.base.errors import PlanError
from engine.base.numbers import exact, gflops_bound, milliseconds_bound
from engine.profile.cost import Cost, Costs
from engine.pruning.solver.plan import PrunePlan, make_plan, solve
from engine.pruning.solver.ranking import Ranking
from engine.pruning.solver.settings import MAX_RATIO


@dataclass(frozen=True)
class Budget:
    """What a model may cost at most; None means any."""

    params: int | None = None
    "Parameters."
    gflops: float | None = None
    "At the image size of the cost model."
    latency_ms: float | None = None
    "Milliseconds an image; needs a cost model that predicts them."

    def __post_init__(self) -> None:
        if self.params is None and self.gflops is None and self.latency_ms is None:
            raise PlanError("A budget needs a number of parameters or of GFLOPs, or a latency.")

    def met_by(self, cost: Cost) -> bool:
        """Whether a cost is within the budget."""
        return (
            (self.params is None or cost.params <= self.params)
            and (self.gflops is None or cost.gflops <= self.gflops)
            and (self.latency_ms is None or (cost.latency_ms is not None and cost.latency_ms <= self.latency_ms))
        )


def solve_budget(ranking: Ranking, costs: Costs, budget: Budget) -> PrunePlan:
    """Return the plan that meets a budget most closely from below: one removal fewer would exceed it.

    Parameters and GFLOPs never rise along the order of removal, so the first plan that fits is found by bisection. A
    latency may rise a little where a width stops being a multiple of 4; then the plan fits as well, but an earlier one
    might.

    Raises:
        PlanError: Even the smallest plan costs more; says how much that is. Or the budget names a latency, and the cost
            model predicts none.
    """
    if budget.latency_ms is not None and costs.before.latency_ms is None:
        raise PlanError(
            "Nothing here predicts the latency that this budget names; measure it first (in Python: "
            "engine.latency.TimedSlimming), or name parameters or GFLOPs."
        )
    candidates = _candidates(ranking)
    low, high = 0, len(candidates) - 1
    smallest = costs.cost(_keep(ranking, candidates[high]))
    if not budget.met_by(smallest):
        raise PlanError(
            f"The smallest model these settings allow {_cost_words(smallest, budget)}; ask for at least that, or lower "
            "the floors."
        )
    while low < high:
        middle = (low + high) // 2
        if budget.met_by(costs.cost(_keep(ranking, candidates[middle]))):
            high = middle
        else:
            low = middle + 1
    if ranking.settings.scope == "uniform":
        return solve(ranking, candidates[low])
    prefix = int(candidates[low])
    ratio = ranking.channels_after(prefix) / ranking.prunable_channels
    return make_plan(ranking, ratio, ranking.counts_of_prefix(prefix), ranking.floors_at(ratio))


def _cost_words(cost: Cost, budget: Budget) -> str:
    """Return 'has 1,234 parameters and 0.567 GFLOPs', or 'takes 12.4 ms'; rounded up, so that it can be asked for."""
    words = []
    if budget.params is not None or budget.gflops is not None:
        words.append(f"has {exact(cost.params)} parameters and {gflops_bound(cost.gflops)} GFLOPs")
    if budget.latency_ms is not None and cost.latency_ms is not None:
        words.append(f"takes {milliseconds_bound(cost.latency_ms)}")
    return " and ".join(words)


def savings(costs: Costs, budget: Budget) -> np.ndarray:
    """Return the (G,) share of what a budget limits that removing each group alone saves, to first order.

    With both parameters and GFLOPs limited, the mean of the two shares. Scores divided by it order the removals as the
    greedy solution of a knapsack does: first what costs the least score for what it saves.
    """
    limited = [
        marginal / max(total, 1)
        for marginal, total, limit in (
            (costs.marginal_params(), costs.before.params, budget.params),
            (costs.marginal_operations(), costs.before.gflops / 2 * 1e9, budget.gflops),
        )
        if limit is not None
    ]
    return np.mean(limited, axis=0)


def _candidates(ranking: Ranking) -> np.ndarray:
    """Return everything the solver can choose from, least pruned first: ratios (uniform) or prefix lengths."""
    if ranking.settings.scope == "uniform":
        steps = [np.arange(size + 1) / size for size in np.unique(ranking.units.class_sizes)]
        ratios = np.unique(np.concatenate(steps))
        return ratios[ratios <= MAX_RATIO]
    return np.arange(ranking.prefix_length(MAX_RATIO) + 1)


def _keep(ranking: Ranking, candidate: float) -> np.ndarray:
    uniform = ranking.settings.scope == "uniform"
    counts = ranking.counts_at(float(candidate)) if uniform else ranking.counts_of_prefix(int(candidate))
    return ranking.keep_mask(ranking.rounded(counts))


def cost_curve(ranking: Ranking, costs: Costs, ratios: Sequence[float]) -> list[Cost]:
    """Return the cost at each ratio, for the plot behind the slider."""
    return [costs.cost(ranking.keep_mask(ranking.rounded(ranking.counts_at(ratio)))) for ratio in ratios]
