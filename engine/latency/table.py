"""The latency table of this machine: measured once, kept in a file, shared by all models and image sizes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine.base.events import Report, StatusEvent, status_event, step_event
from engine.base.files import expanded, write_text_atomic
from engine.base.imgsz import ImageSize, option_text
from engine.base.runtime import prepare
from engine.latency.convolution import convolution_ms
from engine.latency.grid import grid_points
from engine.latency.layers import ConvolutionShape, TimedConvolution

RUNTIME = "onnx"
_PARTS = ("convolutions", "moving", "rest")
"What the time of a whole model is made of."
_VERSION = 1
_SAVE_EVERY = 100
_STATUS_EVERY = 20


class LatencyTable:
    """Milliseconds of convolutions by shape and channels, and of whole models by digest.

    Args:
        path: the file that keeps the table; one that cannot be read counts as empty.
        threads: of the runtime.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads = Path(path), threads
        self._entries: dict[str, Any] = _read(self.path)
        self._unsaved: dict[str, Any] = {}

    @classmethod
    def of_this_machine(cls, threads: int, folder: Path | None = None) -> LatencyTable:
        """Return the table for this machine, this release of the runtime and this number of threads."""
        return cls(table_path(threads, folder), threads)

    def holds(self, layers: Iterable[TimedConvolution]) -> bool:
        """Whether nothing of these convolutions would have to be measured."""
        return not self._missing(layers)

    def prepare(self, layers: Iterable[TimedConvolution], report: Report) -> None:
        """Measure what is missing for these convolutions; what has been measured is kept even if stopped.

        ``report`` receives a ``step`` event for each of them and a ``status`` event now and then.
        """
        missing = self._missing(layers)
        try:
            for number, (key, point) in enumerate(missing.items(), 1):
                self._keep(key, convolution_ms(*point, self.threads))
                report(step_event(number, len(missing)))
                if number % _STATUS_EVERY == 0 or number == len(missing):
                    report(_status(number, len(missing)))
                if number % _SAVE_EVERY == 0:
                    self._save_if_possible()
        finally:
            if missing:
                self._save_if_possible()

    def convolution_ms(self, shape: ConvolutionShape, inputs: int, outputs: int) -> float:
        """Return the milliseconds of one convolution, measured now if it is not in the table."""
        key = self._key(shape, inputs, outputs)
        if key not in self._entries:
            self._keep(key, convolution_ms(shape, inputs, outputs, self.threads))
        return self._entries[key]

    def known_parts(self, digest: str, imgsz: ImageSize) -> dict[str, float] | None:
        """Return the parts of a whole model's time in milliseconds, None where they have not been measured."""
        return self._entries.get(_model_key(digest, imgsz))

    def model_parts(self, digest: str, imgsz: ImageSize, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the parts of a whole model's time, in milliseconds, measured now if they are not in the table."""
        key = _model_key(digest, imgsz)
        if key not in self._entries:
            self._keep(key, measure())
            self._save_if_possible()
        return dict(self._entries[key])

    def forget_parts(self, digest: str, imgsz: ImageSize) -> None:
        """Have the whole model measured anew at the next asking; until then the file keeps what it holds."""
        self._entries.pop(_model_key(digest, imgsz), None)

    def save(self) -> None:
        """Add to the file what was measured here since the last time; the rest of it is left to other processes.

        Raises:
            StorageError: the folder cannot be written.
        """
        write_text_atomic(self.path, json.dumps({**_read(self.path), **self._unsaved}, indent=0))
        self._unsaved.clear()

    def _keep(self, key: str, measured: Any) -> None:
        self._entries[key] = self._unsaved[key] = measured

    def _save_if_possible(self) -> None:
        # What cannot be kept is measured again next time; that is no reason to lose the result.
        with contextlib.suppress(Exception):
            self.save()

    def _missing(self, layers: Iterable[TimedConvolution]) -> dict[str, tuple[ConvolutionShape, int, int]]:
        """Return key -> (shape, input channels, output channels) of what the table lacks."""
        needed = {
            self._key(layer.shape, *point): (layer.shape, *point) for layer in layers for point in grid_points(layer)
        }
        return {key: point for key, point in needed.items() if key not in self._entries}

    @staticmethod
    def _key(shape: ConvolutionShape, inputs: int, outputs: int) -> str:
        return f"{shape.key} {inputs} {outputs}"


def table_path(threads: int, folder: Path | None = None) -> Path:
    """Return the file of the table for this machine, this release of the runtime and this number of threads."""
    return (folder or cache_folder()) / f"{machine_key(threads)}.json"


def _model_key(digest: str, imgsz: ImageSize) -> str:
    return f"model {digest} {option_text(imgsz)}"


@cache
def machine_key(threads: int) -> str:
    """Return a file name for what latencies depend on besides the model: processor, runtime, threads."""
    processor, release = _processor(), _release()
    facts = [_VERSION, platform.machine(), processor, RUNTIME, release, threads]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return f"{RUNTIME}-{release}-{threads}-threads-{digest}"


def _release() -> str:
    """Return the version of ONNX Runtime, without importing it where it says so in its usual package."""
    try:
        return version("onnxruntime")
    except PackageNotFoundError:  # it is there under another name, such as onnxruntime-gpu
        import onnxruntime

        return onnxruntime.__version__


def cache_folder() -> Path:
    """Return where tables are kept: the folder that the workbench keeps for a person, outside any workspace."""
    prepare()
    return expanded(os.environ["YOLO_CONFIG_DIR"]) / "latency"


def _processor() -> str:
    """Return the processor's name and features, as far as the system tells."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        chosen = {line.split(":")[0].strip(): line for line in lines if line.startswith(("model", "flags", "CPU part"))}
        if chosen:
            return " ".join(chosen.values())
    return platform.processor()


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds of milliseconds by convolution and parts by model; anything else counts as missing."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in entries.items() if _is_time(value)} if isinstance(entries, dict) else {}


def _is_time(value: object) -> bool:
    if isinstance(value, dict):
        return value.keys() == set(_PARTS) and all(_is_time(part) or part == 0 for part in value.values())
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0


def _status(number: int, count: int) -> StatusEvent:
    return status_event(f"Measuring the convolutions of this model on this machine, once: {number} of {count}")
