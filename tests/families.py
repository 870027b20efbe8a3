"""Every model that the installed Ultralytics ships, by generation, and what each of them is held to."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from ultralytics.utils.torch_utils import get_flops, get_num_params

from engine.base.runtime import import_ultralytics
from engine.checkpoints.checkpoint import open_checkpoint, save_checkpoint
from engine.profile.cost import Cost
from engine.pruning.compensation import compensate
from engine.pruning.cost import CostModel
from engine.pruning.criteria import group_scores
from engine.pruning.graph import ChannelGraph, trace
from engine.pruning.solver import rank, solve
from engine.pruning.surgery import prune_model
from tests.models import (
    assert_pruned_equals_masked,
    assert_same_outputs,
    image,
    make,
    named_tensors,
    random_keep,
    run,
    silence,
    write_checkpoint,
)

ultralytics = import_ultralytics()
FOLDER = Path(ultralytics.__file__).parent / "cfg" / "models"
NEEDS_NETWORK = {"yolo11-cls-resnet18": "its backbone is downloaded from PyTorch Hub"}
FAST = {
    "yolov3-tiny", "yolov5", "yolov6", "yolov8", "yolov8-seg", "yolov8-cls", "yolo26-sem", "yolov10n", "yolo11-pose",
    "yolo11-obb", "yolo12", "yolo26",
}  # fmt: skip
DOUBLE = ("rtdetr", "yolov10", "yolo26", "yoloe-26")
"Families that pick the best of many candidates: in float32, two that are equal but for rounding may change places."
RATIOS = (0.3, 0.6)
GENERATIONS = ("rtdetr", "yoloe", "yolo26", "yolo12", "yolo11", "yolov10", "yolov9", "yolov8")
"What the names of a generation hold; a name is of the first that fits. The rest are others."


@dataclass(frozen=True)
class Family:
    """A model as its YAML describes it, and its channel graph; tests leave both as they are."""

    name: str
    model: nn.Module
    graph: ChannelGraph


def families(*generations: str) -> list:
    """Return every model YAML of some generations ("other": of none) as a test parameter."""
    parameters = []
    for name in sorted(path.stem for path in FOLDER.rglob("*.yaml")):
        if next((generation for generation in GENERATIONS if generation in name), "other") in generations:
            marks = [] if name in FAST else [pytest.mark.slow]
            if name in NEEDS_NETWORK:
                marks.append(pytest.mark.skip(reason=NEEDS_NETWORK[name]))
            parameters.append(pytest.param(name, marks=marks))
    return parameters


def fixture(*generations: str) -> Any:
    """Return a fixture that is each family of some generations in turn, built and traced once for all tests."""

    def family(request: pytest.FixtureRequest) -> Family:
        model = make(request.param)
        return Family(request.param, model, trace(model))

    return pytest.fixture(scope="module", params=families(*generations))(family)


def is_pruned_exactly(family: Family, tmp_path: Path) -> None:
    """Pruned is masked, the preview is what Ultralytics counts, and the file holds the same model."""
    model, graph = copy.deepcopy(family.model), family.graph
    assert graph.prunable_channels > 0.5 * graph.total_channels
    assert all(layer.reason for layer in graph.layers if layer.prunable_channels < layer.channels)
    size = input_size(model)
    costs = CostModel(graph, model, size)
    assert (costs.before.params, costs.before.gflops) == (get_num_params(model), get_flops(model, size))
    double = any(name in family.name for name in DOUBLE)
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


def can_be_compensated(family: Family) -> None:
    """What removed channels emitted is folded into any family, which then still gives numbers."""
    model, graph = copy.deepcopy(family.model), family.graph
    keep = random_keep(graph, 0.4)
    silence(model, graph, keep)
    pruned = prune_model(compensate(model, graph, keep), graph, keep)
    for tensor in dict(named_tensors(run(pruned, image(pruned, input_size(pruned))))).values():
        assert torch.isfinite(tensor).all()


def input_size(model: nn.Module) -> int:
    """Return a small image size that the model takes: decoders that select 300 queries need as many positions."""
    selecting = any(hasattr(module, "num_queries") for module in model.modules())
    return 128 if selecting else max(64, int(model.stride.max()))


def plans(model: nn.Module, graph: ChannelGraph) -> list[np.ndarray]:
    """Return the keep mask of each ratio, by gamma, as the product chooses it."""
    ranking = rank(graph, group_scores(graph, model))
    return [solve(ranking, ratio).keep for ratio in RATIOS]


def _assert_survives_a_file(model: nn.Module, pruned: nn.Module, cost: Cost, size: int, folder: Path) -> None:
    source = open_checkpoint(write_checkpoint(model, folder / "dense.pt"))
    path = save_checkpoint(pruned, folder / "pruned.pt", source=source, made={"verb": "prune"})
    loaded = ultralytics.YOLO(path).model.float().eval()
    assert (get_num_params(loaded), get_flops(loaded, size)) == (cost.params, cost.gflops)
    halved = pruned.half().float().eval()
    inputs = image(loaded, size)
    assert_same_outputs(run(loaded, inputs), run(halved, inputs), tolerance=1e-6)
