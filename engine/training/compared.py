"""What a fine-tuned model is held against once its training is done. Nothing that happens here costs the training."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from engine.base.errors import StopRequested, TrainingError, WorkbenchError
from engine.base.events import Report, only, status_event
from engine.base.files import file_digest
from engine.settings.results import MeasuredRole
from engine.training.settings import TrainSettings
from engine.validation.cache import BATCH, MeasurementCache, MeasurementKey, dataset_digest, measured_once

_SPLIT = "val"


def compared_models(
    roles: Mapping[str, str], settings: TrainSettings, data: Path, cache: MeasurementCache | None, report: Report
) -> list[MeasuredRole]:
    """Measure checkpoints on the validation split of a run exactly as ``engine.reports.comparison.compare`` would.

    What cannot be measured is left out with a status; a wish to stop ends it with what there is.

    Args:
        roles: Role, such as child -> checkpoint, final: its digest is what a cache finds it by.
        settings: The run; its image size and device, and its batch where a larger one does not fit into memory.
        data: The data set's own description, which a comparison would be asked for with.
        cache: Asked before, and told after, each measurement.
        report: Receives ``status`` events; may raise ``StopRequested``.

    Returns:
        One for each checkpoint.
    """
    rows = []
    with contextlib.suppress(StopRequested):
        digest = _data_digest(data, report) if cache is not None else ""
        for role, weights in roles.items():
            try:
                rows.append(_measured(role, weights, settings, data, digest, cache if digest else None, report))
            except StopRequested:
                raise
            except Exception as error:
                report(status_event(f"The {role} is left out of the comparison: {_words(error)}"))
    return rows


def _data_digest(data: Path, report: Report) -> str:
    """Return the digest of the validation images, empty where there is none: what is measured then is not kept."""
    try:
        return dataset_digest(data, _SPLIT)
    except (WorkbenchError, OSError) as error:
        report(status_event(f"The comparison is not kept for later ones: {_words(error)}"))
        return ""


def _measured(
    role: str,
    weights: str,
    settings: TrainSettings,
    data: Path,
    digest: str,
    cache: MeasurementCache | None,
    report: Report,
) -> MeasuredRole:
    from engine.checkpoints.checkpoint import open_checkpoint

    params = open_checkpoint(weights).params
    weights_digest = "" if cache is None else file_digest(weights)
    # The run's own description still works where the person's has been moved away since.
    source = settings.data if cache is None else data
    batches = (BATCH,) if settings.whole_batch >= BATCH else (BATCH, settings.whole_batch)
    for batch in batches:
        key = MeasurementKey(weights_digest, digest, _SPLIT, settings.imgsz, batch, str(settings.device))
        try:
            # Its steps are none of the training.
            measured = measured_once(Path(weights), source, key, cache=cache, report=only("status", report))
        except TrainingError:
            if batch == batches[-1]:
                raise
        else:
            break
    return MeasuredRole(role=role, weights=weights, params=params, metrics=measured.metrics)


def _words(error: Exception) -> str:
    if isinstance(error, WorkbenchError):
        return str(error)
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
