"""The documented Python API does what its page shows."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from tests.runs import tiny_data, write_dense

ROOT = Path(__file__).resolve().parents[3]


def test_every_name_of_the_api_can_be_had():
    for name in engine.__all__:
        assert getattr(engine, name).__doc__


def test_importing_the_engine_is_light_and_free_of_streamlit():
    script = "import sys, engine; print([m for m in ('torch', 'ultralytics', 'streamlit') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_first_examples_of_the_page_prune_as_they_stand(tiny_checkpoint, tmp_path, monkeypatch):
    tiny_checkpoint("yolov8n").rename(tmp_path / "best.pt")
    monkeypatch.chdir(tmp_path)
    for example in EXAMPLES[:2]:
        (tmp_path / "pruned.pt").unlink(missing_ok=True)
        exec(example, {})
        assert engine.open_checkpoint("pruned.pt").params < engine.open_checkpoint("best.pt").params


def fill_latency_table(weights: Path) -> None:
    """Write times of all convolutions into the table of this machine; measuring them takes a minute."""
    from engine.base.runtime import compute_threads
    from engine.latency import LatencyTable
    from engine.latency.grid import grid_points
    from engine.latency.layers import convolutions

    opened = engine.Slimming.open(weights)
    table = LatencyTable.of_this_machine(compute_threads())
    times = {
        f"{layer.shape.key} {inputs} {outputs}": 1e-6 * inputs * outputs
        for layer in convolutions(opened.graph, opened.convolutions(64))
        for inputs, outputs in grid_points(layer)
    }
    table.path.parent.mkdir(parents=True, exist_ok=True)
    table.path.write_text(json.dumps(times), encoding="utf-8")


@pytest.mark.slow
def test_the_other_examples_run_one_after_another_as_they_stand(tmp_path, monkeypatch, capfd):
    from engine.base.runtime import import_ultralytics

    import_ultralytics()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    weights = write_dense(tmp_path / "best.pt")
    Path(tiny_data(tmp_path)).rename(tmp_path / "set" / "description.yaml")
    description = (tmp_path / "set" / "description.yaml").read_text(encoding="utf-8")
    (tmp_path / "data.yaml").write_text(f"{description}\npath: {tmp_path / 'set'}\n", encoding="utf-8")
    engine.Slimming.open(weights).prune(0.5, "pruned.pt")
    fill_latency_table(weights)
    params = engine.open_checkpoint("best.pt").params
    spaces = [run_example(example) for example in EXAMPLES[2:]]
    training, in_python, comparing, accuracy, latency, exporting, workspace, _ = spaces
    assert training["stopped"]["stopped"] and training["stopped"]["epochs_done"] == 1
    assert training["sparse"]["epochs_done"] == 2
    tuned = engine.open_checkpoint(training["tuned"]["best"])
    assert tuned.params < params and len(tuned.ancestors) == 3
    pruned = engine.open_checkpoint("pruned.pt").params
    assert engine.open_checkpoint(in_python["model"].trainer.best).params == pruned < params
    assert len(comparing["comparison"].models) == 2 and comparing["front"]
    assert len(accuracy["curve"].points) == 2 and len(accuracy["found"].blocks) > 5
    assert latency["dense"].p50_ms > 0 and latency["preview"].params < params
    assert {gate.name for gate in exporting["exported"].gates} >= {"checker", "boxes", "accuracy"}
    assert workspace["status"].finished and len(workspace["done"]["models"]) == 1
    made = [member.verb for member in family_of(workspace)]
    assert made == [None, "prune", "export"]
    assert "python -m engine export" in capfd.readouterr().out
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")


def run_example(example: str) -> dict:
    space: dict = {}
    exec(example, space)
    return space


def family_of(space: dict) -> list:
    return space["family"](space["store"].models(), space["store"].jobs(), {}, space["model"].id)
