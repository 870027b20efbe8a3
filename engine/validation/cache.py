"""Measure a checkpoint on a data set once: what was measured before is looked up by everything it depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.base.errors import StorageError
from engine.base.events import Report, silent, status_event
from engine.base.measurements import MeasurementCache, MeasurementKey
from engine.settings.fields import default_of
from engine.settings.results import Measured, dumped
from engine.settings.where import Batch
from engine.validation.matches import Matches, from_bytes, to_bytes

BATCH: int = default_of(Batch, "batch")
"Images per forward pass unless a person says otherwise, so that what one verb measured another one finds."


def measured_once(
    path: Path,
    data: Path,
    key: MeasurementKey,
    *,
    cache: MeasurementCache | None,
    report: Report = silent,
    validate: Callable[..., Any] | None = None,
) -> Measured:
    """Return the validation of a checkpoint: from the cache where it is there, else measured.

    A cache that cannot be read or written costs time, never a measurement.

    Args:
        path: the checkpoint whose digest ``key`` holds.
        data: the data set's description or folder, whose digest ``key`` holds.
        key: what to measure with; its digests may be empty where there is no cache.
        cache: asked before, and told after, the validation.
        report: receives a ``status`` event, and those of the validation.
        validate: as ``engine.validation.validator.validate``, which it is by default.

    Raises:
        CheckpointError, DatasetError, TrainingError: as ``engine.validation.validator.validate``.
    """
    if cache is not None and (found := known(cache, key)) is not None:
        _say_known(path, report)
        return found
    if validate is None:
        from engine.validation import validator

        validate = validator.validate
    conditions: dict[str, Any] = {"imgsz": key.imgsz, "batch": key.batch, "device": key.device, "split": key.split}
    measured = validate(Path(path), Path(data), **conditions, report=report)
    _keep(cache, key, measured, None, report)
    return measured


def matched_once(
    path: Path, data: Path, key: MeasurementKey, *, cache: MeasurementCache | None, report: Report = silent
) -> tuple[Measured, Matches | None]:
    """Return the validation of a checkpoint and what it found image by image; the rest as ``measured_once``.

    The second is None where the task is not judged image by image. What was kept without it is measured again, unless
    that is so.
    """
    from engine.validation import validator

    found = None if cache is None else known(cache, key)
    if cache is not None and found is not None and (matches := _known_matches(cache, key)) is not None:
        _say_known(path, report)
        return found, matches
    conditions: dict[str, Any] = {"imgsz": key.imgsz, "batch": key.batch, "device": key.device, "split": key.split}
    matched: list[Matches] = []
    measured = validator.validate(Path(path), Path(data), **conditions, report=report, matched=matched.append)
    matches = matched[-1] if matched else None
    _keep(cache, key, measured, matches, report)
    return measured, matches


def _say_known(path: Path, report: Report) -> None:
    report(status_event(f"{Path(path).name} was measured before"))


def _keep(
    cache: MeasurementCache | None, key: MeasurementKey, measured: Measured, matches: Matches | None, report: Report
) -> None:
    if cache is None:
        return
    try:
        cache.put(key, dumped(measured))
        if matches is not None:
            cache.put_matches(key, to_bytes(matches))
    except StorageError as error:
        report(status_event(f"The measurement is not kept for later: {error}"))


def _known_matches(cache: MeasurementCache, key: MeasurementKey) -> Matches | None:
    try:
        content = cache.matches(key)
        return None if content is None else from_bytes(content)
    except StorageError:
        return None


def known(cache: MeasurementCache, key: MeasurementKey) -> Measured | None:
    """Return what was measured under a key, None where nothing was or it cannot be read."""
    try:
        return None if (kept := cache.get(key)) is None else Measured.model_validate(kept)
    except (StorageError, ValidationError):
        return None


def dataset_digest(data: Path, split: str) -> str:
    """Return a SHA-256 that changes with the description, and with the images and labels of a split.

    Files count by name, size and time of change; reading thousands of pictures would take longer than it saves.

    Raises:
        DatasetError: the data set is unusable or has no such split.
    """
    from engine.datasets import check_dataset, image_files, label_files

    info = check_dataset(data)
    images = image_files(info, split)
    # A set for classification has no description; its classes are folders, which the images' paths name.
    digest = hashlib.sha256(info.yaml_path.read_bytes() if info.yaml_path.is_file() else repr(info.names).encode())
    for file in (*images, *label_files(info, images)):
        digest.update(f"{file}\0{_stamp(Path(file))}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _stamp(file: Path) -> str:
    try:
        facts = file.stat()
    except OSError:  # an image without a label file shows background
        return "missing"
    return f"{facts.st_size} {facts.st_mtime_ns}"
