"""Export a checkpoint and hold the file against its gates."""

from __future__ import annotations

import ast
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from engine.checkpoint import Checkpoint, open_checkpoint
from engine.errors import DatasetError, ExportError, StorageError
from engine.export import gates as gate
from engine.export.backends import Backend, open_backend, torch_backend
from engine.export.exporter import first_line, run_exporter
from engine.export.gates import Gate
from engine.export.images import read_image, spread, structured_noise
from engine.export.lineage import lineage, read_metadata, write_metadata
from engine.export.parity import Parity, measure_parity
from engine.export.precision import to_fp16, to_int8
from engine.export.settings import FORMATS, NMS_TASKS, SUFFIXES, ExportSettings
from engine.files import atomic_path, require_free_space, writing_to

Reporter = Callable[[dict], None]

COMPARED_IMAGES = 16
"Of the validation split, where a data set is given."
_LATENCY_RUNS = 20
# An exported file holds float32 weights; the checkpoint usually holds them in half precision, once or twice.
_SIZE_FACTOR = 3


@dataclass(frozen=True)
class ExportResult:
    """An exported file and what was measured on it.

    Differences are between the file run on the CPU and the checkpoint's float32 PyTorch model before its BatchNorm
    layers are fused, so they cover fusing, tracing, simplifying, quantising and the runtime.
    """

    path: Path
    format: str
    precision: str
    size_mb: float
    """1 MB is 1,000,000 bytes"""
    opset: int | None
    """of ONNX"""
    imgsz: tuple[int, int]
    """height, width in pixels"""
    dynamic: bool
    nms: bool
    parity: Parity
    latency_ms: float
    """median of one image on this machine's processor"""
    accuracy: dict[str, float]
    """mAP50-95 of the file and of the fp32 checkpoint, where it was measured"""
    gates: tuple[Gate, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return not gate.failures(list(self.gates))

    def as_dict(self) -> dict:
        """Return the fields as plain, JSON-able values, those of the parity beside the others."""
        own = {key: value for key, value in asdict(self).items() if key != "parity"}
        tolerance = next((each.limit for each in self.gates if each.name == "difference"), None)
        return {
            **own, **asdict(self.parity), "path": str(self.path), "passed": self.passed, "tolerance": tolerance,
            "box_share": self.parity.box_share, "gates": [each.as_dict() for each in self.gates],
        }  # fmt: skip


def export_model(
    weights: Path,
    save_path: Path,
    settings: ExportSettings,
    *,
    images: Sequence[Path] = (),
    tolerance: float | None = None,
    report: Reporter = lambda event: None,
) -> ExportResult:
    """Export a checkpoint, then check the file and compare it with the checkpoint.

    The file appears at ``save_path`` whole or not at all, also where a gate failed: the result says so. The
    checkpoint is never touched.

    Args:
        weights: a checkpoint that ``open_checkpoint`` accepts.
        save_path: where the file goes; an existing one is replaced.
        settings: what to export to.
        images: image files to compare on; those of the validation split of ``settings.data`` if none are given.
        tolerance: largest accepted relative difference; that of the precision if None.
        report: receives ``status`` and ``step`` events; may raise ``StopRequested``.

    Raises:
        CheckpointError: the weights cannot be opened.
        DatasetError: the data set cannot be used.
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
    _check_classes(checkpoint, settings)
    compared = list(images) or _dataset_images(settings, "val", COMPARED_IMAGES)
    require_free_space(Path(tempfile.gettempdir()), 3 * _SIZE_FACTOR * checkpoint.path.stat().st_size)
    with tempfile.TemporaryDirectory(prefix="export-") as temporary:
        report(_status(f"Exporting {checkpoint.path.name} to {FORMATS[settings.format]}"))
        exported, full = _exported(checkpoint, settings, Path(temporary), report)
        opset, size = _facts(exported, settings)
        report(_status("Comparing the file with the PyTorch model"))
        backend = open_backend(exported, settings.format)
        parity = _compare(checkpoint, backend, settings, size, compared)
        times = _latencies(backend, open_backend(full, settings.format) if full else None, parity.input_shape)
        accuracy = _accuracies(checkpoint, exported, settings, report)
        size_mb = _place(exported, save_path) / 1e6
        found = [
            *([gate.checker_gate(_complaint(exported))] if settings.format == "onnx" else []),
            gate.difference_gate(parity, settings.precision, tolerance),
            gate.boxes_gate(parity, settings.precision),
            gate.size_gate(size_mb, checkpoint.params, settings.precision),
            gate.latency_gate(*times, settings.precision),
        ]
    if accuracy:
        measured = accuracy["mAP50-95"], accuracy["mAP50-95 fp32"]
        found.append(gate.accuracy_gate(*measured, settings.precision, checkpoint.task))
    result = ExportResult(
        path=save_path,
        format=settings.format,
        precision=settings.precision,
        size_mb=size_mb,
        opset=opset,
        imgsz=size,
        dynamic=settings.dynamic,
        nms=settings.nms,
        parity=parity,
        latency_ms=times[0],
        accuracy=accuracy,
        gates=tuple(found),
        seconds=time.monotonic() - started_s,
    )
    failed = ", ".join(each.name for each in gate.failures(found))
    report(_status(f"Exported {size_mb:.1f} MB; " + (f"FAILED: {failed}" if failed else "every gate passed")))
    return result


def _status(text: str) -> dict:
    return {"kind": "status", "text": text}


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


def _check_classes(checkpoint: Checkpoint, settings: ExportSettings) -> None:
    """Refuse before the work a data set of another number of classes, on which no mAP can be measured."""
    if settings.data is None or checkpoint.task not in NMS_TASKS:
        return
    from engine.datasets import check_dataset

    described, known = len(check_dataset(settings.data).names), len(checkpoint.names)
    if described != known:
        raise DatasetError(
            f"The data set describes {described} classes, but {checkpoint.path.name} knows {known}; "
            "choose the data set that the model was trained for."
        )


def _dataset_images(settings: ExportSettings, split: str, count: int) -> list[Path]:
    if settings.data is None:
        return []
    from engine.datasets import check_dataset, image_files

    return spread(image_files(check_dataset(settings.data), split), count)


def _exported(
    checkpoint: Checkpoint, settings: ExportSettings, folder: Path, report: Reporter
) -> tuple[Path, Path | None]:
    """Return the exported file, and the float32 one that it was converted from, if it was."""
    # To Ultralytics, False would mean: the head that needs no suppression, where a model has one besides its own.
    arguments = {"imgsz": settings.size, "dynamic": settings.dynamic, "nms": settings.nms or None}
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
            _convert(full, exported, settings, report)
    write_metadata(exported, settings.format, metadata, lineage(checkpoint, settings.precision))
    return exported, full


def _convert(source: Path, target: Path, settings: ExportSettings, report: Reporter) -> None:
    if settings.precision == "fp16":
        to_fp16(source, target)
        return
    height, width = ast.literal_eval(read_metadata(source)["imgsz"])
    paths = _dataset_images(settings, "train", settings.calibration_images)
    report(_status(f"Calibrating on {len(paths)} training images"))
    to_int8(source, target, _Images(paths, height, width), report)


class _Images(Sequence):
    """Images read when they are asked for, so that a calibration set need not fit into memory."""

    def __init__(self, paths: list[Path], height: int, width: int) -> None:
        self._paths, self._size = paths, (height, width)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_image(self._paths[index], *self._size)


def _complaint(exported: Path) -> str:
    """Return what the ONNX checker, with full shape inference, has to say; empty where it is content."""
    import onnx

    try:
        onnx.checker.check_model(str(exported), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return first_line(error)
    return ""


def _facts(exported: Path, settings: ExportSettings) -> tuple[int | None, tuple[int, int]]:
    """Return the opset (of ONNX) and the image size, after the exporter rounded it up to the model's stride."""
    if settings.format != "onnx":
        height, width = settings.size
        return None, (-(-height // 32) * 32, -(-width // 32) * 32)
    import onnx

    model = onnx.load(str(exported), load_external_data=False)
    height, width = ast.literal_eval(next(entry.value for entry in model.metadata_props if entry.key == "imgsz"))
    return next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), (height, width)


def _compare(
    checkpoint: Checkpoint, backend: Backend, settings: ExportSettings, size: tuple[int, int], images: Sequence[Path]
) -> Parity:
    """Measure parity on structured noise, on two images of another size too if promised, and on the images."""
    model, (height, width) = checkpoint.model, size
    channels = (getattr(model, "yaml", None) or {}).get("channels", 3)
    noise = structured_noise(channels, height, width)
    inputs = [noise[:1], noise[1:]]
    if settings.dynamic:
        inputs.append(structured_noise(channels, height + int(max(model.stride)), width))
    inputs += [read_image(Path(path), height, width) for path in images]
    return measure_parity(
        torch_backend(model),
        backend,
        inputs,
        classes=len(checkpoint.names),
        task=checkpoint.task,
        end2end=bool(getattr(model, "end2end", False)),
        nms=settings.nms,
    )


def _latencies(backend: Backend, full: Backend | None, shape: tuple[int, ...]) -> tuple[float, float | None]:
    """Return the median milliseconds of the file, and of the float32 one, taken in turns."""
    from engine.latency.sessions import timed_ms

    image = np.random.default_rng(0).random((1, *shape[1:]), dtype=np.float32)
    times = [
        [timed_ms(lambda run=run: run(image)) for run in (backend, full) if run is not None]
        for _ in range(_LATENCY_RUNS)
    ]
    medians = np.median(np.array(times[3:]), axis=0).tolist()
    return medians[0], medians[1] if full else None


def _accuracies(checkpoint: Checkpoint, exported: Path, settings: ExportSettings, report: Reporter) -> dict[str, float]:
    """Return mAP50-95 of the file and of the checkpoint, where a data set is given and raw outputs do not tell."""
    from engine.export.accuracy import validation_map

    square = len(set(settings.size)) == 1
    exact = settings.precision == "fp32" and not settings.nms
    if settings.data is None or exact or not square or checkpoint.task not in NMS_TASKS:
        return {}
    if settings.format != "onnx":
        return {}
    report(_status("Measuring mAP on the validation split, of the file and of the checkpoint"))
    imgsz = settings.size[0]
    return {
        "mAP50-95": validation_map(exported, checkpoint.task, settings.data, imgsz, report, cut=settings.nms),
        "mAP50-95 fp32": validation_map(
            checkpoint.path, checkpoint.task, settings.data, imgsz, report, cut=settings.nms
        ),
    }


def _place(exported: Path, save_path: Path) -> int:
    """Copy across file systems into a file aside, which is then renamed; zip a folder. Return its bytes."""
    parts = [exported] if exported.is_file() else [path for path in exported.rglob("*") if path.is_file()]
    require_free_space(save_path.parent, sum(path.stat().st_size for path in parts))
    with atomic_path(save_path) as aside:
        if exported.is_file():
            shutil.copyfile(exported, aside)
        else:
            shutil.make_archive(str(aside.with_suffix("")), "zip", exported.parent, exported.name)
    return save_path.stat().st_size
