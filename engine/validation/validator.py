"""Validation of a checkpoint on a data set, by Ultralytics' own validator."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base.errors import DatasetError, StopRequested, TrainingError
from engine.base.events import Report, silent, status_event, step_event
from engine.base.measurements import validating_device
from engine.base.runtime import import_ultralytics
from engine.settings.fields import default_of
from engine.settings.requests import ValRequest
from engine.settings.results import Measured
from engine.validation.checks import explained
from engine.validation.matches import Matches, matches_of

if TYPE_CHECKING:
    from engine.checkpoints.checkpoint import Checkpoint
    from engine.datasets import DatasetInfo


_SECONDS_BETWEEN_STEPS = 0.5


def validate(
    weights: Path,
    data: Path,
    *,
    imgsz: int,
    batch: int = default_of(ValRequest, "batch"),
    device: str = "cpu",
    split: str = default_of(ValRequest, "split"),
    report: Report = silent,
    arguments: Mapping[str, Any] | None = None,
    matched: Callable[[Matches], None] | None = None,
) -> Measured:
    """Validate a checkpoint on one split of a YOLO data set.

    Args:
        weights: a checkpoint that ``open_checkpoint`` accepts.
        data: the data set's YAML description, or its folder for classification.
        imgsz: longest image side in pixels.
        batch: images per forward pass.
        device: as Ultralytics writes it: ``cpu``, ``0``, ``mps``; of several GPUs, which serve training, the first.
        split: ``train``, ``val`` or ``test``.
        report: receives ``status`` and ``step`` events.
        arguments: further arguments of Ultralytics' validation, checked by ``engine.settings.arguments``.
        matched: receives what was found image by image, where the task is judged so.

    Raises:
        CheckpointError: the weights cannot be opened.
        DatasetError: the data set is unusable, lacks the split, or has other classes than the model.
        TrainingError: the device, batch or image size cannot be used.
    """
    from engine.base.devices import check_device
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.datasets import check_dataset, resolved_yaml

    check_device(device)
    device = validating_device(device)
    if batch < 1 or imgsz < 32:
        raise TrainingError(f"Batch {batch} and {imgsz} px cannot be validated; use at least 1 and 32.")
    with tempfile.TemporaryDirectory(prefix="validation-") as temporary:
        checkpoint = open_checkpoint(weights)
        info = check_dataset(data, checkpoint.task)
        single_cls = (arguments or {}).get("single_cls", checkpoint.single_cls)
        _check_fit(checkpoint, info, split, single_cls)
        description = resolved_yaml(info, temporary)
        model = import_ultralytics().YOLO(str(weights))
        validators = _observe(model, report, matched)
        report(status_event(f"Validating {Path(weights).name} on the {split} split"))
        try:
            model.val(
                data=str(description),
                imgsz=imgsz,
                batch=batch,
                device=device,
                split=split,
                plots=False,
                project=temporary,
                name="val",
                **{"verbose": False, "single_cls": single_cls, **(arguments or {})},
            )
        except StopRequested:
            raise
        except Exception as error:
            raise explained(error, device, batch, imgsz, Path(data)) from error
        return _validation(validators[-1])


def _check_fit(checkpoint: Checkpoint, info: DatasetInfo, split: str, single_cls: bool) -> None:
    """Refuse, before anything runs, a data set that does not fit the model."""
    from engine.datasets.facts import require_measurable

    if split not in info.images:
        raise DatasetError(f"The data set has no {split} split; name one of train, val, test that it has.")
    require_measurable(checkpoint, info, single_cls=single_cls)


def _observe(model: Any, report: Report, matched: Callable[[Matches], None] | None) -> list[Any]:
    """Report batches while validators run; return the list in which finished validators appear."""
    finished: list[Any] = []
    last_report_s = 0.0

    def report_batch(validator: Any) -> None:
        nonlocal last_report_s
        now_s = time.monotonic()
        step, steps = validator.batch_i + 1, len(validator.dataloader)
        if step == steps or now_s - last_report_s >= _SECONDS_BETWEEN_STEPS:
            last_report_s = now_s
            report(step_event(step, steps))
        if step == steps and matched and (matches := matches_of(validator)) is not None:
            matched(matches)  # what is counted afterwards is forgotten by image

    model.add_callback("on_val_batch_end", report_batch)
    model.add_callback("on_val_end", finished.append)
    return finished


def _validation(validator: Any) -> Measured:
    from engine.base.tasks import short_metrics

    measured = short_metrics(validator.metrics.results_dict)
    images = int(validator.seen or len(validator.dataloader.dataset))
    boxes = getattr(validator.metrics, "box", None)
    counted = validator.metrics.nt_per_class if boxes is not None else None
    return Measured(
        map50=measured.get("mAP50"),
        map50_95=measured.get("mAP50-95"),
        precision=measured.get("precision"),
        recall=measured.get("recall"),
        per_class=_per_class(validator),
        images=images,
        instances=images if boxes is None else int(counted.sum()) if counted is not None else 0,
        metrics=measured,
        speed_ms={stage: float(milliseconds) for stage, milliseconds in validator.metrics.speed.items()},
    )


def _per_class(validator: Any) -> dict[str, float]:
    """Return class name -> its own score, of the classes that the split shows; empty for depth, which has none."""
    metrics, task = validator.metrics, validator.args.task
    scored: Iterable[tuple[Any, Any]]
    if hasattr(metrics, "box"):
        scored = zip(metrics.box.ap_class_index, metrics.box.ap, strict=True)
    elif task == "classify":
        matrix = validator.confusion_matrix.matrix  # (predicted, true)
        shown = matrix.sum(axis=0)
        scored = ((index, matrix[index, index] / shown[index]) for index in validator.names if shown[index])
    elif task == "semantic":
        scored = ((index, metrics.per_class_iou[index]) for index in metrics.ap_class_index)
    else:
        return {}
    return {validator.names[int(index)]: float(score) for index, score in scored}
