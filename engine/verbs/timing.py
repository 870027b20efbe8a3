"""latency: how fast models are on this machine, side by side; or what predicts how fast they become."""

from __future__ import annotations

from pathlib import Path

from engine.base.errors import ExportError
from engine.base.events import Report
from engine.base.imgsz import ImageSize, as_size
from engine.settings.results import LatencyResult
from engine.verbs.common import Spec, given, resolve_weights


def latency(spec: Spec, report: Report) -> LatencyResult:
    """Measure one or more checkpoints in turns and compare them with the first.

    With ``predict``, measure instead what predicts the latency of their plans on this machine.
    """
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.latency import measure

    names = spec["weights"] if isinstance(spec["weights"], (list, tuple)) else [spec["weights"]]
    paths = [Path(resolve_weights(name)) for name in names]
    imgsz = as_size(given(spec, "imgsz", open_checkpoint(paths[0]).imgsz))
    if spec.get("predict"):
        return _predicted(paths, imgsz, spec, report)
    results = measure(
        paths,
        imgsz=imgsz,
        runtimes=given(spec, "runtime", ("onnx",)),
        threads=spec.get("threads"),
        repeats=given(spec, "repeats", 100),
        report=report,
    )
    return LatencyResult(results=tuple(results))


def _predicted(paths: list[Path], imgsz: ImageSize, spec: Spec, report: Report) -> LatencyResult:
    from engine.latency import predict_latency

    if spec.get("runtime") or spec.get("repeats"):
        raise ExportError("Latency is predicted for ONNX Runtime on the CPU alone; leave out --runtime and --repeats.")
    predictions = [predict_latency(path, imgsz, spec.get("threads"), report) for path in paths]
    return LatencyResult(results=(), predicted=tuple(predictions))
