"""Files for deployment: Ultralytics' own exporter, then the gates that make a file worth handing out."""

from typing import TYPE_CHECKING

from engine.base.lazy import lazily
from engine.runtimes.formats import available_formats, unavailable

if TYPE_CHECKING:
    from engine.export.gates import Gate
    from engine.export.make import export_model
    from engine.export.settings import ExportSettings

_HOMES = {"ExportSettings": "settings", "Gate": "gates", "export_model": "make"}

__all__ = [
    "ExportSettings",
    "Gate",
    "available_formats",
    "export_model",
    "unavailable",
]

__getattr__ = lazily(__name__, _HOMES)
