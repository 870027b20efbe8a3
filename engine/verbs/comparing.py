"""compare: models side by side on one data set."""

from __future__ import annotations

from pathlib import Path

from engine.base.events import Report
from engine.settings.requests import CompareRequest
from engine.settings.results import CompareResult
from engine.verbs.common import chosen_device, measurements, resolve_weights


def compare(request: CompareRequest, report: Report) -> CompareResult:
    """Measure several models on the same images and state the change of each against a reference."""
    from engine.base.runtime import import_ultralytics

    import_ultralytics()
    from engine.reports.comparison import comparable
    from engine.reports.comparison import compare as compare_models

    weights = [resolve_weights(name) for name in request.weights]
    reference = resolve_weights(request.reference) if request.reference else None
    if request.chain:  # nobody chose these models: the base may know other classes than what was made of it
        weights = comparable(weights, report)
        reference = reference if reference in weights else None
    comparison = compare_models(
        weights,
        Path(request.data),
        reference,
        imgsz=request.imgsz,
        gflops_imgsz=request.gflops_imgsz,
        batch=request.batch,
        device=chosen_device(request),
        split=request.split,
        latency=request.latency,
        report=report,
        cache=measurements(request),
    )
    return CompareResult(**dict(comparison))
