"""Latency results in words, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.base import numbers
from engine.base.files import distinct_names
from engine.base.imgsz import pixels


def latency_text(result: dict[str, Any]) -> str:
    """Return a table of the results of ``latency``, and below it why a speed-up falls short."""
    if "predicted" in result:
        return _predicted_text(result["predicted"])
    results = result["results"]
    names = distinct_names([Path(entry["weights"]) for entry in results])
    first = results[0]
    size = pixels(first["imgsz"])
    rows = [f"{size}, batch 1, {_threads(first['threads'])}, {first['repeats']} runs of each in turns"]
    gflops = f"GFLOPs at {size}"
    rows.append(f"{'model':<34}{'runtime':>8}{gflops:>23}{'p50 ms':>9}{'p95 ms':>9}{'speed-up':>10}{'ideal':>8}")
    rows += [
        f"{name:<34}{entry['runtime']:>8}{numbers.gflops(entry['gflops']):>23}"
        f"{numbers.number_ms(entry['p50_ms']):>9}{numbers.number_ms(entry['p95_ms']):>9}"
        f"{numbers.factor(entry['speedup']):>10}{numbers.factor(entry['ideal_speedup']):>8}"
        for name, entry in zip(names, results, strict=True)
    ]
    rows += [
        f"{name}, {entry['runtime']}: {entry['explanation']}"
        for name, entry in zip(names, results, strict=True)
        if entry["explanation"]
    ]
    return "\n".join(rows)


def _predicted_text(predicted: list[dict[str, Any]]) -> str:
    """Return a table of whole models and where their time goes; their plans can now be predicted."""
    rows = [
        f"{pixels(predicted[0]['imgsz'])}, batch 1, {_threads(predicted[0]['threads'])} of ONNX Runtime on this machine"
    ]
    rows.append(f"{'model':<34}{'ms':>9}{'convolutions':>14}{'moving data':>13}{'rest':>9}")
    names = distinct_names([Path(entry["weights"]) for entry in predicted])
    rows += [
        f"{name:<34}{numbers.number_ms(entry['latency_ms']):>9}{numbers.number_ms(entry['convolutions_ms']):>14}"
        f"{numbers.number_ms(entry['moving_ms']):>13}{numbers.number_ms(entry['rest_ms']):>9}"
        for name, entry in zip(names, predicted, strict=True)
    ]
    return "\n".join(rows)


def pruned_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what ``preview`` or ``prune`` says of the latency, nothing where the plan was not made for one."""
    if "latency_ms" in result:
        yield f"latency {_fall(result, 'latency_ms')}, predicted for ONNX Runtime on this machine"
    yield from measured_lines(result)


def measured_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what ``prune`` says of the latency that it measured, nothing where it measured none."""
    if "latency_ms_measured" in result:
        yield (
            f"measured {_fall(result, 'latency_ms_measured')}, in turns with {_threads(result['latency_threads'])}; "
            f"predicted / measured: {numbers.ratio(result['latency_ratio'])}"
        )
    if result.get("latency_note"):
        yield result["latency_note"]


def _fall(result: Mapping[str, Any], name: str) -> str:
    before, after = result[f"{name}_before"], result[name]
    change = numbers.percent_change(numbers.relative(before, after))
    return f"{numbers.number_ms(before)} -> {numbers.milliseconds(after)} ({change})"


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
