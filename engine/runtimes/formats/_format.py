"""What an export format is to the gates of an export and to the benchmarks of latency."""

from __future__ import annotations

import importlib.util
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from engine.base.errors import ExportError
from engine.base.events import Report
from engine.base.files import writing_to
from engine.runtimes.exporter import run_exporter
from engine.settings.choices import FORMATS

Outputs = list[np.ndarray]
Backend = Callable[[np.ndarray], Outputs]
"Takes (N, C, H, W) float32 from 0 to 1 and returns the decoded outputs."

PREFIX = "slimming."
"Of the lineage's keys among a file's metadata."
LINEAGE_FILE = "slimming.json"
"Name of the lineage inside archives and folders."


class ExportChoices(Protocol):
    """What a format may look at of the settings of an export (``engine.export.ExportSettings``)."""

    @property
    def precision(self) -> str: ...
    @property
    def opset(self) -> int | None: ...
    @property
    def simplify(self) -> bool: ...


class Format(ABC):
    """One export format. What is here suits a format that Ultralytics' exporter writes in one go and nobody checks."""

    suffix: str
    "Of the file that is handed out, with its dot; a folder is handed out as .zip."
    precisions: tuple[str, ...] = ("fp32",)
    "That can be made without a GPU."
    converted: tuple[str, ...] = ()
    "Those among them that ``convert`` makes of a fp32 file."
    options: tuple[str, ...] = ()
    "Settings of an export that mean something for this format alone: opset, simplify."
    measured: bool = False
    "Whether Ultralytics' validator can measure the accuracy of a file here."
    package: str = ""
    "Python package without which no file can be made or run."

    @property
    def name(self) -> str:
        """As a person types it, and as Ultralytics' exporter calls the format."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

    @property
    def label(self) -> str:
        """What a person calls it."""
        return FORMATS[self.name].label

    def unavailable(self) -> str:
        """Return why the format cannot be made here in one sentence, empty where it can."""
        if not self.package or importlib.util.find_spec(self.package):
            return ""
        return f"{self.label} is not installed on this machine; pip install {self.package}, or export to ONNX."

    def arguments(self, choices: ExportChoices) -> dict[str, Any]:
        """Return arguments of Ultralytics' exporter, besides image size, dynamic shapes and suppression."""
        return {}

    def export(self, weights: Path, folder: Path, arguments: dict[str, Any]) -> Path:
        """Export a checkpoint into an empty folder and return the file, or folder, that came out.

        Args:
            weights: the checkpoint, which is not touched.
            folder: an empty folder that the caller removes.
            arguments: of Ultralytics' exporter: ``imgsz``, [height, width]; ``dynamic``; ``nms``; and ``arguments``.

        Raises:
            ExportError: it cannot be exported.
            StorageError: the folder has no space left.
        """
        return run_exporter(weights, folder, self.name, **arguments)

    def convert(
        self, source: Path, target: Path, precision: str, images: Iterable[np.ndarray], count: int, report: Report
    ) -> None:
        """Write a file of fewer bits, one of ``converted``.

        Args:
            source: the fp32 file.
            target: where the other one goes.
            precision: fp16 or int8.
            images: (1, C, H, W) arrays of the training split that int8 is calibrated on; none for other precisions.
            count: of them.
            report: receives ``step`` events, and may raise ``StopRequested``.

        Raises:
            ExportError: it cannot be converted.
        """
        raise ExportError(f"{self.label} files are made in {', '.join(self.precisions)} alone, not in {precision}.")

    def sign(self, exported: Path, facts: dict[str, str]) -> None:
        """Write into an exported file where it came from: plain texts by name, beside what Ultralytics wrote."""
        return None  # nothing, where a format has no place for it

    def image_size(self, exported: Path) -> tuple[int, int] | None:
        """Return (height, width) in pixels as the file says it, None where it does not."""
        return None

    def opset(self, exported: Path) -> int | None:
        """Return the operator set of a file, None where there is no such thing."""
        return None

    def complaint(self, exported: Path) -> str | None:
        """Return what a checker of the format says of a file, empty where it is content; None where there is none."""
        return None

    def packed(self, exported: Path) -> Path:
        """Return the one file that is handed out: what was exported, or a zip of that folder beside it."""
        if exported.is_file():
            return exported
        with writing_to(exported.parent):
            return Path(shutil.make_archive(str(exported), "zip", exported.parent, exported.name))

    @abstractmethod
    def open(self, exported: Path, threads: int) -> Backend:
        """Return a function that runs what ``export`` wrote on the CPU, with so many threads."""
