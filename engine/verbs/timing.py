"""latency: how fast models are on this machine, side by side; or what predicts how fast they become."""

from __future__ import annotations

from pathlib import Path

from engine.base.errors import ExportError
from engine.base.events import Report
from engine.base.imgsz import ImageSize
from engine.settings.requests import LatencyRequest
from engine.settings.results import LatencyResult
from engine.verbs.common import resolve_weights


def latency(request: LatencyRequest, report: Report) -> LatencyResult:
    """Measure one or more checkpoints in turns and compare them with the first.

    With ``predict``, measure instead what predicts the latency of their plans on this machine.
    """
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.latency import measure

    paths = [resolve_weights(name) for name in request.weights]
    imgsz = request.imgsz or open_checkpoint(paths[0]).imgsz
    if request.predict:
        return _predicted(paths, imgsz, request, report)
    results = measure(
        paths,
        imgsz=imgsz,
        runtimes=request.runtime,
        threads=request.threads,
        repeats=request.repeats,
        report=report,
    )
    return LatencyResult(results=tuple(results))


def _predicted(paths: list[Path], imgsz: ImageSize, request: LatencyRequest, report: Report) -> LatencyResult:
    from engine.latency import predict_latency

    if {"runtime", "repeats"} & request.given.keys():
        raise ExportError("Latency is predicted for ONNX Runtime on the CPU alone; leave out --runtime and --repeats.")
    predictions = [predict_latency(path, imgsz, request.threads, report) for path in paths]
    return LatencyResult(results=(), predicted=tuple(predictions))
