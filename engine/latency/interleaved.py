"""Several models run in turns, so that a busy moment hits them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from engine.base.events import Report, step_event

WARM_UP_RUNS = 5
_REPORT_EVERY_S = 0.5


def in_turns(runs: Sequence[Callable[[], float]], repeats: int, report: Report) -> list[np.ndarray]:
    """Return the (repeats,) milliseconds of every model, run as A B C A B C ... after a warm-up.

    Args:
        runs: each runs its model on one image and returns the milliseconds that took.
        repeats: timed runs of each.
        report: receives ``step`` events now and then; may raise ``StopRequested``.
    """
    times: list[list[float]] = [[] for _ in runs]
    reported_s = 0.0
    for turn in range(WARM_UP_RUNS + repeats):
        for run_ms, own in zip(runs, times, strict=True):
            own.append(run_ms())
            # A stop is noticed between two runs; a report at every run would disturb what is measured.
            if time.monotonic() - reported_s >= _REPORT_EVERY_S:
                reported_s = time.monotonic()
                report(step_event(turn + 1, WARM_UP_RUNS + repeats))
    report(step_event(WARM_UP_RUNS + repeats, WARM_UP_RUNS + repeats))
    return [np.array(own[WARM_UP_RUNS:]) for own in times]
