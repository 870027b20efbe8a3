"""Studies: what pruning does to a model's accuracy, point by point, each in one JSON file.

A study is a document, not a second cache beside ``engine.validation.cache``. Plans, recipes and commands cite it by
its path (``prune --sensitivity FILE``), terminals without a workspace write it too, and it is taken along to another
machine. The cache answers what one whole file reached on one split. A measurement that goes on fills in what its study
lacks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.files import write_text_atomic

FOLDER = "measurements"
"Where a workspace keeps studies."
_VERSION = 2

Point = dict[str, Any]
"``metrics`` (short name -> 0 to 1), and what was cut: ``ratio`` and ``ratio_achieved``, or ``block`` and ``share``."


@dataclass(frozen=True)
class Study:
    """What a study depends on, and the points that were measured."""

    kind: str
    "accuracy or sensitivity."
    weights: str
    "SHA-256 of the checkpoint."
    settings: dict[str, Any]
    "Of measuring, solver and importance, as JSON holds them."
    data_digest: str = ""
    "``Subset.digest``."
    device: str = ""
    "``validating_device``; devices round differently."
    data: str = ""
    "Path of the data set's description."
    images: int = 0
    "Validation images."
    name: str = ""
    "File name of the checkpoint."
    blocks: Sequence[dict[str, str]] = ()
    "For a sensitivity: name (``block``) and class (``kind``) of each block, by depth."
    points: dict[str, Point] = field(default_factory=dict)
    "Name -> point; ``dense`` is the checkpoint as it is, ``repaired`` the whole model, recalibrated as cut ones are."

    def path(self, folder: Path) -> Path:
        """Return where the study lies below a folder: its name changes with everything that its points depend on."""
        text = json.dumps([_VERSION, self.data_digest, self.settings, self.device], sort_keys=True)
        return Path(folder) / f"{self.kind}-{self.weights[:16]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def metrics(self, name: str) -> dict[str, float]:
        """Return the metrics of a point, none where it was not measured."""
        return self.points[name]["metrics"] if name in self.points else {}

    def cuts(self) -> list[Point]:
        """Return the points of pruned models, without those of the whole one."""
        return [point for name, point in self.points.items() if name not in ("dense", "repaired")]


class StudyFile:
    """A study that is being measured: read when it begins, written after every new point.

    Several jobs may fill one file: what another wrote since is kept beside what this one adds.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        """Take over the points that the study's file below ``folder`` holds, if any."""
        self.path = study.path(folder)
        self.study = replace(study, points=self._written())

    def put(self, name: str, point: Point) -> None:
        """Keep a point.

        Raises:
            StorageError: The file cannot be written.
        """
        self.study = replace(self.study, points={**self.study.points, **self._written(), name: point})
        write_text_atomic(self.path, json.dumps(asdict(self.study), indent=1))

    def _written(self) -> dict[str, Point]:
        written = read_study(self.path)
        return written.points if written else {}


def settings_of(**parts: Any) -> dict[str, Any]:
    """Return settings by name, each an instance of a data class, as the JSON of a study holds them.

    Empty texts are left out: a study that was measured before a setting existed is one where it says nothing.
    """
    told = {name: {key: value for key, value in asdict(part).items() if value != ""} for name, part in parts.items()}
    return json.loads(json.dumps(told))


def read_study(path: str | Path) -> Study | None:
    """Return the study in a file, None where there is none that can be read."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        named = {name: content[name] for name in Study.__dataclass_fields__ if name in content}
        study = Study(**named)
        whole = isinstance(study.settings, dict) and all("metrics" in point for point in study.points.values())
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return study if whole else None


def find_studies(folder: Path, kind: str, weights: str) -> list[Path]:
    """Return the files of one kind for a checkpoint's digest, the latest first."""
    files = list(Path(folder).glob(f"{kind}-{weights[:16]}-*.json"))
    return sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def interpolated(points: Sequence[tuple[float, float]], ratio: float) -> float | None:
    """Return the value at a ratio between (ratio, value) points, by straight lines; None beyond the last one."""
    if not points or not points[0][0] - 1e-9 <= ratio <= points[-1][0] + 1e-9:
        return None
    ratios, values = zip(*points, strict=True)
    return float(np.interp(ratio, ratios, values))
