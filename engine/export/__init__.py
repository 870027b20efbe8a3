"""Files for deployment: Ultralytics' own exporter, then the gates that make a file worth handing out."""

from engine.export.gates import Gate
from engine.export.make import export_model
from engine.export.settings import ExportSettings
from engine.runtimes.formats import available_formats, unavailable

__all__ = [
    "ExportSettings",
    "Gate",
    "available_formats",
    "export_model",
    "unavailable",
]
