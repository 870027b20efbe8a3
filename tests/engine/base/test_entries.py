"""Folders of choices: names and words of their files, read without importing them."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.base import entries as module
from engine.base.entries import Entry, entries

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ENGINE", tmp_path)
    entries.cache_clear()
    yield tmp_path
    entries.cache_clear()


def test_a_file_is_told_by_its_first_line_and_never_run(folder):
    (folder / "some_thing.py").write_text(
        '"""Some × thing: what it is: in short.\n\nMore: of it.\n"""\nraise SystemExit\n'
    )
    (folder / "plain.py").write_text('"""Only what it is."""\n')
    (folder / "bare.py").write_text("x = 1\n")
    for none in ("_shared.py", "__init__.py", "notes.txt"):
        (folder / none).write_text('"""No: entry."""\n')
    assert entries(".") == {
        "bare": Entry("bare", "bare", ""),
        "plain": Entry("plain", "plain", "Only what it is"),
        "some-thing": Entry("some-thing", "Some × thing", "what it is: in short", "More: of it."),
    }


def test_the_choices_of_the_terminal_need_no_pytorch():
    script = "import sys, engine.settings.choices as c; assert c.CRITERIA; print({'torch', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
