"""The engine: everything the workbench can do without a browser.

Importing it decides the environment of Ultralytics and PyTorch, which both read theirs only once, at import. The names
below are the Python API; they are imported on first use, because PyTorch takes seconds. See docs/api.md.
"""

from typing import TYPE_CHECKING

from engine.base.lazy import lazily
from engine.base.runtime import prepare

if TYPE_CHECKING:
    from engine.base.errors import WorkbenchError
    from engine.checkpoints.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
    from engine.profile.cost import Cost
    from engine.profile.graph import ChannelGraph
    from engine.pruning.cost import CostModel
    from engine.pruning.criteria import ImportanceSettings, group_scores
    from engine.pruning.graph import trace
    from engine.pruning.session import Slimming
    from engine.pruning.solver import Budget, PrunePlan, SolverSettings, rank, solve, solve_budget
    from engine.pruning.surgery import prune_model
    from engine.settings.results import Preview

_HOMES = {
    "Budget": "pruning.solver",
    "ChannelGraph": "profile.graph",
    "Checkpoint": "checkpoints.checkpoint",
    "Cost": "profile.cost",
    "CostModel": "pruning.cost",
    "ImportanceSettings": "pruning.criteria",
    "Preview": "settings.results",
    "PrunePlan": "pruning.solver",
    "Slimming": "pruning.session",
    "SolverSettings": "pruning.solver",
    "WorkbenchError": "base.errors",
    "group_scores": "pruning.criteria",
    "open_checkpoint": "checkpoints.checkpoint",
    "prune_model": "pruning.surgery",
    "rank": "pruning.solver",
    "save_checkpoint": "checkpoints.checkpoint",
    "solve": "pruning.solver",
    "solve_budget": "pruning.solver",
    "trace": "pruning.graph",
}

__all__ = [
    "Budget",
    "ChannelGraph",
    "Checkpoint",
    "Cost",
    "CostModel",
    "ImportanceSettings",
    "Preview",
    "PrunePlan",
    "Slimming",
    "SolverSettings",
    "WorkbenchError",
    "group_scores",
    "open_checkpoint",
    "prune_model",
    "rank",
    "save_checkpoint",
    "solve",
    "solve_budget",
    "trace",
]

prepare()

__getattr__ = lazily(__name__, _HOMES)
