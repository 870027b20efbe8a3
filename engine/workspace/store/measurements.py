"""What was measured in a workspace, kept by everything it depends on, so that nothing is measured twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

from engine.base.files import atomic_path
from engine.base.measurements import MeasurementKey
from engine.workspace.store.database import Database
from engine.workspace.store.records import to_json

_MATCHES = "matches"
"Folder of the workspace."
_KEY = "digest = ? AND data = ? AND split = ? AND imgsz = ? AND batch = ? AND device = ?"


class MeasurementLog(Database):
    """Keep and find measurements of accuracy. They belong to the content of a file, not to a model or a job."""

    def measurement(self, key: MeasurementKey) -> dict[str, Any] | None:
        """Return what was measured under this key, None where nothing was."""
        with self._reading() as connection:
            row = connection.execute(f"SELECT result FROM measurements WHERE {_KEY}", astuple(key)).fetchone()
        return None if row is None else json.loads(row["result"])

    def keep_measurement(self, key: MeasurementKey, measured: dict[str, Any]) -> None:
        """Keep a measurement, in place of an earlier one under the same key."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO measurements (digest, data, split, imgsz, batch, device, result, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*astuple(key), to_json(measured), self._now()),
            )

    def measured(self, digests: Iterable[str], split: str = "val") -> list[tuple[MeasurementKey, dict[str, Any]]]:
        """Return everything that was measured of some checkpoint files on a split, with its key, the oldest first."""
        wanted = list(digests)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT * FROM measurements WHERE split = ? "
                f"AND digest IN ({', '.join('?' * len(wanted))}) ORDER BY number",
                (split, *wanted),
            ).fetchall()
        names = ("digest", "data", "split", "imgsz", "batch", "device")
        return [(MeasurementKey(*(row[name] for name in names)), json.loads(row["result"])) for row in rows]


class StoredMeasurements:
    """The measurements of a workspace as ``engine.validation.cache`` asks for them.

    What was found image by image lies in files of its own: it is larger than everything else that the database keeps.
    """

    def __init__(self, log: MeasurementLog) -> None:
        """Read and write the measurements of ``log``, such as a ``Store``."""
        self._log = log

    def get(self, key: MeasurementKey) -> dict[str, Any] | None:
        """Return what was put under the key, None where nothing was."""
        return self._log.measurement(key)

    def put(self, key: MeasurementKey, measured: dict[str, Any]) -> None:
        """Keep a measurement."""
        self._log.keep_measurement(key, measured)

    def matches(self, key: MeasurementKey) -> bytes | None:
        """Return what was found image by image, None where it was not kept."""
        try:
            return self._file(key).read_bytes()
        except OSError:
            return None

    def put_matches(self, key: MeasurementKey, matches: bytes) -> None:
        """Keep what was found image by image.

        Raises:
            StorageError: The workspace cannot be written to.
        """
        with atomic_path(self._file(key)) as aside:
            aside.write_bytes(matches)

    def _file(self, key: MeasurementKey) -> Path:
        digest = hashlib.sha256(json.dumps(astuple(key)).encode()).hexdigest()
        return self._log.folder / _MATCHES / f"{digest[:32]}.npz"
