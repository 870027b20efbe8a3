"""Events as lines on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from engine.base import numbers
from engine.base.events import AnyEvent
from engine.base.tasks import metric_label


def log_event(event: AnyEvent) -> None:
    """Print an event on standard error as one readable line."""
    if event["kind"] == "status":
        _tell(event["text"])
    elif event["kind"] == "start":
        _tell(f"before the first epoch: {_scores(event['metrics'])}")
    elif event["kind"] == "epoch":
        measured = _scores(event.get("metrics", {}))
        gammas = event.get("gammas")
        sparse = f", gammas at zero {numbers.percent(gammas['zero'])}" if gammas else ""
        _tell(f"epoch {event['epoch']}/{event['epochs']}: {measured}{sparse}")


def _scores(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{metric_label(name)} {numbers.score(value)}" for name, value in metrics.items())


def _tell(line: str) -> None:
    print(numbers.encodable(line, sys.stderr.encoding), file=sys.stderr)
