"""Everything that a report says, collected from checkpoints, the workspace and a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeGuard

from engine.base.errors import CheckpointError, DatasetError
from engine.checkpoints.checkpoint import Checkpoint, open_checkpoint
from engine.profile.counting import count_operations
from engine.profile.describing import file_score
from engine.profile.gammas import GammaSummary, LayerGammas, summarise_gammas
from engine.pruning.gammas import collect_gammas
from engine.reports.comparison import GFLOPS_IMGSZ
from engine.reports.samples import Sample, sample_predictions
from engine.validation.study import FOLDER, Study, find_studies, read_study
from engine.workspace.family_scores import FamilyScore, family_scores, shared_scores
from engine.workspace.figures import Figures, figures_of
from engine.workspace.store import Model, Store

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
    shared: bool
    "Its accuracy was measured as most of the family was, so that it can be held against theirs."
    conditions: str
    "What its accuracy was measured with, in words; empty where it was not measured."
    layers: tuple[LayerGammas, ...] = field(repr=False)
    training: dict[str, list[float]] = field(repr=False)
    "Column of the training's table -> value by epoch."


@dataclass(frozen=True)
class ReportedStudy:
    """What cuts do to accuracy, and to whose."""

    study: Study
    of: str
    "Name of the model that was measured."


@dataclass(frozen=True)
class Facts:
    """What a report says. The last model of the lineage is the one that it is about."""

    lineage: tuple[ReportedModel, ...]
    "The oldest first."
    task: str
    names: dict[int, str]
    imgsz: int
    summary: GammaSummary
    curve: ReportedStudy | None
    "Of the model, or of its nearest ancestor that was measured."
    sensitivity: ReportedStudy | None
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
        scores = family_scores(store, registered)
        ancestors = store.lineage(registered.id)[:-1]
        figures = figures_of(store, ancestors)
        members += [_registered(scores, model, figures[model.id]) for model in ancestors]
    else:
        dense = open_checkpoint(reference) if reference else checkpoint
        scores = _file_scores([dense, checkpoint], store)
        if dense.digest != checkpoint.digest:
            members.append(_reported(scores, dense, dense.path.stem, "reference"))
    members.append(_reported(scores, checkpoint, name or checkpoint.path.stem, "", registered))
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
        written=datetime.now(UTC),
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


def _registered(scores: Mapping[str, FamilyScore], model: Model, figures: Figures) -> ReportedModel:
    """Return an ancestor; one whose file is gone is told from its record."""
    try:
        return _reported(scores, open_checkpoint(model.path), model.name, model.kind, model)
    except CheckpointError:
        return ReportedModel(
            name=f"{model.name} (deleted)" if model.deleted else model.name,
            kind=model.kind,
            created=model.created_at,
            made=model.made,
            digest=model.digest,
            params=figures.params,
            gflops=figures.gflops,
            size_mb=None,
            **_accuracy(scores, model.digest),
            layers=(),
            training={},
        )


def _reported(
    scores: Mapping[str, FamilyScore], checkpoint: Checkpoint, name: str, kind: str, model: Model | None = None
) -> ReportedModel:
    results = checkpoint.content.get("train_results")
    return ReportedModel(
        name=model.name if model else name,
        kind=model.kind if model else kind or str(checkpoint.made.get("verb", "")),
        created=model.created_at if model else None,
        made=model.made if model and model.made.get("spec") else checkpoint.made,
        digest=checkpoint.digest,
        params=checkpoint.params,
        gflops=count_operations(checkpoint.model, GFLOPS_IMGSZ).gflops,
        size_mb=checkpoint.path.stat().st_size / 1e6,
        **_accuracy(scores, checkpoint.digest),
        layers=collect_gammas(checkpoint.model),
        training=results if _is_table(results) else {},
    )


def _file_scores(checkpoints: Sequence[Checkpoint], store: Store | None) -> dict[str, FamilyScore]:
    """Return digest -> accuracy of files whose family no workspace knows."""
    told = {each.digest: score for each in checkpoints if (score := file_score(each)).metrics}
    return shared_scores(store.measured(each.digest for each in checkpoints) if store else [], told)


def _accuracy(scores: Mapping[str, FamilyScore], digest: str) -> dict[str, Any]:
    score = scores.get(digest, FamilyScore({}, False, ""))
    return {"metrics": score.metrics, "shared": score.shared, "conditions": score.conditions}


def _is_table(results: Any) -> TypeGuard[dict[str, list[float]]]:
    return isinstance(results, dict) and all(isinstance(column, list) for column in results.values())


def _measured(folder: Path | None, kind: str, members: Sequence[ReportedModel]) -> ReportedStudy | None:
    for member in reversed(members):
        for path in find_studies(folder, kind, member.digest) if folder else ():
            study = read_study(path)
            if study and len(study.points) > 2:
                return ReportedStudy(study, member.name)
    return None


def _samples(checkpoint: Checkpoint, data: Path | None) -> tuple[tuple[Sample, ...], str]:
    if data is None:
        return (), "No data set was given."
    try:
        return sample_predictions(checkpoint, data), ""
    except DatasetError as error:  # a report without pictures is better than none
        return (), str(error)
