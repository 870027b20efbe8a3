"""val: measure a model on a data set."""

from __future__ import annotations

from pathlib import Path

from engine.verbs.common import Report, Result, Spec, given, measurements, required, starting_point


def val(spec: Spec, report: Report) -> Result:
    """Measure mAP, precision and recall on a split of a data set; in a workspace, the same is not measured twice."""
    from engine.runtime import import_ultralytics

    import_ultralytics()
    from engine.files import file_digest
    from engine.measuring import BATCH, MeasurementKey, dataset_digest, measured_once
    from engine.training import check_task, default_device

    weights, task, imgsz = starting_point(spec["weights"], scratch_allowed=False)
    check_task(task)
    data, split, cache = Path(required(spec, "data")), given(spec, "split", "val"), measurements(spec)
    key = MeasurementKey(
        weights="" if cache is None else file_digest(weights),
        data="" if cache is None else dataset_digest(data, split),
        split=split,
        imgsz=given(spec, "imgsz", imgsz),
        batch=given(spec, "batch", BATCH),
        device=str(given(spec, "device", default_device())),
    )
    measured = measured_once(Path(weights), data, key, cache=cache, report=report)
    return {"weights": weights, "artefacts": [], **measured}
