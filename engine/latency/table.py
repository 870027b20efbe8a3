"""The latency table of this machine: measured once, kept in a file, shared by all models and image sizes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path

from engine.files import write_text_atomic
from engine.latency.grid import grid_points
from engine.latency.layers import ConvolutionShape, TimedConvolution
from engine.latency.micro import convolution_ms
from engine.runtime import prepare

Reporter = Callable[[dict], None]
RUNTIME = "onnx"
_VERSION = 1
_SAVE_EVERY = 100


class LatencyTable:
    """Milliseconds of convolutions by shape and channels, and of whole models by digest.

    Args:
        path: the file that keeps the table; one that cannot be read counts as empty.
        threads: of the runtime.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads = Path(path), threads
        self._entries: dict[str, object] = _read(self.path)

    @classmethod
    def of_this_machine(cls, threads: int, folder: Path | None = None) -> LatencyTable:
        """Return the table for this machine, this release of the runtime and this number of threads."""
        return cls((folder or cache_folder()) / f"{machine_key(threads)}.json", threads)

    def prepare(self, layers: Iterable[TimedConvolution], report: Reporter) -> None:
        """Measure what is missing for these convolutions; what has been measured is kept even if stopped."""
        missing = {
            self._key(layer.shape, *point): (layer.shape, *point) for layer in layers for point in grid_points(layer)
        }
        missing = {key: point for key, point in missing.items() if key not in self._entries}
        try:
            for number, (key, point) in enumerate(missing.items(), 1):
                self._entries[key] = convolution_ms(*point, self.threads)
                if number % 20 == 0 or number == len(missing):
                    report(_step(number, len(missing)))
                if number % _SAVE_EVERY == 0:
                    self.save()
        finally:
            if missing:
                self.save()

    def convolution_ms(self, shape: ConvolutionShape, inputs: int, outputs: int) -> float:
        """Return the milliseconds of one convolution, measured now if it is not in the table."""
        key = self._key(shape, inputs, outputs)
        if key not in self._entries:
            self._entries[key] = convolution_ms(shape, inputs, outputs, self.threads)
        return float(self._entries[key])

    def model_parts(self, key: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the parts of a whole model's time, in milliseconds, measured now if they are not in the table."""
        if key not in self._entries:
            self._entries[key] = measure()
            self.save()
        return dict(self._entries[key])

    def save(self) -> None:
        """Write the table; one that cannot be written is measured again next time."""
        with contextlib.suppress(Exception):
            write_text_atomic(self.path, json.dumps({**_read(self.path), **self._entries}, indent=0))

    @staticmethod
    def _key(shape: ConvolutionShape, inputs: int, outputs: int) -> str:
        return f"{shape.key} {inputs} {outputs}"


def machine_key(threads: int) -> str:
    """Return a file name for what latencies depend on besides the model: processor, runtime, threads."""
    import onnxruntime

    processor = _processor()
    facts = [_VERSION, platform.machine(), processor, RUNTIME, onnxruntime.__version__, threads]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return f"{RUNTIME}-{onnxruntime.__version__}-{threads}-threads-{digest}"


def cache_folder() -> Path:
    """Return where tables are kept: the folder that the workbench keeps for a person, outside any workspace."""
    prepare()
    return Path(os.environ["YOLO_CONFIG_DIR"]).expanduser() / "latency"


def _processor() -> str:
    """Return the processor's name and features, as far as the system tells."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        chosen = {line.split(":")[0].strip(): line for line in lines if line.startswith(("model", "flags", "CPU part"))}
        if chosen:
            return " ".join(chosen.values())
    return platform.processor()


def _read(path: Path) -> dict[str, object]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _step(number: int, count: int) -> dict:
    return {
        "kind": "status",
        "text": f"Measuring the convolutions of this model on this machine, once: {number} of {count}",
    }
