"""Why a model with half the arithmetic does not take half the time, in words made of measured numbers."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from pathlib import Path

from engine.base.imgsz import ImageSize
from engine.base.numbers import exact, factor, milliseconds, percent
from engine.latency.costs import ModelParts
from engine.latency.grid import ALIGNMENT
from engine.latency.parts import CONVOLVING, model_parts
from engine.latency.table import RUNTIME
from engine.runtimes.runners import Runner
from engine.runtimes.sessions import MOVING, node_times

MULTIPLE = 8
"Widths that most hardware likes."
_CLOSE = 0.05
"A speed-up within this share of the ideal one has nothing to explain."


def explain(first: Runner, runner: Runner, speedup: float, ideal: float, threads: int) -> str:
    """Return a few sentences on the gap between the measured speed-up and the ideal one.

    Args:
        first: the model that is compared with.
        runner: the smaller model, in the same runtime.
        speedup: measured against the first model.
        ideal: ratio of GFLOPs.
        threads: of ONNX Runtime.
    """
    if speedup >= ideal * (1 - _CLOSE):
        return f"As fast as its GFLOPs promise ({factor(speedup)} of {factor(ideal)})."
    sentences = [f"{factor(speedup)} faster where GFLOPs promise {factor(ideal)}."]
    if runner.runtime == RUNTIME and first.exported and runner.exported:
        before = _parts(first.exported, first.imgsz, threads)
        after = _parts(runner.exported, runner.imgsz, threads)
        most = _largest_other(runner.exported, runner.imgsz, threads)
        sentences.append(_time_words(before, after, first.gflops, runner.gflops, most))
    if words := _width_words(runner):
        sentences.append(words)
    return " ".join(sentences)


def _time_words(before: ModelParts, after: ModelParts, gflops_before: float, gflops: float, most: str) -> str:
    beside, beside_before = after.moving + after.rest, before.moving + before.rest
    return (
        f"Beside convolutions it spends {milliseconds(beside)} ({percent(beside / after.total)} of its time), the "
        f"first model {milliseconds(beside_before)}: {milliseconds(after.moving)} move data without computing, "
        f"{milliseconds(after.rest)} go to other operators, most of it to {most}. Its convolutions, being "
        f"narrower, compute {exact(gflops / after.convolutions * 1e3)} GFLOP/s where the first model's compute "
        f"{exact(gflops_before / before.convolutions * 1e3)}."
    )


def _largest_other(onnx_file: Path, imgsz: ImageSize, threads: int) -> str:
    """Return the operator that takes most of the time outside convolutions and moving data."""
    times: defaultdict[str, float] = defaultdict(float)
    for operator, time_ms in node_times(onnx_file, threads, imgsz).values():
        if operator not in MOVING | CONVOLVING:
            times[operator] += time_ms
    return max(times, key=times.__getitem__, default="the run itself")


@lru_cache(maxsize=32)
def _parts(onnx_file: Path, imgsz: ImageSize, threads: int) -> ModelParts:
    return model_parts(onnx_file, imgsz, threads)


def _width_words(runner: Runner) -> str:
    """Say how many convolutions read a number of channels that is no multiple of 8; the first reads the image."""
    inputs = runner.input_channels[1:]
    odd = sum(bool(width % MULTIPLE) for width in inputs)
    slow = sum(bool(width % ALIGNMENT) for width in inputs)
    if not odd:
        return ""
    words = f"{odd} of {len(inputs)} convolutions read a number of channels that is no multiple of {MULTIPLE}"
    if runner.runtime == RUNTIME and slow:
        words += f", {slow} of them none of {ALIGNMENT}, which ONNX Runtime computes on a slower path"
    return words + f"; prune with widths rounded to {MULTIPLE} to see what that costs."
