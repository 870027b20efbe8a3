"""The container of a checkpoint, looked at before anything in it is read: whole, undamaged, and as large as it looks.

PyTorch stores its records uncompressed in a ZIP file, each with a checksum, which its own reader does not look at.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from engine.base.arrays import DAMAGE

ZIP_MAGIC = b"PK\x03\x04"
"What PyTorch tells its file format by; files of PyTorch before 1.6 are bare pickles."
MOST_RECORDS = 50_000
"A record each tensor; the largest models that Ultralytics ships have some 2,000."
MOST_EXPANSION = 2
"What all records say they hold, by the size of the file; other tools compress a little when they pack one again."
_ALLOWANCE = 64 << 20
_CHUNK_BYTES = 1 << 20


class ContainerError(Exception):
    """What is wrong with the container, as a clause: 'is damaged: ...'."""


def is_container(path: Path) -> bool:
    """Whether a file is a ZIP file, as PyTorch tells it."""
    with path.open("rb") as file:
        return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC


def require_sound(path: Path) -> None:
    """Refuse a container that holds more than it could, or not what was written.

    Every byte is read once, in pieces, whatever the records say of their sizes.

    Raises:
        ContainerError: as a clause.
    """
    try:
        with zipfile.ZipFile(path) as container:
            records = container.infolist()
            _require_sizes(records, path.stat().st_size)
            for record in records:
                _read_through(container, record)
    except DAMAGE as error:
        raise ContainerError("is damaged or was cut short; copy or download it again") from error


def _require_sizes(records: list[zipfile.ZipInfo], file_bytes: int) -> None:
    if len(records) > MOST_RECORDS:
        raise ContainerError(f"holds {len(records):,} records, more than any model has; get it from whoever trained it")
    if sum(record.file_size for record in records) > MOST_EXPANSION * file_bytes + _ALLOWANCE:
        raise ContainerError("unpacks to far more than its size, as no checkpoint does; get it from whoever trained it")
    names = [record.filename for record in records]
    if len(set(names)) < len(names):
        raise ContainerError("holds a record twice, as no checkpoint does; get it from whoever trained it")


def _read_through(container: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    """Read a record, which compares its checksum, and stop at the size that it says."""
    left = record.file_size
    with container.open(record) as stream:
        while piece := stream.read(_CHUNK_BYTES):
            left -= len(piece)
            if left < 0:
                raise zipfile.BadZipFile("a record holds more than it says")
    if left:
        raise zipfile.BadZipFile("a record holds less than it says")
