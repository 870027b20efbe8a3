"""Which accuracy each member of a family shows, so that numbers that stand side by side mean the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.base.measurements import MeasurementKey
from engine.profile.facts import CheckpointFacts, RecordedScore, TrainingConditions, data_identity, scores_of
from engine.workspace.file_facts import known_facts
from engine.workspace.store import Model, Store


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
    members = next(each for each in families(store.models(deleted=True)) if model.id in {one.id for one in each})
    return scores_of_family(store, members, known_facts(store, members))


def scores_of_family(
    store: Store, members: Sequence[Model], facts: Mapping[str, CheckpointFacts]
) -> dict[str, FamilyScore]:
    """Return digest of a file -> what it shows; ``facts`` are what the members' files tell, by digest."""
    told = {model.digest: recorded_score(model, facts.get(model.digest)) for model in members}
    recorded = {digest: score for digest, score in told.items() if score is not None}
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


def recorded_score(model: Model, facts: CheckpointFacts | None) -> RecordedScore | None:
    """Return the accuracy that a registered model's record tells, else its file; None where neither does."""
    metrics, spec = scores_of(model.metrics), model.made.get("spec") or {}
    if metrics and spec.get("data") and spec.get("imgsz"):
        return RecordedScore(metrics, TrainingConditions(data_identity(spec["data"]), int(spec["imgsz"])))
    # What pruning writes was never validated: its file carries the settings of a training that made another model.
    told = facts.told if facts and model.made.get("verb") != "prune" else None
    metrics = metrics or (told.metrics if told else {})
    return RecordedScore(metrics, told.conditions if told else None) if metrics else None


def families(models: Iterable[Model]) -> list[list[Model]]:
    """Return models by family: all that descends from one oldest ancestor, each after its parent."""
    found: dict[str, list[Model]] = {}
    oldest_first = sorted(reversed(list(models)), key=lambda each: each.created_at)  # given the newest first
    for model in oldest_first:  # parents are older than their children
        family = found.get(model.parent_id or "", [])
        family.append(model)
        found[model.id] = family
    return list({id(family): family for family in found.values()}.values())


def _words(conditions: Any, family: Any) -> str:
    """Return conditions in words; where only the images differ from the family's, that is said too."""
    if not isinstance(conditions, MeasurementKey):
        return str(conditions or "conditions unknown")
    words = f"{conditions.split} split at {conditions.imgsz} px, batch {conditions.batch}, {conditions.device}"
    differs = isinstance(family, MeasurementKey) and family.data != conditions.data
    return f"{words}, on other images or labels" if differs else words
