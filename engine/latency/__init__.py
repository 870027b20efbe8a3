"""Latency on this machine: measured for finished models, predicted for plans."""

from engine.latency.measure import LatencyResult, measure
from engine.latency.slimming import TimedSlimming
from engine.latency.table import LatencyTable

__all__ = ["LatencyResult", "LatencyTable", "TimedSlimming", "measure"]
