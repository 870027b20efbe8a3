"""Formats by name, and which of them can be made here."""

from __future__ import annotations

from importlib import import_module

from engine.base.errors import ExportError
from engine.runtimes.formats._format import Format
from engine.settings.choices import FORMATS


def format_named(name: str) -> Format:
    """Return a format by its name, such as onnx.

    Raises:
        ExportError: there is none of that name.
    """
    if name not in FORMATS:
        raise ExportError(f"There is no export to {name}; choose {', '.join(FORMATS)}.")
    return import_module(f"engine.runtimes.formats.{name.replace('-', '_')}").FORMAT


def unavailable(name: str) -> str:
    """Return why a format cannot be made here in one sentence, empty where it can."""
    try:
        return format_named(name).unavailable()
    except ExportError as error:
        return str(error)


def available_formats() -> list[str]:
    """Return the formats that can be made on this machine."""
    return [name for name in FORMATS if not unavailable(name)]
