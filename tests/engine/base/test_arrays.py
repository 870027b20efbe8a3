"""Arrays come back as they were written, and a file made to harm is refused before it takes memory."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from engine.base.arrays import read_arrays, write_arrays
from engine.base.documents import DocumentError


def test_a_document_and_arrays_come_back(tmp_path):
    arrays = {
        "ints": np.arange(7),
        "floats/a": np.array([[0.1, np.nan], [np.inf, -1]]),
        "truth": np.array([True, False]),
        "none": np.zeros((0, 3), dtype=np.float32),
    }
    write_arrays(tmp_path / "a.npz", {"name": "boat ⚓"}, arrays)
    document, read = read_arrays(tmp_path / "a.npz", 1 << 20)
    assert document == {"name": "boat ⚓"}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def _npy(shape: tuple[int, ...], values: bytes, dtype: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue() + values


def _packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _broken_stream() -> bytes:
    """Return an archive whose only record begins with a kind of block that deflate does not know."""
    content = bytearray(_packed({"document.npy": _npy((2,), b"{}", "|u1")}, zipfile.ZIP_DEFLATED))
    content[30 + len("document.npy")] |= 0b110
    return bytes(content)


DOCUMENT = {"document.npy": _npy((2,), b"{}", "|u1")}
HOSTILE = {
    "empty": b"",
    "no archive": b"PK\x03\x04 nothing",
    "no document": _packed({"a.npy": _npy((1,), bytes(8))}),
    "no json": _packed({"document.npy": _npy((1,), b"{", "|u1")}),
    "deep json": _packed({"document.npy": _npy((200_000,), b"[" * 200_000, "|u1")}),
    "larger shape": _packed({**DOCUMENT, "a.npy": _npy((10**12,), bytes(8))}),
    "negative shape": _packed({**DOCUMENT, "a.npy": _npy((-1, -1), bytes(8))}),
    "compressed zeros": _packed({**DOCUMENT, "a.npy": _npy((10**7,), bytes(8 * 10**7))}, zipfile.ZIP_DEFLATED),
    "broken stream": _broken_stream(),
    "objects": _packed({**DOCUMENT, "a.npy": _npy((1,), b"cos\nsystem\n(S'true'\ntR.", "|O")}),
    "text": _packed({**DOCUMENT, "a.npy": _npy((1,), bytes(40), "<U10")}),
    "no array": _packed({**DOCUMENT, "a.npy": b"something else"}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_was_not_written_so_is_refused(kind, tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(DocumentError, match="is damaged"):
        read_arrays(path, 1 << 20)


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"name": "boat"}, {"a": np.arange(3)})
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        try:
            document, read = read_arrays(path, 1 << 20)
        except DocumentError:
            continue
        for name, array in read.items():  # a name, or what archives say twice
            assert array.tolist() == [0, 1, 2], name
        assert document == {"name": "boat"}


def test_a_file_larger_than_allowed_is_refused(tmp_path):
    write_arrays(tmp_path / "a.npz", {}, {"a": np.zeros(1000)})
    with pytest.raises(DocumentError, match="is larger than 4 KB"):
        read_arrays(tmp_path / "a.npz", 4096)
