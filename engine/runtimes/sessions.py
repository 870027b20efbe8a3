"""Timed ONNX Runtime sessions: a fixed number of threads, one image, milliseconds."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.imgsz import ImageSize, height_width

# Elementwise and data-moving operators, whose time follows the number of values and not the arithmetic.
MOVING = frozenset(
    "Concat Split Slice Add MaxPool AveragePool GlobalAveragePool Resize Upsample ReorderInput ReorderOutput".split()
)


_LEAST_RUNS, _MOST_RUNS = 10, 60
"Of a model whose nodes are timed."


def open_session(model: Path | bytes, threads: int, profile_prefix: Path | None = None) -> Any:
    """Return an ONNX Runtime session on the CPU; with ``profile_prefix`` it records the time of every node."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waits without taking a core
    options.log_severity_level = 3
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def feed(session: Any, imgsz: ImageSize) -> dict[str, np.ndarray]:
    """Return seeded noise for every input of a session; dimensions that are free become 1 or the image size."""
    random = np.random.default_rng(0)
    arrays, free = {}, (1, 3, *height_width(imgsz))
    for entry in session.get_inputs():
        shape = [side if isinstance(side, int) else free[axis] for axis, side in enumerate(entry.shape)]
        dtype = np.float16 if "float16" in entry.type else np.float32
        arrays[entry.name] = random.random(shape, dtype=np.float32).astype(dtype)
    return arrays


def timed_ms(action: Callable[[], object]) -> float:
    """Return how long an action takes, in milliseconds."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


def own_time_ms(action: Callable[[], object], threads: int) -> float:
    """Return how long an action takes without the waits for other programs, as far as that can be told.

    With one thread that is the thread's processor time; with several, nothing but the clock on the wall knows.
    """
    clock = time.perf_counter
    if threads == 1 and time.get_clock_info("thread_time").resolution < 1e-5:
        clock = time.thread_time
    started = clock()
    action()
    return (clock() - started) * 1e3


def undisturbed_ms(times_ms: Iterable[float]) -> float:
    """Return the 10th percentile: on an idle machine hardly below the median, on a busy one what is left of it."""
    return float(np.percentile(list(times_ms), 10))


def node_times(
    model: Path | bytes, threads: int, imgsz: ImageSize = 1, budget_s: float = 0.5
) -> dict[str, tuple[str, float]]:
    """Return node name -> (operator, milliseconds of its fastest run) by ONNX Runtime's own profiler.

    The fastest, because other programs on the machine can only ever slow a node down.

    Args:
        model: a file, or a serialised model.
        threads: of the runtime.
        imgsz: pixels, for inputs whose size is free.
        budget_s: seconds to spend, on 10 runs at least and 60 at most.
    """
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        session = open_session(model, threads, Path(folder) / "profile")
        inputs = feed(session, imgsz)
        deadline = time.perf_counter() + budget_s
        for run in range(_MOST_RUNS):
            session.run(None, inputs)
            if run + 1 >= _LEAST_RUNS and time.perf_counter() > deadline:
                break
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _fastest(events)


def _fastest(events: Iterable[dict[str, Any]]) -> dict[str, tuple[str, float]]:
    durations: dict[str, list[float]] = defaultdict(list)
    operators: dict[str, str] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["name"]].append(event["dur"] / 1e3)
            operators[event["name"]] = event["args"]["op_name"]
    return {name: (operators[name], min(times)) for name, times in durations.items()}
