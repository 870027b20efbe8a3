"""accuracy and sensitivity: what pruning does to mAP, measured before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.base.events import Report
from engine.settings.plan import RECALIBRATION_IMAGES
from engine.settings.requests import AccuracyRequest, SensitivityRequest
from engine.settings.results import AccuracyResult, SensitivityResult
from engine.verbs.common import chosen_device, resolve_weights, told_fit
from engine.verbs.pruning import importance_settings, solver_settings
from engine.verbs.scoring import with_scores


def accuracy(request: AccuracyRequest, report: Report) -> AccuracyResult:
    """Measure mAP directly after pruning at a grid of ratios.

    Unless ``recalibrate`` says otherwise, BatchNorm is recalibrated after cuts that are not free.
    """
    from engine.validation.impact import accuracy_curve

    slimming, asked, told = _opened(request, report, recalibrate_free=request.recalibrate is not None)
    curve = accuracy_curve(slimming, request.ratios, **asked, report=report)
    return AccuracyResult(**told, **dict(curve))


def sensitivity(request: SensitivityRequest, report: Report) -> SensitivityResult:
    """Measure mAP with each block of layers pruned alone."""
    from engine.validation.impact import sensitivity as measure

    # Losses are counted from the whole model, which is recalibrated like the cut ones, so all are treated alike.
    slimming, asked, told = _opened(request, report, recalibrate_free=True)
    measured = measure(slimming, **asked, shares=request.shares, report=report)
    return SensitivityResult(**told, **dict(measured))


def _opened(
    request: AccuracyRequest | SensitivityRequest, report: Report, *, recalibrate_free: bool
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Open the checkpoint and read what both measurements are asked for, and what both tell besides."""
    from engine.base.devices import check_device
    from engine.base.imgsz import model_stride, told_imgsz
    from engine.base.measurements import validating_device
    from engine.datasets import check_dataset
    from engine.datasets.facts import require_measurable
    from engine.pruning.session import Slimming
    from engine.validation.checks import check_task
    from engine.validation.impact import MeasureSettings

    data = Path(request.data)
    device = validating_device(chosen_device(request))
    check_device(device)
    slimming = Slimming.open(resolve_weights(request.weights))
    checkpoint = slimming.checkpoint
    check_task(checkpoint.task)
    measure = MeasureSettings(
        imgsz=told_imgsz(request.imgsz or checkpoint.imgsz, model_stride(checkpoint.model), report),
        images=request.images,
        recalibrate=RECALIBRATION_IMAGES if request.recalibrate is None else request.recalibrate,
        recalibrate_free=recalibrate_free,
        compensate=request.compensate,
        batch=request.batch,
    )
    fit = told_fit(require_measurable(checkpoint, check_dataset(data, checkpoint.task)), report)
    asked = {
        "data": data,
        "measure": measure,
        # A workspace keeps measurements for all its jobs; elsewhere they lie with what the verb makes.
        "folder": Path(request.measurements) if request.measurements else request.folder,
        "settings": solver_settings(request),
        "importance": with_scores(importance_settings(request), slimming, request, report),
        "device": device,
    }
    told = {"weights": request.weights, "imgsz": measure.imgsz, "fit": fit}
    return slimming, asked, told
