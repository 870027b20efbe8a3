"""A JSON document and arrays in one file that is safe to read, whoever wrote it.

The file is a plain ``.npz``: an uncompressed ZIP file of arrays, of which one holds the document as UTF-8. It is read
without numpy's pickles, and no header is believed: an array has the bytes that its shape says, or the file is refused,
so that reading takes no more memory than the file is long.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.documents import DocumentError, read_bytes

DAMAGE = (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError, OSError, zlib.error)
"What zipfile raises at broken headers, unknown methods, encryption and records that end early."
_DOCUMENT = "document"
_KINDS = "biuf"
"Of dtypes: truth values and numbers."
_MOST_ARRAYS = 10_000


def write_arrays(path: Path, document: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a document and arrays of numbers.

    Args:
        path: Where to write; ends in ``.npz``.
        document: JSON-able values.
        arrays: By name, none of which is 'document'.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    members: dict[str, Any] = {_DOCUMENT: np.frombuffer(text, dtype=np.uint8), **arrays}
    np.savez(path, allow_pickle=False, **members)


def read_arrays(path: Path, most_bytes: int) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the document and the arrays of a file; the arrays cannot be written to.

    Raises:
        DocumentError: It is larger than ``most_bytes``, damaged, or not what ``write_arrays`` writes.
        OSError: As ``open``.
    """
    content = read_bytes(path, most_bytes)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > _MOST_ARRAYS:
                raise ValueError("too many arrays")
            if sum(member.file_size for member in members) > len(content):
                raise ValueError("compressed, or a record twice")
            arrays = {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
        document = json.loads(arrays.pop(_DOCUMENT).tobytes())
    except (*DAMAGE, KeyError, RecursionError) as error:  # numpy and json add theirs
        raise DocumentError("is damaged") from error
    return document, arrays


def _array(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(stream)
    values = content[stream.tell() :]
    if dtype.kind not in _KINDS or fortran_order or prod(shape) * dtype.itemsize != len(values):
        raise ValueError("no array of numbers of this shape")
    return np.frombuffer(values, dtype=dtype).reshape(shape)
