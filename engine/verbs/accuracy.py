"""accuracy and sensitivity: what pruning does to mAP, measured before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.base.events import Report
from engine.settings.results import AccuracyResult, SensitivityResult
from engine.verbs.common import Spec, given, required, resolve_weights, told_fit
from engine.verbs.pruning import plan_arguments


def accuracy(spec: Spec, report: Report) -> AccuracyResult:
    """Measure mAP directly after pruning at a grid of ratios.

    Unless ``recalibrate`` says otherwise, BatchNorm is recalibrated after cuts that are not free.
    """
    from engine.validation.impact import DEFAULT_RATIOS, accuracy_curve

    slimming, asked, told = _opened(spec, report, recalibrate_free=spec.get("recalibrate") is not None)
    curve = accuracy_curve(slimming, given(spec, "ratios", DEFAULT_RATIOS), **asked, report=report)
    return AccuracyResult(**told, **dict(curve))


def sensitivity(spec: Spec, report: Report) -> SensitivityResult:
    """Measure mAP with each block of layers pruned alone."""
    from engine.validation.impact import SHARES
    from engine.validation.impact import sensitivity as measure

    # Losses are counted from the whole model, which is recalibrated like the cut ones, so all are treated alike.
    slimming, asked, told = _opened(spec, report, recalibrate_free=True)
    measured = measure(slimming, **asked, shares=given(spec, "shares", SHARES), report=report)
    return SensitivityResult(**told, **dict(measured))


def _opened(spec: Spec, report: Report, *, recalibrate_free: bool) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Open the checkpoint and read what both measurements are asked for, and what both tell besides."""
    from engine.base.devices import check_device, default_device
    from engine.base.imgsz import model_stride, told_imgsz
    from engine.datasets import check_dataset
    from engine.datasets.facts import require_measurable
    from engine.pruning.session import Slimming
    from engine.validation.checks import check_task, validating_device
    from engine.validation.impact import MeasureSettings

    data = Path(required(spec, "data"))
    device = validating_device(str(given(spec, "device", default_device())))
    check_device(device)
    slimming = Slimming.open(resolve_weights(spec["weights"]))
    checkpoint = slimming.checkpoint
    check_task(checkpoint.task)
    imgsz = told_imgsz(given(spec, "imgsz", checkpoint.imgsz), model_stride(checkpoint.model), report)
    fit = told_fit(require_measurable(checkpoint, check_dataset(data, checkpoint.task)), report)
    plan = plan_arguments({**{key: spec[key] for key in spec if key not in ("imgsz", *_TARGETS)}, "prune_ratio": 0.0})
    measure = MeasureSettings(
        imgsz=imgsz,
        images=given(spec, "images", 64),
        recalibrate=given(spec, "recalibrate", 32),
        recalibrate_free=recalibrate_free,
        compensate=given(spec, "compensate", True),
        batch=given(spec, "batch", 16),
    )
    asked = {
        "data": data,
        "measure": measure,
        # A workspace keeps measurements for all its jobs; elsewhere they lie with what the verb makes.
        "folder": Path(spec.get("measurements") or required(spec, "save_dir")),
        "settings": plan.settings,
        "importance": plan.importance,
        "device": device,
    }
    told = {"weights": str(spec["weights"]), "imgsz": measure.imgsz, "fit": fit}
    return slimming, asked, told


_TARGETS = ("max_params", "max_gflops", "target_latency")
