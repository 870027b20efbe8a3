import errno
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import StorageError
from engine.base.files import (
    atomic_path,
    copy_file_atomic,
    file_digest,
    require_free_space,
    safe_name,
    write_text_atomic,
)


def test_file_appears_whole_and_nothing_else_stays(tmp_path):
    target = tmp_path / "new" / "model.pt"
    with atomic_path(target) as aside:
        aside.write_bytes(b"content")
        assert aside.parent == target.parent and aside.suffix == ".pt"
        assert not target.exists()
    assert target.read_bytes() == b"content"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError("defect"), KeyboardInterrupt()])
def test_error_in_the_block_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "model.pt"
    target.write_bytes(b"old")
    with pytest.raises(type(error)), atomic_path(target) as aside:
        aside.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EACCES, "permissions"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "no space left"),
    ],
)
def test_refusal_of_the_system_is_one_sentence_that_names_the_folder(tmp_path, code, words):
    with pytest.raises(StorageError, match=words) as caught, atomic_path(tmp_path / "model.pt") as aside:
        aside.write_bytes(b"half")
        raise OSError(code, os.strerror(code))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_error_about_a_file_elsewhere_is_not_blamed_on_the_folder(tmp_path):
    with pytest.raises(PermissionError), atomic_path(tmp_path / "out" / "model.pt"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "elsewhere" / "source.pt"))


def test_folder_below_a_file_is_explained(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(StorageError, match="not a folder"), atomic_path(folder / "model.pt"):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_real_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "model.txt"
    target.write_text("old")
    program = (
        "import resource, sys\n"
        "from engine.base.errors import StorageError\n"
        "from engine.base.files import write_text_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_text_atomic(sys.argv[1], 'x' * 100_000)\n"
        "except StorageError as error: print(error)\n"
    )
    root = Path(__file__).resolve().parents[3]
    shown = subprocess.run([sys.executable, "-c", program, str(target)], cwd=root, capture_output=True, text=True)
    assert "too large" in shown.stdout and not shown.stderr
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_writer_that_hides_a_full_disk_is_explained(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "model.pt"):
        raise RuntimeError("file write failed")
    monkeypatch.setattr("engine.base.files._free_bytes", lambda folder: 0)
    with pytest.raises(StorageError, match="no space left"), atomic_path(tmp_path / "model.pt"):
        raise RuntimeError("file write failed")


def test_text_is_written_as_it_is(tmp_path):
    path = write_text_atomic(tmp_path / "recipe.yaml", "größe: 1\n")
    assert path.read_bytes() == "größe: 1\n".encode()


def test_copy_has_the_same_content(tmp_path):
    source = tmp_path / "source.pt"
    source.write_bytes(os.urandom(3_000_000))
    copy = copy_file_atomic(source, tmp_path / "models" / "copy.pt")
    assert file_digest(copy) == file_digest(source) == hashlib.sha256(source.read_bytes()).hexdigest()


def test_missing_file_is_explained(tmp_path):
    for read in (file_digest, lambda path: copy_file_atomic(path, tmp_path / "copy.pt")):
        with pytest.raises(StorageError, match=r"no file .*nothing\.pt"):
            read(tmp_path / "nothing.pt")


def test_too_little_space_is_told_before_anything_is_written(tmp_path):
    require_free_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(StorageError, match=r"needed") as caught:
        require_free_space(tmp_path / "not" / "yet", 1 << 62)
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        ("", "unnamed"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\models\\best.pt", "C-models-best-pt"),
        (".hidden", "hidden"),
        ("..", "unnamed"),
        ("Blood cells, 50 %", "Blood-cells-50"),
        ("красные клетки", "красные-клетки"),
        ("con", "con-file"),
        ("LPT1", "LPT1-file"),
        ("a\x00b\n", "a-b"),
    ],
)
def test_safe_name_examples(words, stem):
    assert safe_name(words) == stem


@given(st.text(st.characters()))
def test_safe_name_is_always_a_stem(words):
    stem = safe_name(words)
    assert re.fullmatch(r"[\w-]+", stem)
    assert not stem.startswith(("-", "_"))
    assert len(stem.encode()) <= 80
    assert stem.upper() not in {"CON", "PRN", "AUX", "NUL", "COM1"}
    assert safe_name(stem) == stem
    assert Path(stem).name == stem
