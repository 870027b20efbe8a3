"""The server shows every page without importing PyTorch, Ultralytics or ONNX: others open files, it holds arrays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("_every_page.py")


@pytest.mark.slow
def test_no_page_imports_pytorch(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "workspace")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["loaded"] == [], told["importers"]
    assert told["models"] >= 3
