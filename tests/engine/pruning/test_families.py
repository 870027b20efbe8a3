"""Every model that the installed Ultralytics ships has a file that tests it, and what is pruned is exported."""

import re
from pathlib import Path

import onnx
import pytest

from engine.checkpoints.checkpoint import open_checkpoint, save_checkpoint
from engine.pruning.graph import trace
from engine.pruning.surgery import prune_model
from tests.families import GENERATIONS, plans, ultralytics
from tests.models import build, write_checkpoint

EXPORTED = ["yolov8", "yolo11-seg", "yolov10n", "yolo26", "yolo12-cls"]


def test_every_generation_has_a_file_that_tests_it():
    files = Path(__file__).with_name("families").glob("test_*.py")
    asked = [re.findall(r"families\.fixture\((.*)\)", file.read_text(encoding="utf-8"))[0] for file in files]
    tested = [generation.strip('" ') for each in asked for generation in each.split(",")]
    assert sorted(tested) == sorted([*GENERATIONS, "other"])


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_pruned_models_are_exported_to_onnx(name, tmp_path):
    model = build(name)
    graph = trace(model)
    source = open_checkpoint(write_checkpoint(model, tmp_path / "dense.pt"))
    pruned = prune_model(model, graph, plans(model, graph)[1])
    path = save_checkpoint(pruned, tmp_path / "pruned.pt", source=source, made={})
    exported = ultralytics.YOLO(path).export(format="onnx", imgsz=64, device="cpu", simplify=False)
    onnx.checker.check_model(onnx.load(exported))
