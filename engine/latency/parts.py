"""The time of a whole model, taken apart by what its nodes do."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from engine.base.imgsz import ImageSize, height_width
from engine.latency.costs import ModelParts
from engine.runtimes.sessions import MOVING, feed, node_times, open_session, own_time_ms, undisturbed_ms

CONVOLVING = frozenset({"Conv", "FusedConv", "QuickGelu", "Relu", "LeakyRelu", "HardSwish"})
_MEASURE_S, _LEAST_RUNS = 2.0, 20


def model_parts(onnx_file: Path, imgsz: ImageSize, threads: int) -> ModelParts:
    """Measure an ONNX model on the CPU: the time of a run, split in proportion to its nodes' times."""
    session = open_session(onnx_file, threads)
    inputs = feed(session, imgsz)
    deadline = time.perf_counter() + _MEASURE_S
    times: list[float] = []
    while len(times) < _LEAST_RUNS or (time.perf_counter() < deadline and len(times) < 200):
        times.append(own_time_ms(lambda: session.run(None, inputs), threads))
    nodes = node_times(onnx_file, threads, imgsz, budget_s=_MEASURE_S).values()
    convolutions = sum(ms for operator, ms in nodes if operator in CONVOLVING)
    moving = sum(ms for operator, ms in nodes if operator in MOVING)
    # The profiler itself takes time at every node, so what it says counts as shares of an unprofiled run.
    scale = undisturbed_ms(times) / sum(ms for _, ms in nodes)
    rest = sum(ms for _, ms in nodes) - convolutions - moving
    return ModelParts(convolutions * scale, moving * scale, rest * scale)


def checkpoint_parts(weights: Path, imgsz: ImageSize, threads: int) -> ModelParts:
    """Export a checkpoint to a temporary ONNX file and measure that.

    Raises:
        ExportError: the checkpoint cannot be exported.
    """
    from engine.runtimes.exporter import run_exporter

    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        exported = run_exporter(weights, Path(folder), imgsz=height_width(imgsz), simplify=True)
        return model_parts(exported, imgsz, threads)
