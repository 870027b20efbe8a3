"""Measurements on disk: one JSON file for each model, part of a data set, and settings, filled point by point."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.base.files import write_text_atomic

FOLDER = "measurements"
"Where a workspace keeps these files."
_VERSION = 2


@dataclass(frozen=True)
class Key:
    """What a measurement depends on."""

    kind: str
    "accuracy or sensitivity."
    weights: str
    "SHA-256 of the checkpoint."
    data: str
    "``Subset.digest``."
    settings: dict[str, Any]
    "JSON-able."
    device: str
    "Of several GPUs the first, which is the one that validates; devices round differently."

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", self.device.split(",")[0].strip())

    def file(self, folder: Path) -> Path:
        """Return the path of the file below a folder."""
        text = json.dumps([_VERSION, self.data, self.settings, self.device], sort_keys=True, default=list)
        return Path(folder) / f"{self.kind}-{self.weights[:16]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


class Kept:
    """The points of one measurement: read when it begins, written after every new point.

    Several jobs may fill one file: what another wrote since is kept beside what this one adds.
    """

    def __init__(self, folder: Path, key: Key, about: dict[str, Any]) -> None:
        """Open what was measured before; ``about`` is written beside the points, for people and pages."""
        self.path = key.file(folder)
        self._points = _points_in(self.path)
        self._head = {
            "kind": key.kind,
            "weights": key.weights,
            "data_digest": key.data,
            "settings": json.loads(json.dumps(key.settings, default=list)),
            "device": key.device,
            **about,
        }

    def get(self, name: str) -> Any:
        """Return the point of this name, None where it was not measured."""
        return self._points.get(name)

    def put(self, name: str, point: Any) -> None:
        """Keep a point.

        Raises:
            StorageError: The file cannot be written.
        """
        self._points = {**self._points, **_points_in(self.path), name: point}
        write_text_atomic(self.path, json.dumps({**self._head, "points": self._points}, indent=1))


def read_kept(path: Path) -> dict[str, Any] | None:
    """Return the content of a measurement file, None where there is none that can be read."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _points_in(path: Path) -> dict[str, Any]:
    points = (read_kept(path) or {}).get("points")
    return points if isinstance(points, dict) else {}


def find_kept(folder: Path, kind: str, weights: str) -> list[Path]:
    """Return the files of one kind for a checkpoint's digest, the latest first."""
    files = list(Path(folder).glob(f"{kind}-{weights[:16]}-*.json"))
    return sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)
