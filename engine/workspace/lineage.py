"""Where models come from: the family of one, what made each member, and the command that makes it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.base.tasks import main_metric, main_score
from engine.settings.arguments import argument_words
from engine.settings.choices import FORMATS
from engine.settings.results import ExportResult
from engine.workspace.figures import Figures
from engine.workspace.store import Job, Model
from engine.workspace.store.uses import named_files

EXPORTED = "exported"
"Kind of a file that was exported for deployment; the others are those of models."
_PLUMBING = ("chain", "resume", "workspace")
"What a specification says about how it runs, not about what comes out."


@dataclass(frozen=True)
class Member:
    """A model of a family, or a file that was exported from one."""

    key: str
    "Id of the model, or of the job that exported the file."
    parent: str | None
    depth: int
    "Generations below the root, which is 0."
    name: str
    kind: str
    "One of MODEL_KINDS, or EXPORTED."
    verb: str | None
    "What made it; None where that is not known."
    spec: dict[str, Any]
    "The settings that made it."
    params: int | None
    gflops: float | None
    "At GFLOPS_IMGSZ."
    size_mb: float | None
    score: float | None
    "The metric that its task is judged by, where it was measured."
    ratio: float | None
    "Share of channels that was pruned, or faded to be pruned."
    created_at: datetime
    change: float | None = None
    """That metric of an exported file minus that of its checkpoint in fp32, both measured by the export alike. The
    file's own number is none for ``score``: one square image at a time, and with suppression inside of boxes above
    0.25."""
    metric: str = "mAP50-95"
    "Short name of the metric that ``score`` and ``change`` are of."
    figures: Figures = field(default_factory=Figures)
    "Everything that is known of a model in numbers."
    digest: str = ""
    "SHA-256 of a model's file."
    deleted: bool = False
    "Its file was deleted from the workspace: a placeholder in the tree."
    conditions: str = ""
    "What ``score`` was measured with, in words, where that was not what most of the family was; else empty."


def family(models: Sequence[Model], jobs: Sequence[Job], figures: Mapping[str, Figures], model_id: str) -> list[Member]:
    """Return all that descends from the oldest ancestor of a model, each member before its children.

    Args:
        models: of the workspace, those of which only the record is left included.
        jobs: of the workspace; what its exports wrote are leaves.
        figures: id of a model -> its numbers, see ``engine.workspace.figures``.
        model_id: one of ``models``.
    """
    by_id = {model.id: model for model in models}
    children: dict[str | None, list[Model]] = {}
    for model in sorted(models, key=lambda model: model.created_at):
        children.setdefault(model.parent_id, []).append(model)
    exports: dict[str | None, list[tuple[Job, ExportResult]]] = {}
    for job in sorted(jobs, key=lambda job: job.created_at):
        if job.state == "done" and isinstance(job.result, ExportResult):
            exports.setdefault(job.model_id, []).append((job, job.result))

    def below(model: Model, depth: int) -> Iterator[Member]:
        yield _model_member(model, depth, figures.get(model.id, Figures()), by_id.get(model.parent_id or ""))
        yield from (_export_member(*export, model, depth + 1) for export in exports.get(model.id, ()))
        for child in children.get(model.id, ()):
            yield from below(child, depth + 1)

    root = by_id[model_id]
    while root.parent_id in by_id:
        root = by_id[root.parent_id]
    return list(below(root, 0))


def missing_files(spec: Mapping[str, Any]) -> list[str]:
    """Return the files that a command made from this specification would look for in vain, as it names them.

    An official name is fetched, and a relative path is meant from the folder where the command is run: neither counts.
    """
    named = [*named_files({**spec, "chain": None}), spec.get("data"), spec.get("sensitivity")]
    absolute = (each for each in named if isinstance(each, str) and Path(each).is_absolute())
    return [each for each in dict.fromkeys(absolute) if not Path(each).exists()]


def settings_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that were given, as words."""
    return {
        key.replace("_", " "): _text(value)
        for key, value in spec.items()
        if key not in _PLUMBING and value not in (None, [], {})
    }


def _model_member(model: Model, depth: int, figures: Figures, parent: Model | None) -> Member:
    spec = dict(model.made.get("spec") or {})
    if parent is not None and model.made.get("verb") != "import":
        # What a page prunes is the model on show, so its specification does not name one.
        spec = {"weights": str(parent.path), **spec}
    return Member(
        key=model.id,
        parent=parent.id if parent else None,
        depth=depth,
        name=model.name,
        kind=model.kind,
        verb=model.made.get("verb"),
        spec=spec,
        params=figures.params,
        gflops=figures.gflops,
        size_mb=figures.size_mb,
        score=figures.score,
        metric=main_metric(figures.metrics) or "mAP50-95",
        conditions="" if figures.score is None or figures.shared else figures.conditions,
        figures=figures,
        ratio=model.made.get("ratio_achieved", spec.get("prune_ratio")),
        created_at=model.created_at,
        digest=model.digest,
        deleted=model.deleted,
    )


def _export_member(job: Job, result: ExportResult, model: Model, depth: int) -> Member:
    label = FORMATS[result.format].label if result.format in FORMATS else result.format
    words = (label, result.precision, "with NMS" if result.nms else "")
    return Member(
        key=job.id,
        parent=model.id,
        depth=depth,
        name=" ".join(filter(None, words)),
        kind=EXPORTED,
        verb="export",
        spec={"weights": str(model.path), **job.spec},
        params=None,
        gflops=None,
        size_mb=result.size_mb,
        score=None,
        ratio=None,
        created_at=job.created_at,
        change=_export_change(result.metrics),
        metric=main_metric(result.metrics) or "mAP50-95",
    )


def _export_change(measured: Mapping[str, Any]) -> float | None:
    """Return what an export changed of the metric that judges, None where it did not measure both sides."""
    full = measured.get(f"{main_metric(measured)} fp32")
    return None if full is None else main_score(measured) - full


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return " ".join(argument_words(value))
    return str(value)
