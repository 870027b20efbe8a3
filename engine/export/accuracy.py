"""Accuracy of an exported file, by Ultralytics' own validator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from engine.base.errors import ExportError, StopRequested
from engine.base.events import Report, step_event
from engine.base.runtime import import_ultralytics
from engine.base.tasks import TASKS
from engine.export.boxes import CONFIDENCE, OVERLAP
from engine.export.settings import END2END
from engine.runtimes.exporter import first_line

_MEASURED = {"segment": "seg", "pose": "pose"}
"Task -> what its mAP is about, where that is not the box."


def validation_map(
    model_file: Path,
    task: str,
    data: Path,
    imgsz: int,
    report: Report,
    *,
    cut: bool = False,
    head: str = "",
    single_cls: bool = False,
) -> float:
    """Return the metric that judges, of a checkpoint or an exported file, on the validation split.

    mAP50-95 is that of masks or keypoints where the task has them, else of boxes. One square image at a time, which a
    file of fixed shape can take; both sides are measured alike. ``cut`` counts only boxes that a file with non-maximum
    suppression inside could put out. ``head`` says which one of a checkpoint's two heads is measured. ``single_cls``
    counts all classes as one, as the model was trained.

    Raises:
        DatasetError: the data set cannot be used.
        ExportError: the validator failed.
    """
    from engine.datasets import check_dataset, resolved_yaml

    with tempfile.TemporaryDirectory(prefix="validation-") as folder:
        description = resolved_yaml(check_dataset(data, task), folder)
        model = import_ultralytics().YOLO(str(model_file), task=task)
        model.add_callback("on_val_batch_end", lambda validator: _report(validator, report))
        limits = {"conf": CONFIDENCE, "iou": OVERLAP} if cut else {}
        if head == END2END:
            limits["nms"] = False  # Ultralytics' name for it
        try:
            metrics = model.val(
                data=str(description), imgsz=imgsz, batch=1, rect=False, device="cpu", split="val",
                single_cls=single_cls, plots=False, verbose=False, workers=0, project=folder, name="val", **limits,
            )  # fmt: skip
        except StopRequested:
            raise
        except Exception as error:  # whatever the validator lets through
            raise ExportError(f"The exported file could not be validated: {first_line(error)}") from error
        if not TASKS[task].boxes:
            return float(metrics.results_dict[f"metrics/{TASKS[task].metric}"])
        return float(getattr(metrics, _MEASURED.get(task, "box")).map)


def _report(validator: Any, report: Report) -> None:
    step, steps = validator.batch_i + 1, len(validator.dataloader)
    if step % 10 == 0 or step == steps:
        report(step_event(step, steps))
