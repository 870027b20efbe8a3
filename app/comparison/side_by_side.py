"""Models side by side: which ones, what is known of them, and the jobs that measure the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app.frame.session import figures, store
from app.words import format
from engine import jobs
from engine.base import numbers
from engine.base.errors import CheckpointError
from engine.base.measurements import MeasurementKey
from engine.reports.comparison import GFLOPS_IMGSZ, Candidate, check_alike, side_by_side
from engine.settings.results import Comparison, LatencyResult, Measured
from engine.validation.cache import dataset_digest, known
from engine.workspace.file_facts import facts_of
from engine.workspace.store import ACTIVE_STATES, Job, Model, StoredMeasurements

MOST_AT_FIRST = 5
"Relatives that are chosen before the person chooses."
VERBS = ("compare", "latency")


@dataclass(frozen=True)
class Conditions:
    """What accuracy is measured on and with."""

    data: str
    split: str
    imgsz: int
    batch: int
    device: str


@dataclass(frozen=True)
class SideBySide:
    """What the workspace knows of the chosen models under some conditions."""

    models: tuple[Model, ...]
    "Those that can be compared with the reference, in the order chosen."
    reference: Model
    refused: tuple[str, ...]
    "One sentence for each model that cannot be compared."
    comparison: Comparison
    missing: tuple[Model, ...]
    "Those whose accuracy was not measured under the conditions."
    latency: dict[str, float]
    "Path of a checkpoint -> milliseconds an image; empty unless all were measured in turns."
    threads: int | None
    "Of ONNX Runtime while latency was measured; None where it was not."

    @property
    def names(self) -> dict[str, str]:
        """Return path of a checkpoint -> the model's name, numbered where several share one."""
        return format.distinct_labels({str(model.path): model.name for model in self.models})


def relatives(models: Sequence[Model], current: Model) -> list[str]:
    """Return the ids of a model, its ancestors and its descendants, the oldest first; the nearest where many.

    Args:
        models: Of the workspace; those of which only the record is left hold a family together and are left out.
        current: The model.
    """
    by_id = {model.id: model for model in models}
    line = [current]
    while (parent := by_id.get(line[-1].parent_id or "")) is not None:
        line.append(parent)
    ancestors = [model for model in line if not model.deleted]
    # The newest come first, so a child stands before its parent: look from the oldest on.
    oldest_first, below, descendants = sorted(models, key=lambda model: model.created_at), {current.id}, []
    for model in oldest_first:
        if model.parent_id in below:
            below.add(model.id)
            descendants += [] if model.deleted else [model]
    # The oldest ancestor is what changes are told against, so it stays.
    first = ancestors[-1]
    others = [model.id for model in (*ancestors, *descendants) if model.id != first.id]
    chosen = {first.id, *others[: MOST_AT_FIRST - 1]}
    return [model.id for model in oldest_first if model.id in chosen]


def default_reference(chosen: Sequence[Model], lineage: Sequence[Model]) -> str | None:
    """Return the id of the model to tell changes against: the oldest ancestor that was chosen, the dense original.

    Args:
        chosen: What is compared.
        lineage: Ancestors of the current model and itself, the oldest first.
    """
    ids = [model.id for model in chosen]
    return next((model.id for model in lineage if model.id in ids), next(iter(ids), None))


def size_of(model: Model) -> Candidate:
    """Return what a model is, counted once for each content of a file.

    Raises:
        CheckpointError: The file is gone or cannot be opened, or does not run at the size that GFLOPs are told at.
    """
    if not model.path.is_file():
        raise CheckpointError(f"The file of {model.name} is gone; choose another model.")
    facts = facts_of(store(), model)
    if facts.gflops is None:
        raise CheckpointError(f"{model.name} does not run at {GFLOPS_IMGSZ} px, so its GFLOPs cannot be compared.")
    return Candidate(model.path, facts, facts.gflops)


# Labels may be corrected at any time; what was measured before then must not be shown for long.
@st.cache_data(max_entries=16, ttl=10, show_spinner=False)
def _data_digest(data: str, split: str) -> str:
    return dataset_digest(Path(data), split)


def look_up(
    chosen: Sequence[Model], reference: Model, conditions: Conditions | None, imgsz: int | None = None
) -> SideBySide:
    """Return everything the workspace knows of the chosen models; nothing is measured.

    Args:
        chosen: What is compared.
        reference: The one of them that changes are told against.
        conditions: Of accuracy; None without a data set, and for tasks whose accuracy cannot be measured.
        imgsz: Image size in pixels of latency without conditions, the one that the reference was trained at by default.

    Raises:
        CheckpointError: The reference cannot be opened.
        DatasetError: The data set is unusable or has no such split.
    """
    base, sizes, refused = size_of(reference), {}, []
    for model in chosen:
        try:
            sizes[model.id] = size_of(model)
            check_alike(sizes[model.id], base)
        except CheckpointError as error:
            sizes.pop(model.id, None)
            refused.append(format.with_names(str(error), [model, reference]))
    alike = [model for model in chosen if model.id in sizes]
    measured = [_known(sizes[model.id], conditions) for model in alike]
    comparison = side_by_side(
        [sizes[model.id] for model in alike],
        measured,
        [model.id for model in alike].index(reference.id),
        data=conditions.data if conditions else "",
        split=conditions.split if conditions else "",
        imgsz=conditions.imgsz if conditions else imgsz or base.facts.trained_imgsz,
    )
    missing = [model for model, found in zip(alike, measured, strict=True) if found is None]
    digests = {str(model.path): model.digest for model in alike}
    latency, threads = latencies(store().jobs(("done",)), digests, comparison.imgsz)
    return SideBySide(tuple(alike), reference, tuple(refused), comparison, tuple(missing), latency, threads)


def latencies(finished: Sequence[Job], digests: Mapping[str, str], imgsz: int) -> tuple[dict[str, float], int | None]:
    """Return path -> median milliseconds an image, and threads, from the latest job that timed all models in turns.

    Numbers of different moments are not held against each other: the machine may have been busy at one of them. Only
    those of ONNX Runtime count, in one number of threads, and of files that are what they were then.

    Args:
        finished: Jobs that are done, the newest first.
        digests: Path of a checkpoint -> SHA-256 of what it holds now.
        imgsz: Image size in pixels.
    """
    for job in finished:
        if not isinstance(job.result, LatencyResult):
            continue
        by_threads: dict[int, dict[str, float]] = {}
        for timing in job.result.results:
            path = timing.weights
            # Results of before the digest was recorded are told by their path alone.
            same = path in digests and timing.digest in (None, digests[path])
            if same and (timing.runtime, timing.imgsz) == ("onnx", imgsz):
                by_threads.setdefault(timing.threads, {})[path] = timing.p50_ms
        for threads, told in by_threads.items():
            if set(digests) <= set(told):
                return {path: told[path] for path in digests}, threads
    return {}, None


def start_comparison(found: SideBySide, conditions: Conditions, current: Model) -> Job:
    """Measure what is missing as a job; what is known is not measured again. Raises JobError."""
    spec = {
        "weights": [str(model.path) for model in found.models],
        "reference": str(found.reference.path),
        "data": conditions.data,
        "split": conditions.split,
        "imgsz": conditions.imgsz,
        "batch": conditions.batch,
        "device": conditions.device,
    }
    return jobs.submit(store(), "compare", spec, f"Compare {_counted(found.models)}", current.id)


def start_latency(found: SideBySide, imgsz: int, current: Model) -> Job:
    """Measure the latency of all models in turns as a job. Raises JobError."""
    ordered = [found.reference, *(model for model in found.models if model.id != found.reference.id)]
    spec = {"weights": [str(model.path) for model in ordered], "imgsz": imgsz}
    return jobs.submit(store(), "latency", spec, f"Latency of {_counted(found.models)}", current.id)


def job_to_show(listed: Sequence[Job], wanted: str | None) -> Job | None:
    """Return the job to follow: one at work, else the one that was asked for unless it is done.

    Args:
        listed: Every job, the newest first.
        wanted: Id in the page's address.
    """
    ours = [job for job in listed if job.verb in VERBS and job.chain_id is None and not job.spec.get("predict")]
    at_work = next((job for job in reversed(ours) if job.state in ACTIVE_STATES), None)
    return at_work or next((job for job in ours if job.id == wanted and job.state != "done"), None)


def missing_words(found: SideBySide) -> str:
    """Return the models that were not measured under the conditions, with the accuracy that is known of them anyhow."""
    known = figures(found.missing)
    words = []
    for model in found.missing:
        own = known[model.id].score
        words.append(found.names[str(model.path)] + ("" if own is None else f" ({numbers.score(own)})"))
    return "; ".join(words)


def _known(size: Candidate, conditions: Conditions | None) -> Measured | None:
    if conditions is None:
        return None
    data = _data_digest(conditions.data, conditions.split)
    rest = (conditions.split, conditions.imgsz, conditions.batch, conditions.device)
    return known(StoredMeasurements(store()), MeasurementKey(size.facts.digest, data, *rest))


def _counted(models: Sequence[Model]) -> str:
    return models[0].name if len(models) == 1 else f"{len(models)} models"
