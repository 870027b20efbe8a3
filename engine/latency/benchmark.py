"""Median and tail latency of several models, taken in turns so that a busy moment hits them alike."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.base.errors import ExportError
from engine.base.events import Report, silent, status_event
from engine.base.imgsz import ImageSize, as_size
from engine.base.runtime import compute_threads
from engine.latency.explain import explain
from engine.latency.interleaved import in_turns
from engine.runtimes.runners import Runner, open_runner
from engine.settings.choices import RUNTIMES
from engine.settings.fields import default_of
from engine.settings.requests import LatencyRequest
from engine.settings.results import Timing


def measure(
    paths: Sequence[Path],
    imgsz: ImageSize = 640,
    runtimes: Sequence[str] = default_of(LatencyRequest, "runtime"),
    threads: int | None = None,
    repeats: int = default_of(LatencyRequest, "repeats"),
    report: Report = silent,
) -> list[Timing]:
    """Measure checkpoints against the first of them.

    Args:
        paths: checkpoints that ``open_checkpoint`` accepts.
        imgsz: image size, pixels or (height, width), each a multiple of the models' stride.
        runtimes: of ``engine.settings.choices.RUNTIMES``.
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
    imgsz = as_size(imgsz)
    _check(paths, imgsz, runtimes, repeats, threads)
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        runners: list[Runner] = []
        for number, path in enumerate(paths):
            report(status_event(f"Preparing {Path(path).name}"))
            for runtime in runtimes:
                place = Path(folder) / f"{number} {runtime}"
                place.mkdir()
                runners.append(open_runner(Path(path), runtime, imgsz, threads, place))
        times = in_turns([runner.run_ms for runner in runners], repeats, report)
        report(status_event("Looking at where the time goes"))
        return [result for runtime in runtimes for result in _results(runners, times, runtime, imgsz, threads)]


def _check(paths: Sequence[Path], imgsz: ImageSize, runtimes: Sequence[str], repeats: int, threads: int) -> None:
    unknown = [runtime for runtime in runtimes if runtime not in RUNTIMES]
    if unknown or not runtimes or not paths:
        raise ExportError(f"Latency is measured for at least one model in {', '.join(RUNTIMES)}; choose among these.")
    if repeats < 5 or threads < 1:
        raise ExportError(f"Latency needs at least 5 repeats and 1 thread, not {repeats} and {threads}.")


def _results(
    runners: list[Runner], times: list[np.ndarray], runtime: str, imgsz: ImageSize, threads: int
) -> list[Timing]:
    chosen = [(runner, own) for runner, own in zip(runners, times, strict=True) if runner.runtime == runtime]
    first, first_times = chosen[0]
    results = []
    for runner, own in chosen:
        p50_ms = float(np.median(own))
        speedup, ideal = float(np.median(first_times)) / p50_ms, first.gflops / runner.gflops
        results.append(
            Timing(
                weights=str(runner.weights),
                digest=runner.digest,
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
