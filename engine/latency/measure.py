"""Median and tail latency of several models, taken in turns so that a busy moment hits them alike."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from engine.errors import ExportError
from engine.latency.explain import explain
from engine.latency.runners import RUNTIMES, Runner, open_runner
from engine.runtime import compute_threads

Reporter = Callable[[dict], None]
WARM_UP_RUNS = 5
_REPORT_EVERY_S = 0.5


@dataclass(frozen=True)
class LatencyResult:
    """One model in one runtime: batch 1, inference alone, without reading the image or suppressing boxes."""

    weights: str
    runtime: str
    "onnx, torch (both on the CPU) or cuda."
    imgsz: int
    threads: int
    repeats: int
    p50_ms: float
    p95_ms: float
    params: int
    gflops: float
    "At ``imgsz``."
    speedup: float
    "Median of the first model in this runtime / median of this one."
    ideal_speedup: float
    "GFLOPs of the first model / GFLOPs of this one."
    explanation: str
    "Where the difference between the two goes, from what was measured; empty for the first model."

    def as_dict(self) -> dict:
        """Return the fields as plain, JSON-able values."""
        return asdict(self)


def measure(
    paths: Sequence[Path],
    imgsz: int = 640,
    runtimes: Sequence[str] = ("onnx",),
    threads: int | None = None,
    repeats: int = 100,
    report: Reporter = lambda event: None,
) -> list[LatencyResult]:
    """Measure checkpoints against the first of them.

    Args:
        paths: checkpoints that ``open_checkpoint`` accepts.
        imgsz: image size in pixels, a multiple of the models' stride.
        runtimes: of ``onnx``, ``torch``, ``cuda``.
        threads: of the runtimes on the CPU; every available core if None.
        repeats: timed runs of each model, after the warm-up.
        report: receives ``status`` and ``step`` events; may raise ``StopRequested``.

    Returns:
        One result a runtime and model, in the order given.

    Raises:
        CheckpointError: a checkpoint cannot be opened.
        ExportError: a setting is out of range, or a model cannot be exported or run.
    """
    threads = threads or compute_threads()
    _check(paths, imgsz, runtimes, repeats, threads)
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        runners: list[Runner] = []
        for number, path in enumerate(paths):
            report({"kind": "status", "text": f"Preparing {Path(path).name}"})
            place = Path(folder) / str(number)
            place.mkdir()
            runners += [open_runner(Path(path), runtime, imgsz, threads, place) for runtime in runtimes]
        times = _in_turns(runners, repeats, report)
        report({"kind": "status", "text": "Looking at where the time goes"})
        return [result for runtime in runtimes for result in _results(runners, times, runtime, imgsz, threads)]


def _check(paths: Sequence[Path], imgsz: int, runtimes: Sequence[str], repeats: int, threads: int) -> None:
    unknown = [runtime for runtime in runtimes if runtime not in RUNTIMES]
    if unknown or not runtimes or not paths:
        raise ExportError(f"Latency is measured for at least one model in {', '.join(RUNTIMES)}; choose among these.")
    if repeats < 5 or threads < 1 or imgsz < 32 or imgsz % 32:
        raise ExportError(
            f"Latency needs at least 5 repeats, 1 thread and an image size that is a multiple of 32, "
            f"not {repeats}, {threads} and {imgsz}."
        )


def _in_turns(runners: list[Runner], repeats: int, report: Reporter) -> list[np.ndarray]:
    """Return the (repeats,) milliseconds of every runner: A B C A B C ..."""
    times: list[list[float]] = [[] for _ in runners]
    reported_s = 0.0
    for turn in range(WARM_UP_RUNS + repeats):
        for runner, own in zip(runners, times, strict=True):
            own.append(runner.run_ms())
            # A stop is noticed between two runs; a report at every run would disturb what is measured.
            if time.monotonic() - reported_s >= _REPORT_EVERY_S:
                reported_s = time.monotonic()
                report(_step(turn + 1, WARM_UP_RUNS + repeats))
    report(_step(WARM_UP_RUNS + repeats, WARM_UP_RUNS + repeats))
    return [np.array(own[WARM_UP_RUNS:]) for own in times]


def _step(turn: int, turns: int) -> dict:
    return {"kind": "step", "epoch": 1, "epochs": 1, "step": turn, "steps": turns, "losses": {}}


def _results(
    runners: list[Runner], times: list[np.ndarray], runtime: str, imgsz: int, threads: int
) -> list[LatencyResult]:
    chosen = [(runner, own) for runner, own in zip(runners, times, strict=True) if runner.runtime == runtime]
    first, first_times = chosen[0]
    results = []
    for runner, own in chosen:
        p50_ms = float(np.median(own))
        speedup, ideal = float(np.median(first_times)) / p50_ms, first.gflops / runner.gflops
        results.append(
            LatencyResult(
                weights=str(runner.weights),
                runtime=runtime,
                imgsz=imgsz,
                threads=threads,
                repeats=len(own),
                p50_ms=p50_ms,
                p95_ms=float(np.percentile(own, 95)),
                params=runner.params,
                gflops=runner.gflops,
                speedup=speedup,
                ideal_speedup=ideal,
                explanation="" if runner is first else explain(first, runner, speedup, ideal, threads),
            )
        )
    return results
