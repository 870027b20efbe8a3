"""The figures of a model: the one place that says what its parameters, GFLOPs, accuracy and latency are.

GFLOPs are counted at GFLOPS_IMGSZ, whatever size a model was trained at, so that they can be held against each other
and against what is published. Accuracy is what ``family_scores`` says: measured as most of its family was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from engine.base.imgsz import pixels
from engine.base.numbers import count, gflops_at, score
from engine.base.tasks import main_metric, main_score, metric_label
from engine.profile.facts import CheckpointFacts
from engine.settings.results import LatencyResult, Timing
from engine.workspace.family_scores import FamilyScore, families, scores_of_family
from engine.workspace.file_facts import known_facts
from engine.workspace.store import Job, Model, Store


@dataclass(frozen=True)
class Latency:
    """The last time that was measured of a model, on this machine."""

    time_ms: float
    "Median of one image, milliseconds."
    conditions: str
    "In words, such as 'ONNX Runtime, 2 threads, 320 px'."


@dataclass(frozen=True)
class Figures:
    """What is known of a model in numbers."""

    params: int | None = None
    gflops: float | None = None
    "At GFLOPS_IMGSZ."
    size_mb: float | None = None
    "Of its file, 1 MB being 1,000,000 bytes; None where the file is gone."
    metrics: Mapping[str, float] = field(default_factory=dict)
    "Short name, such as mAP50-95 -> 0 to 1; empty where it was not measured."
    shared: bool = False
    "The accuracy was measured as most of the family was."
    conditions: str = ""
    "What the accuracy was measured with, in words."
    latency: Latency | None = None

    @property
    def score(self) -> float | None:
        """The accuracy that models of the task are judged by, mAP50-95 for most; None where it was not measured."""
        return main_score(self.metrics)

    def summary(self) -> str:
        """Return '922 k parameters · 2.97 GFLOPs at 640 px · mAP50-95 0.716', as far as it is known."""
        judged_by = main_metric(self.metrics)
        told = (
            f"{count(self.params)} parameters" if self.params else "",
            gflops_at(self.gflops),
            f"{metric_label(judged_by)} {score(self.score)}" if judged_by else "",
        )
        # A narrow place breaks the line between the parts, not within one.
        return " · ".join(part.replace(" ", "\u00a0") for part in told if part)


def figures_of(store: Store, models: Iterable[Model], *, timed: bool = False) -> dict[str, Figures]:
    """Return id -> figures of models of a workspace, those of which only the record is left included.

    A checkpoint is opened for it once; what its file tells is kept in the workspace.

    Args:
        store: The workspace.
        models: Which models.
        timed: Look for latencies too, in the results of all jobs.
    """
    wanted = {model.id for model in models}
    everyone = store.models(deleted=True)
    told: dict[str, Figures] = {}
    times = latencies(store.jobs(("done",))) if timed else {}
    for members in families(everyone):
        if wanted.isdisjoint(model.id for model in members):
            continue
        facts = known_facts(store, members)
        scores = scores_of_family(store, members, facts)
        told |= {model.id: _figures(model, facts.get(model.digest), scores, times) for model in members}
    return {model_id: told[model_id] for model_id in wanted if model_id in told}


def latencies(finished: Sequence[Job]) -> dict[str, Latency]:
    """Return digest of a file -> the latest latency that a job measured of it in ONNX Runtime.

    Args:
        finished: Jobs that are done, the newest first.
    """
    found: dict[str, Latency] = {}
    for job in finished:
        for timing in job.result.results if isinstance(job.result, LatencyResult) else ():
            if timing.runtime == "onnx" and timing.digest:
                found.setdefault(timing.digest, _latency(timing))
    return found


def _latency(timing: Timing) -> Latency:
    threads = f"{timing.threads} thread{'' if timing.threads == 1 else 's'}"
    return Latency(timing.p50_ms, f"ONNX Runtime, {threads}, {pixels(timing.imgsz)}")


def _figures(
    model: Model, facts: CheckpointFacts | None, scores: Mapping[str, FamilyScore], times: Mapping[str, Latency]
) -> Figures:
    score = scores.get(model.digest, FamilyScore({}, False, ""))
    there = not model.deleted and model.path.is_file()
    return Figures(
        params=facts.params if facts else model.params or model.metrics.get("params"),
        gflops=facts.gflops if facts else None,
        size_mb=model.path.stat().st_size / 1e6 if there else None,
        metrics=score.metrics,
        shared=score.shared,
        conditions=score.conditions,
        latency=times.get(model.digest),
    )
