"""What a measured accuracy is kept under, and who keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


def validating_device(device: str) -> str:
    """Return the one of several GPUs (``1,0``) that validates: the first; of a single device its name."""
    return device.split(",")[0].strip()


@dataclass(frozen=True)
class MeasurementKey:
    """What a measured accuracy depends on.

    Batch and device belong to it: images of one batch share their padding, and devices round differently.
    """

    weights: str
    "SHA-256 of the checkpoint file."
    data: str
    "``engine.validation.cache.dataset_digest`` of the split."
    split: str
    imgsz: int
    batch: int
    device: str
    "Told as ``validating_device`` does."

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", validating_device(self.device))


class MeasurementCache(Protocol):
    """Keeps what was measured; the values are JSON-able."""

    def get(self, key: MeasurementKey) -> dict[str, Any] | None:
        """Return what was put under the key, None where nothing was."""

    def put(self, key: MeasurementKey, measured: dict[str, Any]) -> None:
        """Keep a measurement."""

    def matches(self, key: MeasurementKey) -> bytes | None:
        """Return what was found image by image (``engine.validation.matches``), None where it was not kept."""

    def put_matches(self, key: MeasurementKey, matches: bytes) -> None:
        """Keep what was found image by image."""
