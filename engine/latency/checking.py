"""A predicted latency held against the pruned model, with time counted as the prediction counts it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.base import numbers
from engine.base.events import Report, silent, status_event
from engine.base.imgsz import ImageSize, height_width
from engine.latency.interleaved import in_turns
from engine.runtimes.exporter import run_exporter
from engine.runtimes.sessions import feed, open_session, own_time_ms, undisturbed_ms

LIMIT = 0.15
"Share by which a measured latency may differ from the predicted one, or exceed the one asked for."
_MEASURE_S, _LEAST_RUNS, _MOST_RUNS = 4.0, 10, 50


@dataclass(frozen=True)
class LatencyCheck:
    """The whole and the pruned model on this machine: one image in ONNX Runtime, in milliseconds."""

    target_ms: float
    predicted_ms: float
    "Of the pruned model."
    whole_ms: float
    "Measured."
    pruned_ms: float
    "Measured."
    threads: int

    @property
    def ratio(self) -> float:
        """Predicted / measured, of the pruned model."""
        return self.predicted_ms / self.pruned_ms

    @property
    def note(self) -> str:
        """What is wrong and what to do, empty where the measured latency is near enough."""
        if self.pruned_ms > (1 + LIMIT) * self.target_ms:
            wrong = (
                f"The pruned model takes {numbers.percent(self.pruned_ms / self.target_ms - 1)} longer than asked for"
            )
        elif abs(self.ratio - 1) > LIMIT:
            wrong = f"Predicted and measured latency differ by more than {numbers.percent(LIMIT, 0)}"
        else:
            return ""
        return (
            f"{wrong}; if the machine was busy, measure again with 'latency --predict' once it is idle, and prune anew."
        )

    def told(self) -> dict[str, Any]:
        """Return what was measured as the fields of ``PruneResult``."""
        return {
            "latency_ms_measured_before": self.whole_ms,
            "latency_ms_measured": self.pruned_ms,
            "latency_ratio": self.ratio,
            "latency_threads": self.threads,
            "latency_note": self.note,
        }


def check_latency(
    whole: Path,
    pruned: Path,
    *,
    target_ms: float,
    predicted_ms: float,
    imgsz: ImageSize,
    threads: int,
    report: Report = silent,
) -> LatencyCheck:
    """Time a whole and a pruned checkpoint in turns; takes seconds, with large models a minute.

    Args:
        whole: what was pruned.
        pruned: what came out.
        target_ms: milliseconds asked for.
        predicted_ms: milliseconds predicted for the pruned model.
        imgsz: image size, pixels or (height, width), that they hold for.
        threads: of ONNX Runtime.
        report: receives ``status`` and ``step`` events; may raise ``StopRequested``.

    Raises:
        ExportError: a checkpoint cannot be exported to ONNX, and so not be timed.
        StorageError: there is no space to export to.
    """
    report(status_event("Timing the whole and the pruned model in turns"))
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        files = [exported(path, Path(folder) / str(number), imgsz) for number, path in enumerate((whole, pruned))]
        whole_ms, pruned_ms = undisturbed_in_turns(files, imgsz, threads, report=report).tolist()
    return LatencyCheck(target_ms, predicted_ms, whole_ms, pruned_ms, threads)


def exported(weights: Path, folder: Path, imgsz: ImageSize) -> Path:
    """Export a checkpoint to ONNX in a new folder, as everything that is timed here; errors as ``run_exporter``."""
    folder.mkdir()
    return run_exporter(weights, folder, imgsz=height_width(imgsz), simplify=True)


def undisturbed_in_turns(
    onnx_files: Sequence[Path],
    imgsz: ImageSize,
    threads: int,
    repeats: int | None = None,
    report: Report = silent,
) -> np.ndarray:
    """Return the (N,) milliseconds of ONNX models run in turns, counted as those that predictions are made from.

    Args:
        onnx_files: N exported models.
        imgsz: image size, pixels or (height, width).
        threads: of ONNX Runtime.
        repeats: timed runs of each; as many as fit into a few seconds if None, at least 10.
        report: receives ``step`` events; may raise ``StopRequested``.
    """
    runs = [_run_ms(file, imgsz, threads) for file in onnx_files]
    if repeats is None:
        turn_s = sum(run_ms() for run_ms in runs) / 1e3
        repeats = int(np.clip(_MEASURE_S / turn_s, _LEAST_RUNS, _MOST_RUNS))
    return np.array([undisturbed_ms(own) for own in in_turns(runs, repeats, report)])


def _run_ms(onnx_file: Path, imgsz: ImageSize, threads: int) -> Callable[[], float]:
    session = open_session(onnx_file, threads)
    inputs = feed(session, imgsz)
    return lambda: own_time_ms(lambda: session.run(None, inputs), threads)
