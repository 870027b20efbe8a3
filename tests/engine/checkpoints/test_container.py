"""Damaged and crafted containers are refused before anything in them is read."""

import random
import re
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.base.errors import CheckpointError
from engine.checkpoints import container
from engine.checkpoints.checkpoint import open_checkpoint
from engine.checkpoints.container import ContainerError, require_sound


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    from tests.models import build, write_checkpoint

    return write_checkpoint(build("yolov8n"), tmp_path_factory.mktemp("whole") / "yolov8n.pt")


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def places_of_records(path: Path) -> list[tuple[int, int]]:
    """Where the bytes of each record begin and end in the file."""
    found = []
    content = path.read_bytes()
    with zipfile.ZipFile(path) as opened:
        for record in opened.infolist():
            name, extra = struct.unpack_from("<HH", content, record.header_offset + 26)
            start = record.header_offset + 30 + name + extra
            found.append((start, start + record.file_size))
    return found


def test_a_whole_checkpoint_is_sound(whole):
    require_sound(whole)


def test_a_flipped_bit_in_any_record_is_found(whole, tmp_path):
    content, chance = whole.read_bytes(), random.Random(0)
    damaged = tmp_path / "damaged.pt"
    for start, end in chance.sample([place for place in places_of_records(whole) if place[1] > place[0]], 40):
        damaged.write_bytes(flipped(content, chance.randrange(8 * start, 8 * end)))
        with pytest.raises(CheckpointError, match=r"damaged\.pt is damaged or was cut short"):
            open_checkpoint(damaged)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0.001, 0.999))
def test_a_file_cut_short_is_found(whole, tmp_path, cut):
    content = whole.read_bytes()
    (tmp_path / "short.pt").write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(CheckpointError, match=re.escape("short.pt is damaged or was cut short")):
        open_checkpoint(tmp_path / "short.pt")


def packed(path: Path, records: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, content in records.items():
            made.writestr(name, content)
    return path


def test_what_unpacks_to_far_more_than_its_size_is_refused_unread(tmp_path, monkeypatch):
    bomb = packed(tmp_path / "bomb.pt", {"bomb/data.pkl": bytes(80 << 20)}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(container, "_read_through", lambda *_: pytest.fail("it was read"))
    with pytest.raises(CheckpointError, match="unpacks to far more than its size"):
        open_checkpoint(bomb)


def test_a_record_that_holds_more_than_it_says_is_not_read_to_its_end(tmp_path):
    bomb = packed(tmp_path / "bomb.pt", {"bomb/data.pkl": bytes(80 << 20)}, zipfile.ZIP_DEFLATED)
    content = bytearray(bomb.read_bytes())
    # The size before compression stands in the local header and in the directory; both are made to say 100 bytes.
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + offset, 100)
    bomb.write_bytes(content)
    with pytest.raises(ContainerError, match="damaged"):
        require_sound(bomb)


def test_too_many_records_and_one_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "MOST_RECORDS", 3)
    with pytest.raises(CheckpointError, match="4 records"):
        open_checkpoint(packed(tmp_path / "many.pt", {f"a/{n}": b"x" for n in range(4)}))
    with zipfile.ZipFile(tmp_path / "twice.pt", "w") as made, pytest.warns(UserWarning):
        made.writestr("a/data.pkl", b"x")
        made.writestr("a/data.pkl", b"y")
    with pytest.raises(CheckpointError, match="twice"):
        open_checkpoint(tmp_path / "twice.pt")
