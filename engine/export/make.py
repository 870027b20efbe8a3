"""Export a checkpoint and hold the file against its gates."""

from __future__ import annotations

import ast
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from ultralytics.nn.tasks import BaseModel

from engine.base import numbers
from engine.base.errors import ExportError, StorageError
from engine.base.events import Report, silent, status_event
from engine.base.files import atomic_path, require_free_space, writing_to
from engine.base.images import read_input
from engine.base.tasks import TASKS
from engine.checkpoints.checkpoint import Checkpoint, open_checkpoint
from engine.export import gates as gate
from engine.export.dense import as_exported
from engine.export.heads import choose_head, gives_centres, gives_final_boxes, select_head
from engine.export.metadata import lineage, read_metadata, write_metadata
from engine.export.noise import structured_noise
from engine.export.parity import Parity, measure_parity
from engine.export.precision import to_fp16, to_int8
from engine.export.settings import END2END, FORMATS, NMS_TASKS, SUFFIXES, ExportSettings
from engine.runtimes.backends import Backend, open_backend, torch_backend
from engine.runtimes.exporter import first_line, run_exporter
from engine.settings.results import ExportResult

COMPARED_IMAGES = 16
"Of the validation split, where a data set is given."
_LATENCY_RUNS = 20
# An exported file holds float32 weights; the checkpoint usually holds them in half precision, once or twice.
_SIZE_FACTOR = 3


def export_model(
    weights: Path,
    save_path: Path,
    settings: ExportSettings,
    *,
    images: Sequence[Path] = (),
    tolerance: float | None = None,
    strict: bool = False,
    report: Report = silent,
) -> ExportResult:
    """Export a checkpoint, then check the file and compare it with the checkpoint.

    The file appears at ``save_path`` whole or not at all, also where a gate failed: the result says so. Under
    ``strict`` a file that was not passed goes to ``failed_path(save_path)`` instead, and what is at ``save_path``
    stays. The checkpoint is never touched.

    Args:
        weights: a checkpoint that ``open_checkpoint`` accepts.
        save_path: where the file goes; an existing one is replaced.
        settings: what to export to.
        images: image files to compare on; those of the validation split of ``settings.data`` if none are given.
        tolerance: largest accepted relative difference; that of the precision if None.
        strict: keep ``save_path`` for a file that was passed.
        report: receives ``status`` and ``step`` events; may raise ``StopRequested``.

    Raises:
        CheckpointError: the weights cannot be opened.
        DatasetError: the data set cannot be used or does not fit the model, or an image cannot be read.
        ExportError: the exporter failed, or its file cannot be run.
        StorageError: the file cannot be written.
    """
    started_s = time.monotonic()
    save_path = Path(save_path)
    _check_name(save_path, settings.format)
    _check_place(save_path)
    checkpoint = open_checkpoint(weights)
    if settings.nms and checkpoint.task not in NMS_TASKS:
        raise ExportError(f"A {checkpoint.task} model finds no boxes, so there is nothing to suppress; leave NMS out.")
    head = choose_head(checkpoint.model, checkpoint.path.name, settings.head, settings.nms)
    _check_data(checkpoint, settings, report)
    compared = list(images) or _dataset_images(settings, "val", COMPARED_IMAGES)
    require_free_space(Path(tempfile.gettempdir()), 3 * _SIZE_FACTOR * checkpoint.path.stat().st_size)
    with tempfile.TemporaryDirectory(prefix="export-") as temporary:
        rounding = _rounding(checkpoint, settings)
        report(status_event(f"Exporting {checkpoint.path.name} to {FORMATS[settings.format]}{rounding}"))
        exported, full = _exported(checkpoint, settings, head, Path(temporary), report)
        opset, size = _facts(exported, checkpoint, settings)
        report(status_event("Comparing the file with the PyTorch model"))
        backend = open_backend(exported, settings.format)
        select_head(checkpoint.model, head, size)
        parity = _compare(checkpoint, backend, settings, size, compared)
        times = _latencies(backend, open_backend(full, settings.format) if full else None, parity.input_shape)
        unmeasured = _why_no_accuracy(checkpoint, settings, size)
        accuracy: dict[str, float] = {}
        if settings.data is not None and not unmeasured:
            accuracy = _accuracies(checkpoint, exported, settings, settings.data, head, size[0], report)
        packed = _packed(exported)
        size_mb = packed.stat().st_size / 1e6
        found = [
            *([gate.checker_gate(_complaint(exported))] if settings.format == "onnx" else []),
            gate.difference_gate(parity, settings.precision, tolerance),
            gate.boxes_gate(parity, settings.precision, noise_only=not compared, task=checkpoint.task),
            gate.size_gate(size_mb, checkpoint.params, settings.precision),
            gate.latency_gate(*times, settings.precision),
        ]
        if unmeasured:
            found.append(gate.no_accuracy_gate(unmeasured))
        else:
            measured, full_measured = accuracy.values()
            found.append(gate.accuracy_gate(measured, full_measured, settings.precision, checkpoint.task))
        verified = gate.detections_tested(found) or not _needs_detections(settings)
        if strict and (gate.failures(found) or not verified):
            save_path = failed_path(save_path)
        _place(packed, save_path)
    result = ExportResult(
        path=save_path,
        format=settings.format,
        precision=settings.precision,
        size_mb=size_mb,
        opset=opset,
        imgsz=size,
        dynamic=settings.dynamic,
        nms=settings.nms,
        head=head,
        **asdict(parity),
        box_share=parity.box_share,
        latency_ms=times[0],
        accuracy=accuracy,
        metrics=accuracy,
        verified=verified,
        passed=verified and not gate.failures(found),
        tolerance=next((each.limit for each in found if each.name == "difference"), None),
        gates=tuple(found),
        seconds=time.monotonic() - started_s,
    )
    report(status_event(f"Exported {numbers.megabytes(size_mb)}. {gate.verdict(found)}"))
    return result


def failed_path(save_path: Path) -> Path:
    """Return where a file goes that was not passed under ``strict``: beside, with '-failed' after its name."""
    return save_path.with_name(f"{save_path.stem}-failed{save_path.suffix}")


def _check_name(save_path: Path, format: str) -> None:
    if save_path.suffix.lower() != SUFFIXES[format]:
        raise ExportError(
            f"{save_path.name} does not end in {SUFFIXES[format]}; name the exported file like model{SUFFIXES[format]}."
        )


def _check_place(save_path: Path) -> None:
    """Find out before the work whether a file can be written; folders that are missing are made after it."""
    if save_path.is_dir():
        raise StorageError(f"{save_path} is a folder; choose another name, or remove it.")
    existing = next(folder for folder in save_path.absolute().parents if folder.exists())
    with writing_to(save_path.parent), tempfile.TemporaryFile(dir=existing):
        pass


def _needs_detections(settings: ExportSettings) -> bool:
    """Whether raw outputs are held to no limit, or fewer bits were given a data set to prove themselves on."""
    return settings.nms or (settings.precision != "fp32" and settings.data is not None)


def _check_data(checkpoint: Checkpoint, settings: ExportSettings, report: Report) -> None:
    """Refuse before the work a data set of other images, or of other classes, on which no accuracy can be measured."""
    if settings.data is None:
        return
    from engine.datasets import check_dataset
    from engine.datasets.facts import require_images, require_measurable

    info = check_dataset(settings.data, checkpoint.task)
    if checkpoint.task not in TASKS:
        require_images(checkpoint, info)
    elif words := require_measurable(checkpoint, info).sentence:
        report(status_event(words))


def _dataset_images(settings: ExportSettings, split: str, count: int) -> list[Path]:
    if settings.data is None:
        return []
    from engine.datasets import check_dataset, image_files, spread

    return spread(image_files(check_dataset(settings.data), split), count)


def _exported(
    checkpoint: Checkpoint, settings: ExportSettings, head: str, folder: Path, report: Report
) -> tuple[Path, Path | None]:
    """Return the exported file, and the float32 one that it was converted from, if it was."""
    # To Ultralytics, False means the end-to-end head, and None the other one with nothing behind it.
    nms = False if head == END2END else settings.nms or None
    arguments = {"imgsz": settings.size, "dynamic": settings.dynamic, "nms": nms}
    if settings.format == "onnx":
        arguments |= {"opset": settings.opset, "simplify": settings.simplify}
    if settings.format == "openvino" and settings.precision == "fp16":
        arguments["quantize"] = 16
    exported = run_exporter(checkpoint.path, folder, settings.format, **arguments)
    full, metadata = None, {}
    if settings.format == "onnx":
        metadata = read_metadata(exported)
        if settings.precision != "fp32":
            full, exported = exported, folder / f"{settings.precision}.onnx"
            _convert(full, exported, checkpoint, settings, report)
    write_metadata(exported, settings.format, metadata, lineage(checkpoint, settings.precision))
    return exported, full


def _convert(source: Path, target: Path, checkpoint: Checkpoint, settings: ExportSettings, report: Report) -> None:
    if settings.precision == "fp16":
        to_fp16(source, target)
        return
    height, width = ast.literal_eval(read_metadata(source)["imgsz"])
    paths = _dataset_images(settings, "train", settings.calibration_images)
    report(status_event(f"Calibrating on {len(paths)} training images"))
    # Read one by one when asked for: a set need not fit into memory.
    images = (read_input(path, checkpoint.channels, height, width, checkpoint.task) for path in paths)
    to_int8(source, target, images, len(paths), report)


def _complaint(exported: Path) -> str:
    """Return what the ONNX checker, with full shape inference, has to say; empty where it is content."""
    import onnx

    try:
        onnx.checker.check_model(str(exported), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return first_line(error)
    return ""


def _stride(checkpoint: Checkpoint) -> int:
    """Return what image sizes are multiples of, in pixels: 32 for most models, 64 for those with a fourth scale."""
    model: BaseModel = checkpoint.model
    return int(max(model.stride))


def _rounded(checkpoint: Checkpoint, settings: ExportSettings) -> tuple[int, int]:
    """Return the (height, width) that the exporter makes of the one asked for."""
    stride = _stride(checkpoint)
    height, width = (-(-side // stride) * stride for side in settings.size)
    return height, width


def _rounding(checkpoint: Checkpoint, settings: ExportSettings) -> str:
    """Return how the image size differs from the one asked for, empty where it does not."""
    height, width = _rounded(checkpoint, settings)
    if [height, width] == settings.size:
        return ""
    return f" for {height} × {width} px, the size rounded up to the model's stride of {_stride(checkpoint)}"


def _facts(exported: Path, checkpoint: Checkpoint, settings: ExportSettings) -> tuple[int | None, tuple[int, int]]:
    """Return the opset (of ONNX) and the image size, after the exporter rounded it up to the model's stride."""
    if settings.format != "onnx":
        return None, _rounded(checkpoint, settings)
    import onnx

    model = onnx.load(str(exported), load_external_data=False)
    height, width = ast.literal_eval(next(entry.value for entry in model.metadata_props if entry.key == "imgsz"))
    return next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), (height, width)


def _compare(
    checkpoint: Checkpoint, backend: Backend, settings: ExportSettings, size: tuple[int, int], images: Sequence[Path]
) -> Parity:
    """Measure parity on structured noise, on two images of another size too if promised, and on the images."""
    model, channels, (height, width) = checkpoint.model, checkpoint.channels, size
    noise = structured_noise(channels, height, width)
    inputs = [noise[:1], noise[1:]]
    if settings.dynamic:
        inputs.append(structured_noise(channels, height + _stride(checkpoint), width))
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


def _latencies(backend: Backend, full: Backend | None, shape: tuple[int, ...]) -> tuple[float, float | None]:
    """Return the median milliseconds of the file, and of the float32 one, taken in turns."""
    from engine.runtimes.sessions import timed_ms

    image = np.random.default_rng(0).random((1, *shape[1:]), dtype=np.float32)
    times = [
        [timed_ms(partial(run, image)) for run in (backend, full) if run is not None] for _ in range(_LATENCY_RUNS)
    ]
    medians = np.median(np.array(times[3:]), axis=0).tolist()
    return medians[0], medians[1] if full else None


def _why_no_accuracy(checkpoint: Checkpoint, settings: ExportSettings, size: tuple[int, int]) -> str:
    """Return why accuracy is not measured in one sentence, empty where it is."""
    if checkpoint.task not in TASKS:
        return f"Ultralytics measures no accuracy of a {checkpoint.task} model."
    if settings.precision == "fp32" and not settings.nms:
        return "Accuracy is not measured in fp32, where the outputs themselves are compared."
    if settings.format != "onnx":
        return "Accuracy is measured of ONNX files only."
    if settings.data is None:
        return "Accuracy is measured on a data set only; none was given."
    height, width = size
    return "" if height == width else f"Accuracy is measured of square images only, not of {height} × {width} px."


def _accuracies(
    checkpoint: Checkpoint,
    exported: Path,
    settings: ExportSettings,
    data: Path,
    head: str,
    imgsz: int,
    report: Report,
) -> dict[str, float]:
    """Return the metric that judges, of the file, then of the checkpoint, on square images of ``imgsz`` pixels."""
    from engine.export.accuracy import validation_map

    report(status_event("Measuring accuracy on the validation split, of the file and of the checkpoint"))
    metric = TASKS[checkpoint.task].metric
    files = {metric: exported, f"{metric} fp32": checkpoint.path}
    return {
        name: validation_map(
            file,
            checkpoint.task,
            data,
            imgsz,
            report,
            cut=settings.nms,
            head=head,
            single_cls=checkpoint.single_cls,
        )
        for name, file in files.items()
    }


def _packed(exported: Path) -> Path:
    """Return the one file that is handed out: what was exported, or a zip of that folder."""
    if exported.is_file():
        return exported
    with writing_to(exported.parent):
        return Path(shutil.make_archive(str(exported), "zip", exported.parent, exported.name))


def _place(packed: Path, save_path: Path) -> None:
    """Copy across file systems into a file aside, which is then renamed."""
    require_free_space(save_path.parent, packed.stat().st_size)
    with atomic_path(save_path) as aside:
        shutil.copyfile(packed, aside)
