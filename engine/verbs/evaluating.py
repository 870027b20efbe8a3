"""val: measure a model on a data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from engine.base.events import Report
from engine.settings.arguments import merged_request
from engine.settings.requests import ValRequest
from engine.settings.results import ValResult
from engine.verbs.common import chosen_device, measurements, resolve_weights, told_fit


def val(request: ValRequest, report: Report) -> ValResult:
    """Measure mAP, precision and recall on a split of a data set; in a workspace, the same is not measured twice.

    What is measured with arguments of Ultralytics that change the measurement, such as another iou, is not kept.
    """
    from engine.base.runtime import import_ultralytics

    import_ultralytics()
    from engine.base.imgsz import model_stride, told_imgsz
    from engine.base.measurements import MeasurementKey
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.datasets import check_dataset
    from engine.datasets.facts import require_measurable
    from engine.validation.cache import dataset_digest, measured_once
    from engine.validation.checks import check_task
    from engine.validation.validator import validate

    request = merged_request(request, "val")
    arguments, data, split = request.arguments, Path(request.data), request.split
    checkpoint = open_checkpoint(resolve_weights(request.weights))
    check_task(checkpoint.task)
    weights = str(checkpoint.path.resolve())
    cache = None if arguments else measurements(request)
    imgsz = told_imgsz(request.imgsz or checkpoint.imgsz, model_stride(checkpoint.model), report)
    info, single_cls = check_dataset(data, checkpoint.task), arguments.get("single_cls")
    fit = told_fit(require_measurable(checkpoint, info, single_cls=single_cls), report)
    key = MeasurementKey(
        weights="" if cache is None else checkpoint.digest,
        data="" if cache is None else dataset_digest(data, split),
        split=split,
        imgsz=imgsz,
        batch=request.batch,
        device=chosen_device(request),
    )
    validate_so = partial(validate, arguments=arguments)
    measured = measured_once(Path(weights), data, key, cache=cache, report=report, validate=validate_so)
    return ValResult(weights=weights, imgsz=key.imgsz, fit=fit, ultralytics=arguments, **dict(measured))
