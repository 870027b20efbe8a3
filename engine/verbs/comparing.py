"""compare: models side by side on one data set."""

from __future__ import annotations

from pathlib import Path

from engine.base.errors import WorkbenchError
from engine.base.events import Report
from engine.settings.results import CompareResult
from engine.verbs.common import Spec, given, measurements, required, resolve_weights


def compare(spec: Spec, report: Report) -> CompareResult:
    """Measure several models on the same images and state the change of each against a reference."""
    from engine.base.runtime import import_ultralytics

    import_ultralytics()
    from engine.base.devices import default_device
    from engine.base.imgsz import as_size
    from engine.reports.comparison import GFLOPS_IMGSZ, comparable
    from engine.reports.comparison import compare as compare_models
    from engine.validation.cache import BATCH

    named = spec["weights"]
    if not isinstance(named, (list, tuple)) or not named:
        raise WorkbenchError("The models to compare are a list; name at least one (--weights A.pt B.pt).")
    weights = [resolve_weights(name) for name in named]
    reference = resolve_weights(spec["reference"]) if spec.get("reference") else None
    if spec.get("chain"):  # nobody chose these models: the base may know other classes than what was made of it
        weights = comparable(weights, report)
        reference = reference if reference in weights else None
    comparison = compare_models(
        weights,
        Path(required(spec, "data")),
        reference,
        imgsz=spec.get("imgsz"),
        gflops_imgsz=as_size(given(spec, "gflops_imgsz", GFLOPS_IMGSZ)),
        batch=given(spec, "batch", BATCH),
        device=str(given(spec, "device", default_device())),
        split=given(spec, "split", "val"),
        latency=bool(spec.get("latency")),
        report=report,
        cache=measurements(spec),
    )
    return CompareResult(**dict(comparison))
