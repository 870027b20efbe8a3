"""mAP directly after pruning, at a grid of ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.base import numbers
from engine.base.errors import StopRequested
from engine.base.events import Report, StatusEvent, silent, status_event, step_event
from engine.base.tasks import score_words
from engine.pruning.criteria import ImportanceSettings
from engine.pruning.session import Slimming
from engine.pruning.solver import SolverSettings, check_ratio, solve
from engine.validation.impact.point import Bench, counting
from engine.validation.impact.point_cache import Kept, Key
from engine.validation.impact.settings import MeasureSettings
from engine.validation.impact.subset import choose_subset

DEFAULT_RATIOS = tuple(step / 10 for step in range(1, 10))


@dataclass(frozen=True)
class AccuracyPoint:
    """What pruning at one ratio leaves."""

    ratio: float
    ratio_achieved: float
    params: int
    gflops: float
    "At GFLOPS_IMGSZ."
    metrics: dict[str, float]
    "Short name, such as mAP50-95 -> 0 to 1."
    recalibrated: int
    "Images that BatchNorm statistics were estimated on again after the cut."


@dataclass(frozen=True)
class AccuracyCurve:
    """mAP against the prune ratio."""

    file: str
    "Where it is kept."
    dense: dict[str, float]
    "Metrics of the checkpoint as it is."
    points: tuple[AccuracyPoint, ...]
    "Ascending by ratio."
    beyond: tuple[float, ...]
    "Ratios that floors forbid."
    images: int
    gflops_imgsz: int = numbers.GFLOPS_IMGSZ
    stopped: bool = False
    "Ended early, on request; the points are those measured until then."

    def as_dict(self) -> dict[str, Any]:
        """Return the curve as JSON-able values."""
        return asdict(self)


def accuracy_curve(
    slimming: Slimming,
    ratios: Sequence[float],
    data: Path,
    measure: MeasureSettings,
    folder: Path,
    *,
    settings: SolverSettings | None = None,
    importance: ImportanceSettings | None = None,
    device: str = "cpu",
    report: Report = silent,
) -> AccuracyCurve:
    """Measure a model pruned at each of several ratios, and as it is.

    Args:
        slimming: The opened checkpoint.
        ratios: From 0 to 0.95; those that floors forbid are left out.
        data: The data set's YAML description.
        measure: Images and repair.
        folder: Where measured points are kept, and looked for first.
        settings: Limits of the solver.
        importance: How channels are scored.
        device: As Ultralytics writes it.
        report: Receives ``step`` events that count measurements, and a ``status`` for each; may raise StopRequested.

    Raises:
        PlanError: A ratio is out of range, or nothing can be removed.
        DatasetError, TrainingError, StorageError: As ``engine.validation.validator.validate``.
    """
    settings, importance = settings or SolverSettings(), importance or ImportanceSettings()
    for ratio in ratios:
        check_ratio(ratio)
    ranking = slimming.ranking(settings, importance)
    costs = slimming.cost_model(numbers.GFLOPS_IMGSZ)
    wanted = sorted({round(float(ratio), 4) for ratio in ratios} - {0.0})
    possible = [ratio for ratio in wanted if ratio <= ranking.ceiling_ratio + 1e-9 or ranking.own.any()]
    subset = choose_subset(data, measure, slimming.checkpoint.task)
    about = {
        "data": str(subset.info.yaml_path),
        "images": len(subset.validation),
        "name": slimming.checkpoint.path.name,
    }
    everything = curve_settings(measure, settings, importance)
    key = Key("accuracy", slimming.checkpoint.digest, subset.digest, everything, device)
    kept = Kept(folder, key, about)
    steps, stopped = len(possible) + 1, False
    try:
        with Bench(slimming, subset, measure, device) as bench:
            if kept.get("dense") is None:
                kept.put("dense", {"metrics": bench.original(counting(report, 0, steps))})
            report(_status("As it is", kept.get("dense")))
            for done, ratio in enumerate(possible, start=1):
                report(step_event(done, steps))
                if kept.get(_name(ratio)) is None:
                    plan = solve(ranking, ratio)
                    cost = costs.cost(plan.keep)
                    metrics = bench.cut(plan.keep, counting(report, done, steps))
                    images = len(subset.training) if bench.recalibrates(plan.keep) else 0
                    point = AccuracyPoint(ratio, plan.ratio_achieved, cost.params, cost.gflops, metrics, images)
                    kept.put(_name(ratio), asdict(point))
                report(_status(f"Pruned at {ratio:g}", kept.get(_name(ratio))))
            report(step_event(steps, steps))
    except StopRequested:
        stopped = True
    measured = [point for ratio in possible if (point := kept.get(_name(ratio)))]
    # Points that were kept before GFLOPs were told at one size are counted anew; it is arithmetic.
    gflops = [costs.cost(solve(ranking, point["ratio"]).keep).gflops for point in measured]
    return AccuracyCurve(
        file=str(kept.path),
        dense=(kept.get("dense") or {}).get("metrics", {}),
        points=tuple(AccuracyPoint(**{**point, "gflops": own}) for point, own in zip(measured, gflops, strict=True)),
        beyond=tuple(ratio for ratio in wanted if ratio not in possible),
        images=len(subset.validation),
        stopped=stopped,
    )


def curve_settings(
    measure: MeasureSettings, settings: SolverSettings, importance: ImportanceSettings
) -> dict[str, Any]:
    """Return everything but the model and the images that a curve depends on."""
    return {"measure": asdict(measure), "solver": asdict(settings), "importance": asdict(importance)}


def interpolated(points: Sequence[tuple[float, float]], ratio: float) -> float | None:
    """Return the value at a ratio between (ratio, value) points, by straight lines; None beyond the last one."""
    if not points or not points[0][0] - 1e-9 <= ratio <= points[-1][0] + 1e-9:
        return None
    return float(np.interp(ratio, *zip(*points, strict=True)))


def _name(ratio: float) -> str:
    return f"{ratio:.4f}"


def _status(what: str, point: dict[str, Any]) -> StatusEvent:
    return status_event(f"{what}: {score_words(point['metrics'])}")
