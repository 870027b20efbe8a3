"""Devices by name: which GPUs one names, and whether this machine has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engine.base.errors import TrainingError


def device_indices(device: str) -> tuple[int, ...]:
    """Return the GPUs that a device such as ``0``, ``cuda:1`` or ``0,1`` names; none for ``cpu`` and ``mps``."""
    names = str(device).lower().replace("cuda:", "").replace("cuda", "0").split(",")
    return tuple(int(name) for name in names if name.strip().isdigit())


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        TrainingError: Names the device.
    """
    import torch

    name = str(device).strip().lower()
    indices, named = device_indices(name), name.count(",") + 1
    gpus = torch.cuda.device_count()
    available = (
        name == "cpu"
        or (name == "mps" and torch.backends.mps.is_available())
        or (len(indices) == named and all(index < gpus for index in indices))
    )
    if not available:
        raise TrainingError(f"Device {device!r} is not available on this machine; use cpu or another one.")
    if len(set(indices)) < len(indices):
        raise TrainingError(f"Device {device!r} names a GPU twice; name each once.")


def default_device() -> str:
    """Return the first CUDA device where there is one, else the CPU."""
    import torch

    return "0" if torch.cuda.is_available() else "cpu"


def gpu_names() -> list[str]:
    """Return what the CUDA devices of this machine are called, by index."""
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def has_apple_gpu() -> bool:
    """Whether PyTorch can compute on an Apple GPU here."""
    import torch

    return torch.backends.mps.is_available()


def told_devices(scratch: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return both, as a child process answers: who asks need not import PyTorch."""
    return {"gpus": gpu_names(), "apple": has_apple_gpu()}, {}
