"""What is measured of an exported file beside its checkpoint: outputs, time and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from engine.base.events import Report, status_event
from engine.base.images import read_input
from engine.base.runtime import compute_threads
from engine.base.tasks import TASKS
from engine.checkpoints.checkpoint import Checkpoint
from engine.export.dense import as_exported
from engine.export.feasible import exported_stride
from engine.export.heads import gives_centres, gives_final_boxes, select_head
from engine.export.noise import structured_noise
from engine.export.parity import Parity, measure_parity
from engine.export.settings import ExportSettings
from engine.export.writing import Written
from engine.runtimes.backends import torch_backend
from engine.runtimes.formats import Backend
from engine.runtimes.sessions import timed_ms

_LATENCY_RUNS, _WARM_UP = 20, 3


def compare(
    checkpoint: Checkpoint,
    backend: Backend,
    settings: ExportSettings,
    written: Written,
    head: str,
    images: Sequence[Path],
) -> Parity:
    """Measure parity on structured noise, on two images of another size too if promised, and on the images."""
    model, channels, (height, width) = checkpoint.model, checkpoint.channels, written.imgsz
    select_head(model, head, written.imgsz)
    noise = structured_noise(channels, height, width)
    inputs = [noise[:1], noise[1:]]
    if settings.dynamic:
        inputs.append(structured_noise(channels, height + exported_stride(checkpoint), width))
    inputs += [read_input(path, channels, height, width, checkpoint.task) for path in images]
    return measure_parity(
        torch_backend(as_exported(model, settings.format)),
        backend,
        inputs,
        classes=len(checkpoint.names),
        task=checkpoint.task,
        end2end=gives_final_boxes(model),
        centres=gives_centres(model),
        nms=settings.nms,
    )


def latencies(backend: Backend, written: Written, shape: tuple[int, ...]) -> tuple[float, float | None]:
    """Return the median milliseconds of one image, of the file and of the fp32 one where there is one, in turns."""
    runs = [backend]
    if written.full:
        runs.append(written.format.open(written.full, compute_threads()))
    image = np.random.default_rng(0).random((1, *shape[1:]), dtype=np.float32)
    times = [[timed_ms(partial(run, image)) for run in runs] for _ in range(_LATENCY_RUNS)]
    medians = np.median(np.array(times[_WARM_UP:]), axis=0).tolist()
    return medians[0], medians[1] if written.full else None


def why_no_accuracy(checkpoint: Checkpoint, settings: ExportSettings, written: Written) -> str:
    """Return why accuracy is not measured in one sentence, empty where it is."""
    if checkpoint.task not in TASKS:
        return f"Ultralytics measures no accuracy of a {checkpoint.task} model."
    if settings.precision == "fp32" and not settings.nms:
        return "Accuracy is not measured in fp32, where the outputs themselves are compared."
    if not written.format.measured:
        return f"Accuracy is not measured of {written.format.label} files."
    if settings.data is None:
        return "Accuracy is measured on a data set only; none was given."
    height, width = written.imgsz
    return "" if height == width else f"Accuracy is measured of square images only, not of {height} × {width} px."


def accuracies(
    checkpoint: Checkpoint, settings: ExportSettings, data: Path, written: Written, head: str, report: Report
) -> dict[str, float]:
    """Return the metric that judges, of the file, then of the checkpoint, on square images."""
    from engine.export.accuracy import validation_map

    report(status_event("Measuring accuracy on the validation split, of the file and of the checkpoint"))
    metric = TASKS[checkpoint.task].metric
    files = {metric: written.path, f"{metric} fp32": checkpoint.path}
    measured = partial(
        validation_map,
        task=checkpoint.task,
        data=data,
        imgsz=written.imgsz[0],
        report=report,
        cut=settings.nms,
        head=head,
        single_cls=checkpoint.single_cls,
    )
    return {name: measured(file) for name, file in files.items()}
