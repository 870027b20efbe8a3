"""The preview is exact: parameters and GFLOPs of any plan are what Ultralytics reports for the model it makes."""

from itertools import pairwise

import numpy as np
import pytest
from ultralytics.utils.torch_utils import get_flops, get_num_params

from engine.base.errors import PlanError
from engine.pruning.cost import CostModel
from engine.pruning.graph import trace
from engine.pruning.solver import rank, solve
from engine.pruning.surgery import prune_model
from tests.models import build, graph_of, random_keep

SIZES = [320, 640, (256, 416)]
RATIOS = [0, 0.25, 0.5, 0.75, 0.9]
NANO = ["yolov8n", "yolo11n"]
SMALL = [pytest.param(name, marks=pytest.mark.slow) for name in ("yolov8s", "yolo11s")]


def reported(model, size) -> tuple[int, float]:
    """Return what Ultralytics itself says about a model."""
    return get_num_params(model), get_flops(model, list(size) if isinstance(size, tuple) else size)


@pytest.mark.parametrize("protect", [False, True], ids=["jointly", "protected"])
@pytest.mark.parametrize("name", [*NANO, *SMALL])
def test_every_plan_costs_what_ultralytics_reports_for_the_pruned_model(name, protect):
    model, graph = build(name), graph_of(name)
    costs = {size: CostModel(graph, model, size) for size in SIZES}
    for seed, ratio in enumerate(RATIOS):
        keep = random_keep(graph, ratio, seed, protect_residual=protect)
        pruned = prune_model(model, graph, keep)
        for size, cost_model in costs.items():
            cost = cost_model.cost(keep)
            assert (cost.params, cost.gflops) == reported(pruned, size), (ratio, size)


@pytest.mark.parametrize("name", NANO)
def test_the_whole_model_costs_what_ultralytics_reports(name):
    model, graph = build(name), graph_of(name)
    for size in SIZES:
        before = CostModel(graph, model, size).before
        assert (before.params, before.gflops) == reported(model, size)


def test_a_pruned_model_that_is_opened_again_costs_what_its_plan_said():
    model, graph = build("yolo11n"), graph_of("yolo11n")
    keep = random_keep(graph, 0.5)
    said = CostModel(graph, model, 320).cost(keep)
    pruned = prune_model(model, graph, keep)
    assert CostModel(trace(pruned), pruned, 320).before == said


def test_removing_more_never_costs_more():
    model, graph = build("yolo11n"), graph_of("yolo11n")
    cost_model = CostModel(graph, model, 320)
    ranking = rank(graph, np.random.default_rng(0).random(graph.group_count))
    costs = [cost_model.cost(solve(ranking, ratio).keep) for ratio in np.linspace(0, 0.95, 40)]
    assert all(a.params >= b.params and a.gflops >= b.gflops for a, b in pairwise(costs))
    assert costs[-1].params < 0.05 * costs[0].params


def test_parameters_do_not_depend_on_the_image_size_and_operations_grow_with_its_area():
    model, graph = build("yolov8n"), graph_of("yolov8n")
    keep = random_keep(graph, 0.4)
    small, large = (CostModel(graph, model, size).cost(keep) for size in (320, 640))
    assert small.params == large.params
    assert large.gflops == pytest.approx(4 * small.gflops, rel=1e-3)


def test_counting_leaves_the_model_as_it_was():
    model = build("yolov8n").train()
    keys = list(model.state_dict())
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    CostModel(trace(model), model, 320)
    assert model.training and list(model.state_dict()) == keys
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("size", [100, (320, 100), 0, -32])
def test_an_image_size_that_the_model_cannot_take_is_refused_in_a_sentence(size):
    model, graph = build("yolov8n"), graph_of("yolov8n")
    with pytest.raises(PlanError) as refusal:
        CostModel(graph, model, size)
    assert "\n" not in str(refusal.value) and "32" in str(refusal.value)
