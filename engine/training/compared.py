"""What a fine-tuned model is held against once its training is done. Nothing that happens here costs the training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.base.errors import StopRequested, TrainingError, WorkbenchError
from engine.base.events import Report, only, status_event
from engine.base.files import file_digest
from engine.base.measurements import MeasurementCache, MeasurementKey
from engine.base.tasks import TASKS
from engine.settings.results import MeasuredRole, Verdict
from engine.training.settings import TrainSettings
from engine.validation.cache import BATCH, dataset_digest, matched_once
from engine.validation.matches import Matches
from engine.validation.verdict import AGAINST, verdict

_SPLIT = "val"


@dataclass(frozen=True)
class Compared:
    """A fine-tuned model and those that it is held against."""

    rows: tuple[MeasuredRole, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


def compared_models(
    roles: Mapping[str, str],
    settings: TrainSettings,
    task: str,
    data: Path,
    cache: MeasurementCache | None,
    report: Report,
) -> Compared:
    """Measure checkpoints on the validation split of a run exactly as ``engine.reports.comparison.compare`` would.

    What cannot be measured is left out with a status; a wish to stop ends it with what there is.

    Args:
        roles: Role, such as child -> checkpoint, final: its digest is what a cache finds it by.
        settings: The run; its image size and device, and its batch where a larger one does not fit into memory.
        task: Of all of them.
        data: The data set's own description, which a comparison would be asked for with.
        cache: Asked before, and told after, each measurement.
        report: Receives ``status`` events; may raise ``StopRequested``.

    Returns:
        A row for each checkpoint, and how the child stands against each other one; a status says so too.
    """
    rows: dict[str, tuple[MeasuredRole, Matches | None]] = {}
    with contextlib.suppress(StopRequested):
        digest = _data_digest(data, report) if cache is not None else ""
        for role, weights in roles.items():
            try:
                rows[role] = _measured(role, weights, settings, data, digest, cache if digest else None, report)
            except StopRequested:
                raise
            except Exception as error:
                report(status_event(f"The {role} is left out of the comparison: {_words(error)}"))
    verdicts = []
    with contextlib.suppress(StopRequested):
        try:
            if len(rows) > 1:
                report(status_event("Drawing the images anew to see how sure the difference is"))
            verdicts = list(_verdicts(rows, task))
        except Exception as error:
            report(status_event(f"How sure the comparison is cannot be told: {_words(error)}"))
        for each in verdicts:
            report(status_event(each.sentence))
    return Compared(tuple(row for row, _ in rows.values()), tuple(verdicts))


def _verdicts(rows: Mapping[str, tuple[MeasuredRole, Matches | None]], task: str) -> Iterator[Verdict]:
    metric = TASKS[task].metric
    if "child" not in rows:
        return
    child, found = rows["child"]
    for role in AGAINST:
        if role in rows:
            other, other_found = rows[role]
            scores = child.metrics.get(metric), other.metrics.get(metric)
            if scores[0] is not None and scores[1] is not None:
                yield verdict(task, role, (other.weights, scores[1], other_found), (scores[0], found))


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
) -> tuple[MeasuredRole, Matches | None]:
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
            measured, found = matched_once(Path(weights), source, key, cache=cache, report=only("status", report))
        except TrainingError:
            if batch == batches[-1]:
                raise
        else:
            break
    return MeasuredRole(role=role, weights=weights, params=params, metrics=measured.metrics), found


def _words(error: Exception) -> str:
    if isinstance(error, WorkbenchError):
        return str(error)
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
