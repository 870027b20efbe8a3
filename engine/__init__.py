"""The engine: everything the workbench can do without a browser.

Importing it decides the environment of Ultralytics and PyTorch, which both read theirs only once, at import. The names
below are the Python API; they are imported on first use, because PyTorch takes seconds. See docs/api.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.runtime import prepare

if TYPE_CHECKING:
    from engine.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
    from engine.cost import Cost, CostModel
    from engine.errors import WorkbenchError
    from engine.graph import ChannelGraph, trace
    from engine.importance import ImportanceSettings, group_scores
    from engine.slimming import Preview, Slimming
    from engine.solver import Budget, PrunePlan, SolverSettings, rank, solve, solve_budget
    from engine.surgery import prune_model

_HOMES = {
    "Budget": "solver",
    "ChannelGraph": "graph",
    "Checkpoint": "checkpoint",
    "Cost": "cost",
    "CostModel": "cost",
    "ImportanceSettings": "importance",
    "Preview": "slimming",
    "PrunePlan": "solver",
    "Slimming": "slimming",
    "SolverSettings": "solver",
    "WorkbenchError": "errors",
    "group_scores": "importance",
    "open_checkpoint": "checkpoint",
    "prune_model": "surgery",
    "rank": "solver",
    "save_checkpoint": "checkpoint",
    "solve": "solver",
    "solve_budget": "solver",
    "trace": "graph",
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    module = import_module(f"engine.{_HOMES[name]}")
    # Importing a submodule binds its name here, which must not hide a later lookup of the same name.
    return getattr(module, name)
