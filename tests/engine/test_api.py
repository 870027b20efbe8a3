"""The documented Python API does what its page shows."""

import re
import subprocess
import sys
from pathlib import Path

import engine

ROOT = Path(__file__).resolve().parents[2]


def test_every_name_of_the_api_can_be_had():
    for name in engine.__all__:
        assert getattr(engine, name).__doc__


def test_importing_the_engine_is_light_and_free_of_streamlit():
    script = "import sys, engine; print([m for m in ('torch', 'ultralytics', 'streamlit') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_examples_of_the_page_run_as_they_stand(tiny_checkpoint, tmp_path, monkeypatch):
    tiny_checkpoint("yolov8n").rename(tmp_path / "best.pt")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), flags=re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "pruned.pt").unlink(missing_ok=True)
        exec(example, {})
        assert engine.open_checkpoint("pruned.pt").params < engine.open_checkpoint("best.pt").params
