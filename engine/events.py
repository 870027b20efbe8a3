"""Events that verbs report while they work; see ``engine.jobs.reporting`` for who reads them."""

from __future__ import annotations

from typing import Any


def step_event(step: int, steps: int) -> dict[str, Any]:
    """Return the event of a verb without epochs that has done so many of its steps."""
    return {"kind": "step", "epoch": 1, "epochs": 1, "step": step, "steps": steps, "losses": {}}
