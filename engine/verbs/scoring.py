"""Scores of channels: the criterion that a request comes to, and what it says of a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.base.errors import DatasetError, PlanError
from engine.base.events import Report, status_event
from engine.settings.choices import IMAGE_CRITERIA
from engine.settings.requests import AccuracyRequest, PreviewRequest, PruneRequest, SensitivityRequest

if TYPE_CHECKING:
    from engine.checkpoints.checkpoint import Checkpoint
    from engine.datasets import DatasetInfo
    from engine.pruning.criteria import ImportanceSettings
    from engine.pruning.session import Slimming

Scored = PreviewRequest | PruneRequest | AccuracyRequest | SensitivityRequest


def with_scores(
    importance: ImportanceSettings, slimming: Slimming, request: Scored, report: Report
) -> ImportanceSettings:
    """Return how channels are scored, by the usual criterion where none is named.

    Where it looks at images, the opened checkpoint knows its scores afterwards. A workspace keeps them.

    Raises:
        PlanError: It looks at images and there is no data set.
        DatasetError, TrainingError: The data set cannot be used for this model.
    """
    from engine.datasets.facts import require_measurable
    from engine.validation.scores import FOLDER, choose_images
    from engine.validation.scoring import learn_scores

    checkpoint, info = slimming.checkpoint, _data_set(request, slimming.checkpoint.task)
    importance = replace(importance, criterion=request.criterion or _usual(checkpoint, info))
    if importance.criterion not in IMAGE_CRITERIA:
        return importance
    if info is None:
        raise PlanError(f"The criterion {importance.criterion} looks at images; say of which data set (--data).")
    require_measurable(checkpoint, info)
    if request.criterion is None:
        report(status_event(f"This model was never sparse-trained: scoring by {importance.criterion}, not by gamma"))
    folder = Path(request.workspace) / FOLDER if request.workspace else None
    try:
        return learn_scores(slimming, importance, choose_images(info, request.score_images), folder, report)
    except PlanError as error:
        if request.criterion is not None:
            raise
        report(status_event(f"Scoring by gamma after all. {error}"))
        return replace(importance, criterion="gamma")


def _usual(checkpoint: Checkpoint, info: DatasetInfo | None) -> str:
    from engine.datasets.facts import measuring_fit
    from engine.datasets.fit import REFUSED
    from engine.profile.gammas import summarise_gammas
    from engine.pruning.gammas import collect_gammas
    from engine.validation.scores import usual_criterion

    sparse = summarise_gammas(collect_gammas(checkpoint.model)).sparse
    fits = info is not None and measuring_fit(checkpoint, info).verdict != REFUSED
    return usual_criterion(checkpoint.task, info, sparse=sparse, fits=fits)


def _data_set(request: Scored, task: str) -> DatasetInfo | None:
    """Return the data set to look at, None where there is none; images without labels do for other purposes."""
    from engine.datasets import check_dataset

    if request.data is None or request.criterion not in (None, *IMAGE_CRITERIA):
        return None
    try:
        return check_dataset(request.data, task)
    except DatasetError:
        if request.criterion is None:
            return None
        raise
