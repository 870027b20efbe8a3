"""Export formats: how each is written, opened and run. One file each; a new file is a format, see docs/extending.md.

The first line of a file says what a page calls the format and who can read it; its ``FORMAT`` does the rest. Nothing
heavy is imported before it is needed, so that pages can ask what a format takes. Files whose names begin with an
underscore are no formats.
"""

from engine.runtimes.formats._format import LINEAGE_FILE, PREFIX, Backend, ExportChoices, Format, Outputs
from engine.runtimes.formats._registry import available_formats, format_named, unavailable

__all__ = [
    "LINEAGE_FILE",
    "PREFIX",
    "Backend",
    "ExportChoices",
    "Format",
    "Outputs",
    "available_formats",
    "format_named",
    "unavailable",
]
