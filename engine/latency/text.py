"""Latency results in words, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.base import numbers
from engine.base.files import distinct_names
from engine.base.imgsz import pixels
from engine.settings.results import LatencyResult, Prediction, PreviewResult, PruneResult


def latency_text(result: LatencyResult) -> str:
    """Return a table of the results of ``latency``, and below it why a speed-up falls short."""
    if result.predicted is not None:
        return _predicted_text(result.predicted)
    results = result.results
    names = distinct_names([Path(entry.weights) for entry in results])
    first = results[0]
    size = pixels(first.imgsz)
    rows = [f"{size}, batch 1, {_threads(first.threads)}, {first.repeats} runs of each in turns"]
    gflops = f"GFLOPs at {size}"
    rows.append(f"{'model':<34}{'runtime':>8}{gflops:>23}{'p50 ms':>9}{'p95 ms':>9}{'speed-up':>10}{'ideal':>8}")
    rows += [
        f"{name:<34}{entry.runtime:>8}{numbers.gflops(entry.gflops):>23}"
        f"{numbers.number_ms(entry.p50_ms):>9}{numbers.number_ms(entry.p95_ms):>9}"
        f"{numbers.factor(entry.speedup):>10}{numbers.factor(entry.ideal_speedup):>8}"
        for name, entry in zip(names, results, strict=True)
    ]
    rows += [
        f"{name}, {entry.runtime}: {entry.explanation}"
        for name, entry in zip(names, results, strict=True)
        if entry.explanation
    ]
    return "\n".join(rows)


def _predicted_text(predicted: Sequence[Prediction]) -> str:
    """Return a table of whole models and where their time goes; their plans can now be predicted."""
    rows = [f"{pixels(predicted[0].imgsz)}, batch 1, {_threads(predicted[0].threads)} of ONNX Runtime on this machine"]
    rows.append(f"{'model':<34}{'ms':>9}{'convolutions':>14}{'moving data':>13}{'rest':>9}")
    names = distinct_names([Path(entry.weights) for entry in predicted])
    rows += [
        f"{name:<34}{numbers.number_ms(entry.latency_ms):>9}{numbers.number_ms(entry.convolutions_ms):>14}"
        f"{numbers.number_ms(entry.moving_ms):>13}{numbers.number_ms(entry.rest_ms):>9}"
        for name, entry in zip(names, predicted, strict=True)
    ]
    return "\n".join(rows)


def pruned_lines(result: PreviewResult) -> Iterator[str]:
    """Yield what ``preview`` or ``prune`` says of the latency, nothing where the plan was not made for one."""
    before_ms, after_ms = result.latency_ms_before, result.latency_ms
    if before_ms is not None and after_ms is not None:
        yield f"latency {_fall(before_ms, after_ms)}, predicted for ONNX Runtime on this machine"
    if isinstance(result, PruneResult):
        yield from measured_lines(result)


def measured_lines(result: PruneResult) -> Iterator[str]:
    """Yield what ``prune`` says of the latency that it measured, nothing where it measured none."""
    before_ms, after_ms, threads = result.latency_ms_measured_before, result.latency_ms_measured, result.latency_threads
    if before_ms is not None and after_ms is not None and threads is not None:
        yield (
            f"measured {_fall(before_ms, after_ms)}, in turns with {_threads(threads)}; "
            f"predicted / measured: {numbers.ratio(result.latency_ratio)}"
        )
    if result.latency_note:
        yield result.latency_note


def _fall(before_ms: float, after_ms: float) -> str:
    change = numbers.percent_change(numbers.relative(before_ms, after_ms))
    return f"{numbers.number_ms(before_ms)} -> {numbers.milliseconds(after_ms)} ({change})"


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
