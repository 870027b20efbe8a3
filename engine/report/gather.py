"""Everything that a report says, collected from checkpoints, the workspace and a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from engine.accuracy import FOLDER, HEADLINE, find_kept, read_kept
from engine.checkpoint import Checkpoint, open_checkpoint
from engine.comparison import GFLOPS_IMGSZ
from engine.cost import count_operations
from engine.errors import CheckpointError, DatasetError
from engine.gammas import GammaSummary, LayerGammas, collect_gammas, summarise_gammas
from engine.report.samples import Sample, sample_predictions
from engine.store import Model, Store

_PATHS = ("weights", "data", "save_dir", "teacher", "reference", "measurements", "sensitivity", "file")
"Settings that are paths; a report that is handed on shows their last part alone."
_KNOWN_ELSEWHERE = ("verb", "ancestors", "parent", "metrics", "ratio_achieved")
_PLUMBING = ("chain", "resume", "workspace", "save_dir", "measurements", "device", "workers")


@dataclass(frozen=True)
class ReportedModel:
    """One model of a lineage."""

    name: str
    kind: str
    created: datetime | None
    made: dict[str, Any]
    "Verb and settings, as far as known."
    digest: str
    params: int | None
    gflops: float | None
    "At 640 px."
    size_mb: float | None
    metrics: dict[str, float]
    "Short name -> 0 to 1; what was measured on the whole validation split."
    layers: tuple[LayerGammas, ...] = field(repr=False)
    training: dict[str, list[float]] = field(repr=False)
    "Column of the training's table -> value by epoch."


@dataclass(frozen=True)
class Facts:
    """What a report says. The last model of the lineage is the one that it is about."""

    lineage: tuple[ReportedModel, ...]
    "The oldest first."
    task: str
    names: dict[int, str]
    imgsz: int
    summary: GammaSummary
    curve: dict[str, Any] | None
    "Content of a measurement file of the model or of its nearest ancestor that has one."
    sensitivity: dict[str, Any] | None
    samples: tuple[Sample, ...]
    note: str
    "Why there are no samples, empty where there are."
    written: datetime

    @property
    def model(self) -> ReportedModel:
        """The model that the report is about."""
        return self.lineage[-1]


def gather(
    weights: Path,
    *,
    name: str | None = None,
    store: Store | None = None,
    data: Path | None = None,
    reference: Path | None = None,
) -> Facts:
    """Collect what a report on a checkpoint says.

    Args:
        weights: The checkpoint.
        name: What to call it, its registered name or file name by default.
        store: A workspace that knows its ancestors, if any.
        data: Data set for sample predictions, if any.
        reference: A checkpoint to hold it against where no workspace knows its ancestors.

    Raises:
        CheckpointError: The checkpoint, or the reference, cannot be opened.
    """
    checkpoint = open_checkpoint(weights)
    registered = store.model_by_digest(checkpoint.digest) if store else None
    members: list[ReportedModel] = []
    if store and registered:
        members += [_registered(store, model) for model in store.lineage(registered.id)[:-1]]
    elif reference and (dense := open_checkpoint(reference)).digest != checkpoint.digest:
        members.append(_reported(dense, dense.path.stem, "reference"))
    members.append(_reported(checkpoint, name or checkpoint.path.stem, "", registered, store))
    samples, note = _samples(checkpoint, data)
    folder = store.folder / FOLDER if store else None
    return Facts(
        lineage=tuple(members),
        task=checkpoint.task,
        names=checkpoint.names,
        imgsz=checkpoint.imgsz,
        summary=summarise_gammas(members[-1].layers),
        curve=_measured(folder, "accuracy", members),
        sensitivity=_measured(folder, "sensitivity", members),
        samples=samples,
        note=note,
        written=datetime.now(timezone.utc),
    )


def plain_settings(made: dict[str, Any]) -> dict[str, str]:
    """Return the settings that made a model as words; of paths the last part alone, nothing that was left unset."""
    spec = made.get("spec") or {key: value for key, value in made.items() if key not in _KNOWN_ELSEWHERE}
    shown = {}
    for key, value in spec.items():
        if key in _PLUMBING or value is None or value == [] or value == "" or value is False:
            continue
        if key in _PATHS:
            value = Path(str(value)).name
        elif isinstance(value, dict):
            value = ", ".join(f"{part} {each}" for part, each in value.items() if each not in (None, [], (), False))
        elif isinstance(value, (list, tuple)):
            value = ", ".join(map(str, value))
        shown[key.replace("_", " ")] = f"{value:.4g}" if isinstance(value, float) else str(value)
    return shown


def _registered(store: Store, model: Model) -> ReportedModel:
    """Return an ancestor; one whose file is gone is told from its record."""
    try:
        return _reported(open_checkpoint(model.path), model.name, model.kind, model, store)
    except CheckpointError:
        params = model.params or model.metrics.get("params")
        metrics = _scores(model.metrics)
        return ReportedModel(
            model.name, model.kind, model.created_at, model.made, model.digest, params, None, None, metrics, (), {}
        )


def _reported(
    checkpoint: Checkpoint, name: str, kind: str, model: Model | None = None, store: Store | None = None
) -> ReportedModel:
    operations, _, _ = count_operations(checkpoint.model, GFLOPS_IMGSZ, GFLOPS_IMGSZ)
    results = checkpoint.content.get("train_results")
    return ReportedModel(
        name=model.name if model else name,
        kind=model.kind if model else kind or str(checkpoint.made.get("verb", "")),
        created=model.created_at if model else None,
        made=model.made if model and model.made.get("spec") else checkpoint.made,
        digest=checkpoint.digest,
        params=checkpoint.params,
        gflops=operations / 1e9 * 2,
        size_mb=checkpoint.path.stat().st_size / 1e6,
        metrics=_metrics(checkpoint, model, store),
        layers=collect_gammas(checkpoint.model),
        training=results if _is_table(results) else {},
    )


def _metrics(checkpoint: Checkpoint, model: Model | None, store: Store | None) -> dict[str, float]:
    """Return the accuracy of a model: as measured in the workspace, else as its training or its file tells."""
    measured = store.latest_measurements([checkpoint.digest]).get(checkpoint.digest, {}) if store else {}
    trained = checkpoint.content.get("train_metrics") or {}
    trained = {str(key).removeprefix("metrics/").removesuffix("(B)"): value for key, value in trained.items()}
    for found in (measured.get("metrics", {}), model.metrics if model else {}, checkpoint.made.get("metrics"), trained):
        if scores := _scores(found or {}):
            return scores
    return {}


def _scores(metrics: dict[str, Any]) -> dict[str, float]:
    names = ("mAP50", HEADLINE, "precision", "recall")
    return {name: float(metrics[name]) for name in names if isinstance(metrics.get(name), (int, float))}


def _is_table(results: Any) -> bool:
    return isinstance(results, dict) and all(isinstance(column, list) for column in results.values())


def _measured(folder: Path | None, kind: str, members: Sequence[ReportedModel]) -> dict[str, Any] | None:
    for member in reversed(members):
        for path in find_kept(folder, kind, member.digest) if folder else ():
            content = read_kept(path)
            if content and len(content.get("points", {})) > 2:
                return {**content, "of": member.name}
    return None


def _samples(checkpoint: Checkpoint, data: Path | None) -> tuple[tuple[Sample, ...], str]:
    if data is None:
        return (), "No data set was given."
    try:
        return sample_predictions(checkpoint, data), ""
    except DatasetError as error:  # a report without pictures is better than none
        return (), str(error)
