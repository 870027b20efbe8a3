"""Which accuracy each member of a family shows, so that numbers that stand side by side mean the same."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.checkpoint import Checkpoint, open_checkpoint
from engine.errors import CheckpointError
from engine.measuring import MeasurementKey
from engine.store import Model, Store
from engine.tasks import SHOWN, main_metric


@dataclass(frozen=True)
class TrainingConditions:
    """What a training validated on, as far as it is recorded."""

    data: str
    "Digest of the description, or its path where it is gone."
    imgsz: int
    "Pixels."

    def __str__(self) -> str:
        return f"by its own training at {self.imgsz} px"


@dataclass(frozen=True)
class RecordedScore:
    """The accuracy that a model's record or its file tells."""

    metrics: dict[str, float]
    conditions: TrainingConditions | None
    "None where they are not recorded."


@dataclass(frozen=True)
class FamilyScore:
    """The accuracy that a member of a family shows."""

    metrics: dict[str, float]
    "Short name, such as mAP50-95 -> 0 to 1."
    shared: bool
    "Measured under the family's conditions, so that it can be held against others that were."
    conditions: str
    "In words, such as 'val split at 320 px, batch 16, cpu'."


def family_scores(store: Store, model: Model) -> dict[str, FamilyScore]:
    """Return digest of a file -> what it shows, for those of a model's family that have any accuracy.

    The family is all that descends from the oldest ancestor of the model.
    """
    members = _family(store.models(deleted=True), model)
    recorded = {member.digest: score for member in members if (score := recorded_score(member)) is not None}
    return shared_scores(store.measured(member.digest for member in members), recorded)


def shared_scores(
    measured: Iterable[tuple[MeasurementKey, Mapping[str, Any]]], recorded: Mapping[str, RecordedScore]
) -> dict[str, FamilyScore]:
    """Return digest -> what it shows: measured under the conditions that most members share, else its own number.

    Of equally many, the conditions that were measured last count, and any measurement before what trainings told.

    Args:
        measured: of the members, the oldest first.
        recorded: digest -> what the member's training told.
    """
    # By conditions, the least recent first: recorded ones, then measured ones in the order of their last use.
    groups: dict[Any, dict[str, dict[str, float]]] = defaultdict(dict)
    for digest, own in recorded.items():
        groups[own.conditions or digest][digest] = own.metrics
    latest: dict[str, tuple[Any, dict[str, float]]] = {
        digest: (own.conditions, own.metrics) for digest, own in recorded.items()
    }
    for key, result in measured:
        if metrics := scores_of(result.get("metrics") or {}):
            conditions = replace(key, weights="")
            groups[conditions] = {**groups.pop(conditions, {}), key.weights: metrics}
            latest[key.weights] = (conditions, metrics)
    if not groups:
        return {}
    # max() keeps the first of equals, so look from the newest on.
    chosen = max(reversed(groups), key=lambda conditions: len(groups[conditions]))
    told = {digest: FamilyScore(metrics, False, _words(own, chosen)) for digest, (own, metrics) in latest.items()}
    for digest, metrics in groups[chosen].items():
        told[digest] = FamilyScore(metrics, True, _words(None if chosen == digest else chosen, chosen))
    return told


def recorded_score(model: Model) -> RecordedScore | None:
    """Return the accuracy that a registered model's record tells, else its file; None where neither does."""
    metrics, spec = scores_of(model.metrics), model.made.get("spec") or {}
    if metrics and spec.get("data") and spec.get("imgsz"):
        return RecordedScore(metrics, TrainingConditions(_data_identity(spec["data"]), int(spec["imgsz"])))
    told = None
    if model.made.get("verb") != "prune":  # what pruning writes was never validated, so its file need not be opened
        with contextlib.suppress(OSError, CheckpointError):  # where the file is gone, the record may still tell
            told = _told_by_file(model.path, model.path.stat().st_mtime_ns)
    metrics = metrics or (told.metrics if told else {})
    return RecordedScore(metrics, told.conditions if told else None) if metrics else None


def file_score(checkpoint: Checkpoint) -> RecordedScore:
    """Return the accuracy that a checkpoint tells of itself; its metrics are empty where it tells none."""
    trained = checkpoint.content.get("train_metrics") or {}
    trained = {str(key).removeprefix("metrics/").removesuffix("(B)"): value for key, value in trained.items()}
    metrics = scores_of(checkpoint.made.get("metrics") or {}) or scores_of(trained)
    arguments = checkpoint.content.get("train_args") or {}
    data, imgsz = (arguments.get(name) if isinstance(arguments, dict) else None for name in ("data", "imgsz"))
    if not data or not isinstance(imgsz, int):
        return RecordedScore(metrics, None)
    # A path alone says little, since most descriptions are called data.yaml; the classes say more.
    names = ", ".join(checkpoint.names.values())
    return RecordedScore(metrics, TrainingConditions(f"{_data_identity(data)} {names}", imgsz))


def scores_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the accuracies among metrics; empty without the one that a task is judged by."""
    scores = {name: float(metrics[name]) for name in SHOWN if isinstance(metrics.get(name), (int, float))}
    return scores if main_metric(scores) else {}


@lru_cache(maxsize=64)
def _told_by_file(path: Path, changed_ns: int) -> RecordedScore:
    return file_score(open_checkpoint(path))


def _data_identity(data: Any) -> str:
    """Return what tells data sets apart: every run keeps a copy of the same description in a folder of its own."""
    try:
        return hashlib.sha256(Path(str(data)).read_bytes()).hexdigest()
    except OSError:
        return str(data)


def _family(models: Iterable[Model], model: Model) -> list[Model]:
    by_id = {each.id: each for each in models}
    root = model
    while root.parent_id in by_id:
        root = by_id[root.parent_id]
    below = {root.id}
    for each in sorted(by_id.values(), key=lambda each: each.created_at):  # parents are older than their children
        if each.parent_id in below:
            below.add(each.id)
    return [each for each in by_id.values() if each.id in below]


def _words(conditions: Any, family: Any) -> str:
    """Return conditions in words; where only the images differ from the family's, that is said too."""
    if not isinstance(conditions, MeasurementKey):
        return str(conditions or "conditions unknown")
    words = f"{conditions.split} split at {conditions.imgsz} px, batch {conditions.batch}, {conditions.device}"
    differs = isinstance(family, MeasurementKey) and family.data != conditions.data
    return f"{words}, on other images or labels" if differs else words
