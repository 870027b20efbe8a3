"""Events that verbs report while they work; see ``engine.jobs.reporting`` for who reads them."""

from __future__ import annotations

import sys
from typing import Any

from engine.base import numbers
from engine.base.tasks import metric_label


def step_event(step: int, steps: int) -> dict[str, Any]:
    """Return the event of a verb without epochs that has done so many of its steps."""
    return {"kind": "step", "epoch": 1, "epochs": 1, "step": step, "steps": steps, "losses": {}}


def log_event(event: dict[str, Any]) -> None:
    """Print an event on standard error as one readable line."""
    if event["kind"] == "status":
        _tell(event["text"])
    elif event["kind"] == "epoch":
        measured = ", ".join(
            f"{metric_label(name)} {numbers.score(value)}" for name, value in event.get("metrics", {}).items()
        )
        gammas = event.get("gammas")
        sparse = f", gammas at zero {numbers.percent(gammas['zero'])}" if gammas else ""
        _tell(f"epoch {event['epoch']}/{event['epochs']}: {measured}{sparse}")


def _tell(line: str) -> None:
    print(numbers.encodable(line, sys.stderr.encoding), file=sys.stderr)
