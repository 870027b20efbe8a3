"""Every model that the installed Ultralytics ships: traced, previewed, pruned, run, saved, opened again, exported."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from ultralytics.utils.torch_utils import get_flops, get_num_params

from engine.base.runtime import import_ultralytics
from engine.checkpoints.checkpoint import open_checkpoint, save_checkpoint
from engine.pruning.cost import CostModel
from engine.pruning.criteria import group_scores
from engine.pruning.graph import trace
from engine.pruning.solver import rank, solve
from engine.pruning.surgery import prune_model
from tests.models import assert_pruned_equals_masked, assert_same_outputs, build, image, run, write_checkpoint

ultralytics = import_ultralytics()
FOLDER = Path(ultralytics.__file__).parent / "cfg" / "models"
NEEDS_NETWORK = {"yolo11-cls-resnet18": "its backbone is downloaded from PyTorch Hub"}
FAST = {
    "yolov3-tiny", "yolov5", "yolov6", "yolov8", "yolov8-seg", "yolov8-cls", "yolo26-sem", "yolov10n", "yolo11-pose",
    "yolo11-obb", "yolo12", "yolo26",
}  # fmt: skip
EXPORTED = ["yolov8", "yolo11-seg", "yolov10n", "yolo26", "yolo12-cls"]
DOUBLE = ("rtdetr", "yolov10", "yolo26", "yoloe-26")
"Families that pick the best of many candidates: in float32, two that are equal but for rounding may change places."
RATIOS = (0.3, 0.6)


def families() -> list:
    """Return every model YAML as a test parameter."""
    parameters = []
    for name in sorted(path.stem for path in FOLDER.rglob("*.yaml")):
        marks = [] if name in FAST else [pytest.mark.slow]
        if name in NEEDS_NETWORK:
            marks.append(pytest.mark.skip(reason=NEEDS_NETWORK[name]))
        parameters.append(pytest.param(name, marks=marks))
    return parameters


def input_size(model) -> int:
    """Return a small image size that the model takes: decoders that select 300 queries need as many positions."""
    selecting = any(hasattr(module, "num_queries") for module in model.modules())
    return 192 if selecting else max(64, int(model.stride.max()))


def plans(model, graph) -> list[np.ndarray]:
    """Return the keep mask of each ratio, by gamma, as the product chooses it."""
    ranking = rank(graph, group_scores(graph, model))
    return [solve(ranking, ratio).keep for ratio in RATIOS]


@pytest.mark.parametrize("name", families())
def test_every_shipped_model_is_pruned_exactly(name, tmp_path):
    model = build(name)
    graph = trace(model)
    assert graph.prunable_channels > 0.5 * graph.total_channels
    assert all(layer.reason for layer in graph.layers if layer.prunable_channels < layer.channels)
    size = input_size(model)
    costs = CostModel(graph, model, size)
    assert (costs.before.params, costs.before.gflops) == (get_num_params(model), get_flops(model, size))
    double = any(family in name for family in DOUBLE)
    for keep in plans(model, graph):
        cost = costs.cost(keep)
        inputs = image(model, size)
        if double:
            pruned = assert_pruned_equals_masked(model.double(), graph, keep, inputs.double())
        else:
            pruned = assert_pruned_equals_masked(model, graph, keep, inputs)
        model.float()
        pruned.float()
        assert (cost.params, cost.gflops) == (get_num_params(pruned), get_flops(pruned, size))
        assert cost.params < costs.before.params and cost.gflops < costs.before.gflops
    _assert_survives_a_file(model, pruned, cost, size, tmp_path)


def _assert_survives_a_file(model, pruned, cost, size, folder):
    source = open_checkpoint(write_checkpoint(model, folder / "dense.pt"))
    path = save_checkpoint(pruned, folder / "pruned.pt", source=source, made={"verb": "prune"})
    loaded = ultralytics.YOLO(path).model.float().eval()
    assert (get_num_params(loaded), get_flops(loaded, size)) == (cost.params, cost.gflops)
    halved = pruned.half().float().eval()
    inputs = image(loaded, size)
    assert_same_outputs(run(loaded, inputs), run(halved, inputs), tolerance=1e-6)


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
