"""Latency results for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def latency_text(result: dict[str, Any]) -> str:
    """Return a table of the results of ``latency``, and below it why a speed-up falls short."""
    if "predicted" in result:
        return _predicted_text(result["predicted"])
    results = result["results"]
    names = _names([entry["weights"] for entry in results])
    first = results[0]
    rows = [f"{first['imgsz']} px, batch 1, {first['threads']} threads, {first['repeats']} runs of each in turns"]
    rows.append(f"{'model':<34}{'runtime':>8}{'GFLOPs':>9}{'p50 ms':>9}{'p95 ms':>9}{'speed-up':>10}{'ideal':>8}")
    rows += [
        f"{name:<34}{entry['runtime']:>8}{entry['gflops']:>9.2f}{entry['p50_ms']:>9.2f}{entry['p95_ms']:>9.2f}"
        f"{entry['speedup']:>9.2f}x{entry['ideal_speedup']:>7.2f}x"
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
    rows = [f"{predicted[0]['imgsz']} px, batch 1, {predicted[0]['threads']} threads of ONNX Runtime on this machine"]
    rows.append(f"{'model':<34}{'ms':>9}{'convolutions':>14}{'moving data':>13}{'rest':>9}")
    names = _names([entry["weights"] for entry in predicted])
    rows += [
        f"{name:<34}{entry['latency_ms']:>9.2f}{entry['convolutions_ms']:>14.2f}{entry['moving_ms']:>13.2f}"
        f"{entry['rest_ms']:>9.2f}"
        for name, entry in zip(names, predicted, strict=True)
    ]
    return "\n".join(rows)


def _names(paths: list[str]) -> list[str]:
    """Return file names, with their folder where two files of one name are compared."""
    names = {path: Path(path).name for path in paths}
    doubled = {name for name in names.values() if list(names.values()).count(name) > 1}
    return [str(Path(*Path(path).parts[-2:])) if names[path] in doubled else names[path] for path in paths]
