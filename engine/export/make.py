"""Export a checkpoint and hold the file against its gates."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.base import numbers
from engine.base.events import Report, silent, status_event
from engine.base.runtime import compute_threads
from engine.checkpoints.checkpoint import Checkpoint, open_checkpoint
from engine.export import gates as gate
from engine.export.feasible import check_settings, check_target, rounding
from engine.export.gates import Gate
from engine.export.heads import choose_head
from engine.export.measuring import accuracies, compare, latencies, why_no_accuracy
from engine.export.parity import Parity
from engine.export.settings import ExportSettings
from engine.export.writing import Written, dataset_images, place, write_export
from engine.runtimes.formats import format_named
from engine.settings.results import ExportResult

COMPARED_IMAGES = 16
"Of the validation split, where a data set is given."


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
    started_s, save_path = time.monotonic(), Path(save_path)
    check_target(save_path, settings.format)
    checkpoint = open_checkpoint(weights)
    check_settings(checkpoint, settings, report)
    head = choose_head(checkpoint.model, checkpoint.path.name, settings.head, settings.nms)
    with tempfile.TemporaryDirectory(prefix="export-") as temporary:
        label = format_named(settings.format).label
        report(status_event(f"Exporting {checkpoint.path.name} to {label}{rounding(checkpoint, settings)}"))
        written = write_export(checkpoint, settings, head, Path(temporary), report)
        packed = written.format.packed(written.path)
        measured = _measured(checkpoint, settings, written, head, images, report)
        gates = _gates(checkpoint, settings, written, measured, packed, tolerance)
        verified = gate.detections_tested(gates) or not _needs_detections(settings)
        passed = verified and not gate.failures(gates)
        if strict and not passed:
            save_path = failed_path(save_path)
        size_mb = _megabytes(packed)
        place(packed, save_path)
    report(status_event(f"Exported {numbers.megabytes(size_mb)}. {gate.verdict(gates)}"))
    return ExportResult(
        path=save_path,
        head=head,
        size_mb=size_mb,
        verified=verified,
        passed=passed,
        tolerance=next((each.limit for each in gates if each.name == "difference"), None),
        gates=tuple(gates),
        seconds=time.monotonic() - started_s,
        **{name: getattr(settings, name) for name in ("format", "precision", "dynamic", "nms")},
        **{name: getattr(written, name) for name in ("opset", "imgsz")},
        **measured.told(),
    )


def failed_path(save_path: Path) -> Path:
    """Return where a file goes that was not passed under ``strict``: beside, with '-failed' after its name."""
    return save_path.with_name(f"{save_path.stem}-failed{save_path.suffix}")


@dataclass(frozen=True)
class _Measured:
    """What was measured of a file, for its gates."""

    parity: Parity
    noise_only: bool
    "No image from elsewhere was compared on."
    times_ms: tuple[float, float | None]
    "Of the file, and of the fp32 one that it was converted from."
    accuracy: dict[str, float]
    why_no_accuracy: str

    def told(self) -> dict[str, Any]:
        """Return it under the names of ``ExportResult``."""
        others = {"latency_ms": self.times_ms[0], "accuracy": self.accuracy, "metrics": self.accuracy}
        return {**asdict(self.parity), "box_share": self.parity.box_share, **others}


def _measured(
    checkpoint: Checkpoint,
    settings: ExportSettings,
    written: Written,
    head: str,
    images: Sequence[Path],
    report: Report,
) -> _Measured:
    images = list(images) or dataset_images(settings.data, "val", COMPARED_IMAGES)
    report(status_event("Comparing the file with the PyTorch model"))
    backend = written.format.open(written.path, compute_threads())
    parity = compare(checkpoint, backend, settings, written, head, images)
    times_ms = latencies(backend, written, parity.input_shape)
    why_not = why_no_accuracy(checkpoint, settings, written)
    accuracy: dict[str, float] = {}
    if settings.data is not None and not why_not:
        accuracy = accuracies(checkpoint, settings, settings.data, written, head, report)
    return _Measured(parity, not images, times_ms, accuracy, why_not)


def _gates(
    checkpoint: Checkpoint,
    settings: ExportSettings,
    written: Written,
    measured: _Measured,
    packed: Path,
    tolerance: float | None,
) -> list[Gate]:
    precision, task = settings.precision, checkpoint.task
    complaint = written.format.complaint(written.path)
    found = [] if complaint is None else [gate.checker_gate(complaint, written.format.label)]
    found += [
        gate.difference_gate(measured.parity, precision, tolerance),
        gate.boxes_gate(measured.parity, precision, noise_only=measured.noise_only, task=task),
        gate.size_gate(_megabytes(packed), checkpoint.params, precision),
        gate.latency_gate(*measured.times_ms, precision),
    ]
    if measured.why_no_accuracy:
        return [*found, gate.no_accuracy_gate(measured.why_no_accuracy)]
    own, full = measured.accuracy.values()
    return [*found, gate.accuracy_gate(own, full, precision, task)]


def _megabytes(file: Path) -> float:
    return file.stat().st_size / 1e6


def _needs_detections(settings: ExportSettings) -> bool:
    """Whether raw outputs are held to no limit, or fewer bits were given a data set to prove themselves on."""
    return settings.nms or (settings.precision != "fp32" and settings.data is not None)
