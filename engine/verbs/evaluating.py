"""val: measure a model on a data set."""

from __future__ import annotations

from pathlib import Path

from engine.verbs.common import Report, Result, Spec, given, required, starting_point


def val(spec: Spec, report: Report) -> Result:
    """Measure mAP, precision and recall on a split of a data set."""
    from engine.runtime import import_ultralytics

    import_ultralytics()
    from engine.evaluation import validate
    from engine.training import check_task, default_device

    weights, task, imgsz = starting_point(spec["weights"], scratch_allowed=False)
    check_task(task)
    validation = validate(
        Path(weights),
        Path(required(spec, "data")),
        imgsz=given(spec, "imgsz", imgsz),
        batch=given(spec, "batch", 16),
        device=given(spec, "device", default_device()),
        split=given(spec, "split", "val"),
        report=report,
    )
    return {"weights": weights, "artefacts": [], **validation.as_dict()}
