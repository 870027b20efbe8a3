"""What a verb's result reads like on the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from engine.base import numbers
from engine.base.imgsz import pixels
from engine.base.tasks import metric_label
from engine.settings.results import (
    AccuracyResult,
    CompareResult,
    ExportResult,
    InspectResult,
    LatencyResult,
    PreviewResult,
    PruneResult,
    RecipeList,
    ReportResult,
    Result,
    RunResult,
    SensitivityResult,
    TrainingResult,
)


def result_text(result: Result | RecipeList) -> str:
    """Return the result of a verb for a person to read."""
    match result:
        case InspectResult():
            return _inspect_text(result)
        case PreviewResult():
            return _plan_text(result)
        case AccuracyResult():
            from engine.validation.impact.text import accuracy_text

            return accuracy_text(result)
        case SensitivityResult():
            from engine.validation.impact.text import sensitivity_text

            return sensitivity_text(result)
        case TrainingResult():
            return _training_text(result)
        case CompareResult():
            from engine.reports.comparison import comparison_table

            return comparison_table(result)
        case ExportResult():
            from engine.export.text import export_text

            return export_text(result)
        case LatencyResult():
            from engine.latency.text import latency_text

            return latency_text(result)
        case ReportResult():
            return f"report: {result.report}"
        case RunResult() | RecipeList():
            from engine.verbs.recipe import run_text

            return run_text(result)
    return "\n".join(_metric_lines(result))


def _inspect_text(result: InspectResult) -> str:
    rows = [f"{'layer':<34}{'channels':>9}{'prunable':>9}{'min':>9}{'median':>9}{'max':>9}"]
    rows += [
        f"{layer.name:<34}{layer.channels:>9}{layer.prunable:>9}{numbers.gamma(layer.gamma_min):>9}"
        f"{numbers.gamma(layer.gamma_median):>9}{numbers.gamma(layer.gamma_max):>9}  {layer.reason}".rstrip()
        for layer in result.layers
    ]
    head = f"{result.weights}: {result.task}, {len(result.names)} classes, "
    head += f"{numbers.exact(result.params)} parameters, "
    head += numbers.gflops_at(result.gflops, result.imgsz)
    return "\n".join([head, result.gammas.verdict, *rows])


def _plan_text(result: PreviewResult) -> str:
    from engine.latency.text import pruned_lines

    rows = [f"{'layer':<34}{'before':>8}{'after':>8}"]
    rows += [
        f"{layer.name:<34}{layer.before:>8}{layer.after:>8}"
        f"{'  ' + ', '.join(layer.bounds) if layer.bounds else ''}"
        f"{'  ' + layer.reason if layer.reason else ''}"
        for layer in result.layers
    ]
    limit = f", then {result.limiting_layer} is at its floor" if result.limiting_layer else ""
    rows += [
        f"ratio {numbers.ratio(result.ratio_achieved)} of {numbers.ratio(result.ratio_requested)} asked; "
        f"by score alone at most {numbers.ratio_bound(result.max_ratio)}{limit}",
        f"parameters {_change(result.params_before, result.params, numbers.exact)}",
        f"GFLOPs at {pixels(result.imgsz)} {_change(result.gflops_before, result.gflops, numbers.gflops)}",
        *pruned_lines(result),
    ]
    if isinstance(result, PruneResult):
        rows.append(f"pruned.pt: {result.pruned}")
        if result.params < result.params_before:
            rows.append(
                f"train it with: python -m engine finetune --weights {shlex.quote(result.pruned)} --data DATA "
                "(stock Ultralytics training would rebuild the full network, so it stops with an error that says this)"
            )
    return "\n".join(rows)


def _change(before: float, after: float, told: Callable[[float], str]) -> str:
    return f"{told(before)} -> {told(after)} ({numbers.percent_change(numbers.relative(before, after))})"


def _metric_lines(result: Result) -> list[str]:
    return [f"{metric_label(name):>12}: {numbers.score(value)}" for name, value in result.metrics.items()]


def _training_text(result: TrainingResult) -> str:
    params = f"{'params':>12}: {numbers.exact(result.params)}"
    files = [f"{'best.pt':>12}: {result.best}", f"{'last.pt':>12}: {result.last}"]
    return "\n".join([*_metric_lines(result), params, *files])
