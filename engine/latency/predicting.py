"""What a whole model takes, and everything measured that predicts what any plan of it would take."""

from __future__ import annotations

from pathlib import Path

from engine.base.events import Report, silent
from engine.base.imgsz import ImageSize, as_size
from engine.checkpoints.checkpoint import open_checkpoint
from engine.latency.target import TimedSlimming
from engine.settings.results import Prediction


def predict_latency(path: Path, imgsz: ImageSize, threads: int | None = None, report: Report = silent) -> Prediction:
    """Measure what predicts the latency of any plan of a checkpoint on this machine, and keep it.

    Convolutions are measured once. The whole model, which sets the level of every prediction, is measured each time,
    because the machine may have been busy before.

    Args:
        path: a checkpoint that ``open_checkpoint`` accepts.
        imgsz: image size, pixels or (height, width), each a multiple of the model's stride.
        threads: of ONNX Runtime; every available core if None.
        report: receives ``status`` and ``step`` events; may raise ``StopRequested``, and what was measured is kept.

    Raises:
        CheckpointError: the checkpoint cannot be opened.
        PlanError: it cannot be pruned, does not run at that size, or there is no such number of threads.
        ExportError: it cannot be exported to ONNX, and so not be timed.
        StorageError: the table cannot be written.
    """
    imgsz = as_size(imgsz)
    slimming = TimedSlimming(open_checkpoint(path), threads, report=report)
    slimming.table.forget_parts(slimming.checkpoint.digest, imgsz)
    costs = slimming.timed_costs(imgsz)
    slimming.table.save()
    parts = costs.parts
    return Prediction(
        weights=str(path),
        imgsz=imgsz,
        threads=costs.threads,
        latency_ms=parts.total,
        convolutions_ms=parts.convolutions,
        moving_ms=parts.moving,
        rest_ms=parts.rest,
    )
