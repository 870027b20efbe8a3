"""The mask solver: from scores and a ratio or budget to the channels that survive. Pure arrays, no torch.

Units are removed in ascending order of score, skipping those that would take a layer below its floor. That order does
not depend on the ratio, so it is worked out once (``rank``), and a ratio is a prefix of it (``solve``): moving a slider
costs microseconds, and a larger ratio never keeps a channel that a smaller one removed.
"""

from engine.pruning.solver.budget import Budget, cost_curve, savings, solve_budget
from engine.pruning.solver.plan import PrunePlan, require_feasible, solve
from engine.pruning.solver.ranking import Ranking, rank
from engine.pruning.solver.settings import MAX_RATIO, SolverSettings, check_ratio

__all__ = [
    "MAX_RATIO",
    "Budget",
    "PrunePlan",
    "Ranking",
    "SolverSettings",
    "check_ratio",
    "cost_curve",
    "rank",
    "require_feasible",
    "savings",
    "solve",
    "solve_budget",
]
