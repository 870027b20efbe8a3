"""mAP directly after pruning, at a grid of ratios."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.base import numbers
from engine.base.events import Report, silent
from engine.pruning.criteria import ImportanceSettings
from engine.pruning.session import Slimming
from engine.pruning.solver import Ranking, SolverSettings, check_ratio, solve
from engine.settings.results import AccuracyCurve, AccuracyPoint
from engine.validation.impact.point import DENSE, Bench, Cut, fill
from engine.validation.impact.settings import MeasureSettings
from engine.validation.study import StudyFile


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
    wanted = sorted({round(float(ratio), 4) for ratio in ratios} - {0.0})
    possible = [ratio for ratio in wanted if ratio <= ranking.ceiling_ratio + 1e-9 or ranking.own.any()]
    bench = Bench(slimming, data, measure, device)
    file = StudyFile(folder, bench.study("accuracy", solver=settings, importance=importance))
    cuts = [_cut_at(bench, ranking, ratio) for ratio in possible]
    complete = fill(file, [DENSE, *cuts], bench, report)
    measured = file.study
    return AccuracyCurve(
        file=str(file.path),
        dense=measured.metrics(DENSE.name),
        # What else a point says is arithmetic, and told as of today whenever the point was measured.
        points=tuple(
            AccuracyPoint(**cut.about, metrics=measured.metrics(cut.name))
            for cut in cuts
            if cut.name in measured.points
        ),
        beyond=tuple(ratio for ratio in wanted if ratio not in possible),
        images=measured.images,
        gflops_imgsz=numbers.GFLOPS_IMGSZ,
        stopped=not complete,
    )


def _cut_at(bench: Bench, ranking: Ranking, ratio: float) -> Cut:
    plan = solve(ranking, ratio)
    cost = bench.slimming.cost_model(numbers.GFLOPS_IMGSZ).cost(plan.keep)
    about = {
        "ratio": ratio,
        "ratio_achieved": plan.ratio_achieved,
        "params": cost.params,
        "gflops": cost.gflops,
        "recalibrated": len(bench.recalibration_images(plan.keep)),
    }
    return Cut(f"{ratio:.4f}", f"Pruned at {ratio:g}", plan.keep, about)
