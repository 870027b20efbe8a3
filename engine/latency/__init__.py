"""Latency on this machine: measured for finished models, predicted for plans."""

from engine.latency.benchmark import measure
from engine.latency.costs import LatencyCosts
from engine.latency.predicting import predict_latency
from engine.latency.table import LatencyTable, table_path
from engine.latency.target import TimedSlimming, known_costs

__all__ = [
    "LatencyCosts",
    "LatencyTable",
    "TimedSlimming",
    "known_costs",
    "measure",
    "predict_latency",
    "table_path",
]
