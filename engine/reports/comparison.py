"""Models side by side: size, cost and accuracy of each, and the change against a reference.

Parameters and GFLOPs are Ultralytics' own counts, accuracy its own validator's, all models on the same images at the
same image size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engine.base import numbers
from engine.base.errors import CheckpointError, DatasetError, WorkbenchError
from engine.base.events import AnyEvent, Report, silent, status_event, step_event
from engine.base.files import distinct_names
from engine.base.imgsz import ImageSize, pixels, told_imgsz
from engine.base.measurements import MeasurementCache, MeasurementKey
from engine.base.numbers import GFLOPS_IMGSZ
from engine.base.tasks import TASKS, metric_label
from engine.datasets.fit import REFUSED, Fit, fit_for_measuring
from engine.profile.facts import CheckpointFacts, ModelFacts
from engine.settings.choices import RUNTIMES
from engine.settings.fields import default_of
from engine.settings.requests import CompareRequest
from engine.settings.results import ComparedModel, Comparison, Measured, TimedWith
from engine.validation.cache import BATCH, dataset_digest, measured_once


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that is held against others."""

    path: Path
    facts: CheckpointFacts
    gflops: float
    "At the image size of the comparison."

    @property
    def costs(self) -> dict[str, float]:
        """What changes are told of in relation to the reference, by the names of a comparison."""
        return {"params": self.facts.params, "gflops": self.gflops, "size_mb": self.facts.size_mb}


FilePath = TypeVar("FilePath", str, Path)


def compare(
    weights: Sequence[Path],
    data: Path,
    reference: Path | None = None,
    *,
    imgsz: int | None = None,
    gflops_imgsz: ImageSize = GFLOPS_IMGSZ,
    batch: int = BATCH,
    device: str = "cpu",
    split: str = default_of(CompareRequest, "split"),
    latency: bool = False,
    report: Report = silent,
    validate: Callable[..., Any] | None = None,
    cache: MeasurementCache | None = None,
) -> Comparison:
    """Measure models one after another and hold them against one of them.

    Args:
        weights: checkpoints of the same task and classes.
        data: the data set's YAML description.
        reference: what changes are relative to, the first model by default; put first where ``weights`` lacks it.
        imgsz: longest image side in pixels, the same for all; the one that the reference was trained at by default.
            Rounded up to a multiple of the reference's stride, which a status says.
        gflops_imgsz: image size, pixels or (height, width), that GFLOPs are counted at.
        batch: images per forward pass.
        device: as Ultralytics writes it.
        split: ``train``, ``val`` or ``test``.
        latency: time the models too, in turns in ONNX Runtime on this machine's processor.
        report: receives ``status`` events, and ``step`` events that count finished models.
        validate: as ``engine.validation.validator.validate``.
        cache: asked before, and told after, each validation.

    Raises:
        CheckpointError: a file cannot be opened, or is of another task or other classes than the reference.
        PlanError: a model does not run at ``gflops_imgsz``.
        DatasetError, TrainingError: as ``engine.validation.validator.validate``.
        ExportError: latency is wanted, and a model cannot be timed at this image size.
    """
    from engine.validation.checks import check_task

    paths = _with_reference([Path(path) for path in weights], reference)
    if not paths:
        raise WorkbenchError("There is nothing to compare; name at least one model.")
    first = next(i for i, path in enumerate(paths) if reference is None or _same_file(path, Path(reference)))
    sizes = [open_candidate(path, gflops_imgsz) for path in paths]
    base = sizes[first]
    check_task(base.facts.task)
    for size in sizes:
        check_alike(size, base)
    fit = _fit(base, data)
    if fit.sentence:
        report(status_event(fit.sentence))
    imgsz = base.facts.trained_imgsz if imgsz is None else imgsz
    imgsz = told_imgsz(imgsz, base.facts.stride, report)
    data_key = dataset_digest(data, split) if cache is not None else ""
    # First, because it is quick and refuses what it cannot do.
    timed, conditions = _timed(paths, first, imgsz, _counting(report, 0, len(sizes))) if latency else ([], None)
    measured: list[Measured] = []
    for size in sizes:
        key = MeasurementKey(size.facts.digest, data_key, split, imgsz, batch, device)
        counting = _counting(report, len(measured), len(sizes))
        measured.append(measured_once(size.path, data, key, cache=cache, report=counting, validate=validate))
        report(step_event(len(measured), len(sizes)))
    comparison = side_by_side(
        sizes, measured, first, data=str(data), split=split, imgsz=imgsz, gflops_imgsz=gflops_imgsz
    )
    comparison = comparison.model_copy(update={"fit": fit.told()})
    return _with_latency(comparison, timed, first, conditions) if conditions else comparison


def open_candidate(path: Path, gflops_imgsz: ImageSize = GFLOPS_IMGSZ) -> Candidate:
    """Open a checkpoint and count its GFLOPs at an image size; raises as ``compare``."""
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.profile.counting import count_operations
    from engine.profile.describing import describe

    checkpoint = open_checkpoint(path)
    gflops = count_operations(checkpoint.model, gflops_imgsz).gflops
    return Candidate(path, describe(checkpoint, gflops if gflops_imgsz == GFLOPS_IMGSZ else None), gflops)


def _fit(base: Candidate, data: Path) -> Fit:
    """Return how the models and a data set go together; raises DatasetError where they do not."""
    from engine.datasets import check_dataset
    from engine.datasets.fit import data_facts

    fit = fit_for_measuring(base.facts.fitting, data_facts(check_dataset(data, base.facts.task)))
    if fit.verdict == REFUSED:
        raise DatasetError(fit.sentence)
    return fit


def side_by_side(
    sizes: Sequence[Candidate],
    measured: Sequence[Measured | None],
    reference: int,
    *,
    data: str,
    split: str,
    imgsz: int,
    gflops_imgsz: ImageSize = GFLOPS_IMGSZ,
) -> Comparison:
    """Return models held against the one at the position ``reference``; ``measured`` is None where nothing was."""
    names = distinct_names([size.path for size in sizes])
    base, base_measured = sizes[reference], measured[reference]
    models = [_compared(*entry, base, base_measured) for entry in zip(sizes, names, measured, strict=True)]
    return Comparison(
        reference=str(base.path),
        data=data,
        split=split,
        imgsz=imgsz,
        gflops_imgsz=gflops_imgsz,
        models=tuple(models),
        task=base.facts.task,
        latency=None,
    )


def check_alike(size: Candidate, base: Candidate) -> None:
    """Refuse what cannot be measured on the same labels.

    Raises:
        CheckpointError: the model is of another task, or knows other classes.
    """
    mine, other = size.facts, base.facts
    if mine.task != other.task:
        raise CheckpointError(
            f"{size.path} is a model for {mine.task} and {base.path} one for {other.task}; compare models of one task."
        )
    if mine.names != other.names:
        raise CheckpointError(
            f"{size.path} knows other classes ({_listed(mine.names)}) than {base.path} ({_listed(other.names)}); "
            "compare models of the same classes."
        )
    if _inputs(mine.fitting) != _inputs(other.fitting):
        told = (f"{each.path} {_inputs(each.facts.fitting)}" for each in (size, base))
        raise CheckpointError(f"{' and '.join(told)}; compare models for the same data.")


def comparable(weights: Sequence[FilePath], report: Report = silent) -> list[FilePath]:
    """Return the checkpoints that can be measured on what the last one was made for; a status names each other.

    Training takes the classes, keypoints and image channels of its data set, so what a chain started from may know
    others than what it made.
    """
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.profile.describing import checkpoint_facts

    opened = list(map(open_checkpoint, weights))
    known = [(each.task, each.names, _inputs(checkpoint_facts(each))) for each in opened]
    for path, own in zip(weights, known, strict=True):
        if own != known[-1]:
            why = f"knows other classes ({_listed(own[1])})" if own[1] != known[-1][1] else own[2]
            report(status_event(f"{path} is left out of the comparison: it {why}"))
    return [path for path, own in zip(weights, known, strict=True) if own == known[-1]]


def _inputs(facts: ModelFacts) -> str:
    """Return what data a model is for besides its classes, in words."""
    keypoints = f", with {facts.keypoints[0]} keypoints of {facts.keypoints[1]} values" if facts.keypoints else ""
    return f"is for images of {numbers.image_channels(facts.channels)}{keypoints}"


def changes(values: Mapping[str, float], reference: Mapping[str, float], *, relative: bool) -> dict[str, float]:
    """Return the change of every value that the reference has too; a relative one needs a reference other than 0."""
    shared = [name for name in values if name in reference and not (relative and reference[name] == 0)]
    return {name: (values[name] - reference[name]) / (reference[name] if relative else 1) for name in shared}


def comparison_table(result: Comparison) -> str:
    """Return a comparison as an aligned table."""
    models, timing = result.models, result.latency
    metrics = list(dict.fromkeys(name for model in models for name in model.metrics))
    classes = list(dict.fromkeys(name for model in models for name in model.per_class))
    per_class = TASKS[result.task].per_class.partition(" (")[0]
    rows = [["", *(model.name for model in models)]]
    for title, key, told in (
        ("Parameters", "params", numbers.exact),
        (f"GFLOPs at {pixels(result.gflops_imgsz)}", "gflops", numbers.gflops),
        ("MB", "size_mb", numbers.number_mb),
    ):
        rows.append([title, *(_cell(told(getattr(model, key)), model.change.get(key), "%") for model in models)])
    if timing:
        timed = [(_time(model.latency_ms), model.change.get("latency_ms")) for model in models]
        rows.append(["p50 ms", *(_cell(*each, "%") for each in timed)])
    for name in metrics:
        cells = (_cell(numbers.score(model.metrics.get(name)), model.change.get(name)) for model in models)
        rows.append([metric_label(name), *cells])
    for name in classes:
        scores = ((model.per_class.get(name), model.change_per_class.get(name)) for model in models)
        rows.append([f"{per_class} {name}", *(_cell(numbers.score(score), change) for score, change in scores)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    caption = f"changes against {result.reference}; {result.split} split at {result.imgsz} px"
    lines.append(f"{caption}; {_timing_words(timing)}" if timing else caption)
    return "\n".join(lines)


def _time(latency_ms: float | None) -> str:
    return numbers.UNKNOWN if latency_ms is None else numbers.number_ms(latency_ms)


def _timing_words(timing: TimedWith) -> str:
    runtime = RUNTIMES.get(timing.runtime, timing.runtime)
    threads = f"{timing.threads} thread{'' if timing.threads == 1 else 's'}"
    return f"p50 of one image at {timing.imgsz} px in turns, {runtime}, {threads}"


def _cell(text: str, change: float | None, unit: str = "") -> str:
    if change is None or abs(change) < numbers.NO_CHANGE:  # nothing to compare with, or as good as the reference
        return text
    return f"{text} ({numbers.percent_change(change) if unit else numbers.score_change(change)})"


def _same_file(first: Path, second: Path) -> bool:
    return first.absolute() == second.absolute() or (first.exists() and second.exists() and first.samefile(second))


def _with_reference(paths: list[Path], reference: Path | None) -> list[Path]:
    if reference is None or any(_same_file(path, Path(reference)) for path in paths):
        return paths
    return [Path(reference), *paths]


def _listed(names: Mapping[int, str]) -> str:
    shown = [names[index] for index in sorted(names)][:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _counting(report: Report, done: int, models: int) -> Report:
    """Pass statuses on; batches become the count of finished models, so that a wish to stop is heard at each."""

    def passed(event: AnyEvent) -> None:
        report(step_event(done, models) if event["kind"] == "step" else event)

    return passed


def _timed(paths: Sequence[Path], reference: int, imgsz: int, report: Report) -> tuple[list[float], TimedWith]:
    """Return the median milliseconds of every path, timed in turns with the reference first, and what with."""
    from engine.latency import measure

    turns = list(dict.fromkeys([paths[reference], *paths]))
    results = measure(turns, imgsz=imgsz, report=report)
    p50_ms = {path: result.p50_ms for path, result in zip(turns, results, strict=True)}
    told = TimedWith(**{name: getattr(results[0], name) for name in TimedWith.model_fields})
    return [p50_ms[path] for path in paths], told


def _with_latency(comparison: Comparison, timed: Sequence[float], reference: int, conditions: TimedWith) -> Comparison:
    base = {"latency_ms": timed[reference]}
    models = [
        model.model_copy(
            update={"latency_ms": own, "change": model.change | changes({"latency_ms": own}, base, relative=True)}
        )
        for model, own in zip(comparison.models, timed, strict=True)
    ]
    return comparison.model_copy(update={"models": tuple(models), "latency": conditions})


def _compared(
    size: Candidate, name: str, measured: Measured | None, base: Candidate, base_measured: Measured | None
) -> ComparedModel:
    own, reference = size.costs, base.costs
    metrics, per_class = (measured.metrics, measured.per_class) if measured else ({}, {})
    base_metrics, base_classes = (base_measured.metrics, base_measured.per_class) if base_measured else ({}, {})
    return ComparedModel(
        weights=str(size.path),
        name=name,
        **own,
        metrics=metrics,
        per_class=per_class,
        speed_ms=measured.speed_ms if measured else {},
        change=changes(own, reference, relative=True) | changes(metrics, base_metrics, relative=False),
        change_per_class=changes(per_class, base_classes, relative=False),
        latency_ms=None,
    )
