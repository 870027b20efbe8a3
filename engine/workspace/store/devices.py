"""Which devices a job needs for itself alone, from the words of its specification."""

from __future__ import annotations

import re
from typing import Any

CPU = "cpu"


def devices_of(spec: dict[str, Any]) -> tuple[str, ...]:
    """Return the devices that ``spec["device"]`` names, each in one spelling; the CPU when it names none.

    ``0``, ``"0"``, ``"cuda"`` and ``"cuda:0"`` are the same device; ``"0,1"``, ``"cuda:0,1"`` and ``[0, 1]`` are two.
    """
    # As Ultralytics reads it: brackets, quotes and spaces mean nothing.
    words = re.sub(r"[()\[\]'\"\s]", "", str(spec.get("device")).lower()).split(",")
    return tuple(dict.fromkeys(_spelled(word) for word in words if word not in ("", "none"))) or (CPU,)


def _spelled(word: str) -> str:
    kind, _, number = word.rpartition(":")
    if number.isdecimal() and kind in ("", "cuda"):
        return f"cuda:{int(number)}"
    return {"cuda": "cuda:0", "cpu:0": CPU, "mps:0": "mps"}.get(word, word)
