"""Latency on this machine: measured for finished models, predicted for plans."""

from typing import TYPE_CHECKING

from engine.base.lazy import lazily

if TYPE_CHECKING:
    from engine.latency.benchmark import measure
    from engine.latency.costs import LatencyCosts
    from engine.latency.known import known_costs
    from engine.latency.predicting import predict_latency
    from engine.latency.table import LatencyTable, table_path
    from engine.latency.target import TimedSlimming

_HOMES = {
    "LatencyCosts": "costs",
    "LatencyTable": "table",
    "TimedSlimming": "target",
    "known_costs": "known",
    "measure": "benchmark",
    "predict_latency": "predicting",
    "table_path": "table",
}

__all__ = [
    "LatencyCosts",
    "LatencyTable",
    "TimedSlimming",
    "known_costs",
    "measure",
    "predict_latency",
    "table_path",
]

__getattr__ = lazily(__name__, _HOMES)
