"""Which devices a job needs for itself alone, from the words of its specification."""

from __future__ import annotations

from typing import Any

CPU = "cpu"


def devices_of(spec: dict[str, Any]) -> tuple[str, ...]:
    """Return the devices that ``spec["device"]`` names, each in one spelling; the CPU when it names none.

    ``0``, ``"0"``, ``"cuda"`` and ``"cuda:0"`` are the same device; ``"0,1"`` and ``[0, 1]`` are two.
    """
    device = spec.get("device")
    words = (
        device if isinstance(device, (list, tuple)) else str("" if device is None else device).strip("()[]").split(",")
    )
    return tuple(dict.fromkeys(_spelled(str(word)) for word in words if str(word).strip())) or (CPU,)


def _spelled(word: str) -> str:
    word = word.strip().lower()
    if word == "cuda":
        return "cuda:0"
    return f"cuda:{word}" if word.isdigit() else word
