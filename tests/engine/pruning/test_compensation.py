"""Compensation: removed channels that are constant may go without the output noticing.

The stated bound: exact to float32 rounding where no convolution reads zero padding; on whole networks, whose borders
cannot be exact, the raw class scores in the interior of the finest map move at least ten times less than without it.
"""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules.block import SPPF, Attention
from ultralytics.utils.torch_utils import get_flops, get_num_params

from engine.pruning.compensation import CONSTANT_GAMMA, compensate
from engine.pruning.cost import CostModel
from engine.pruning.graph import trace
from engine.pruning.session import Slimming
from engine.pruning.surgery import prune_model
from tests.models import assert_same_outputs, build, graph_of, image, named_tensors, random_keep, run, silence
from tests.nets import block, head, net

EXACT = 2e-5
"Largest difference, relative to the largest value of the output, that counts as float32 rounding."
SIZE = (32, 40)


def bare(channels_in, channels_out, kernel=3, **options):
    """Return a block that reads no padding."""
    return block(channels_in, channels_out, kernel, p=0, **options)


def prepared(model, ratio=0.5, seed=0):
    """Return (graph, keep mask) of a random plan whose removed channels are constant."""
    graph = trace(model)
    keep = random_keep(graph, ratio, seed, floor=1)
    assert not keep.all()
    silence(model, graph, keep)
    return graph, keep


FLOWS = {
    "a convolution": lambda m, y: y,
    "concatenation": lambda m, y: torch.cat([m.b(y), y, m.b(y)], 1),
    "a residual add": lambda m, y: y + m.b(y),
    "two residual adds": lambda m, y: m.c(y + m.b(y)) + y,
    "upsampling": lambda m, y: F.interpolate(y, scale_factor=2.0),
    "bilinear upsampling": lambda m, y: F.interpolate(y, scale_factor=2.0, mode="bilinear"),
    "max pooling": lambda m, y: F.max_pool2d(y, 3, 2, 1),
    "average pooling": lambda m, y: F.avg_pool2d(y, 2),
    "average pooling of everything": lambda m, y: F.adaptive_avg_pool2d(y, 1),
    "a chunk": lambda m, y: torch.cat([m.side(y.chunk(2, 1)[1]), y.chunk(2, 1)[0]], 1),
    "a chunk with a residual add": lambda m, y: torch.cat([y.chunk(2, 1)[1] + m.side(y.chunk(2, 1)[1]), y], 1),
    "a depthwise convolution": lambda m, y: m.depthwise(y),
    "a chain of both": lambda m, y: m.depthwise(m.b(m.depthwise(y) + y)),
    "spatial pyramid pooling": lambda m, y: m.pyramid(y),
    "attention": lambda m, y: m.attention(y),
    "attention with a residual add": lambda m, y: y + m.attention(y),
    "a convolution with a bias": lambda m, y: m.biased(y),
}


def network(name, act=True):
    parts = {
        "a": bare(3, 16, act=act), "b": bare(16, 16, 1, act=act), "c": bare(16, 16, 1, act=act), "side": bare(8, 8, 1),
        "depthwise": bare(16, 16, 1, g=16), "pyramid": SPPF(16, 16), "attention": Attention(16, 2, 1.0),
        "biased": nn.Conv2d(16, 16, 1),
    }  # fmt: skip
    with torch.no_grad():
        channels = FLOWS[name](net(lambda m, x: x, **copy.deepcopy(parts)), torch.rand(1, 16, 8, 8)).shape[1]
    return net(
        lambda m, x: (m.head(m.d(FLOWS[name](m, m.a(x)))), m.other(FLOWS[name](m, m.a(x)))),
        **parts, d=bare(channels, 8, 1), head=head(8), other=head(channels),
    )  # fmt: skip


@pytest.mark.parametrize("act", [True, nn.ReLU(), False], ids=["silu", "relu", "linear"])
@pytest.mark.parametrize("name", FLOWS)
def test_constant_channels_are_removed_exactly_through(name, act):
    model = network(name, act)
    graph, keep = prepared(model)
    inputs = image(model, *SIZE, batch=2)
    before = run(model, inputs)
    assert_same_outputs(run(prune_model(compensate(model, graph, keep), graph, keep), inputs), before, EXACT)
    plain = run(prune_model(model, graph, keep), inputs)
    assert max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(plain, before, strict=True)) > 100 * EXACT


@pytest.mark.parametrize("seed", range(4))
def test_constant_channels_are_removed_exactly_before_a_linear_layer(seed):
    model = net(
        lambda m, x: m.fc(F.adaptive_avg_pool2d(m.b(m.a(x)), 2).flatten(1)), a=bare(3, 8), b=bare(8, 8),
        fc=nn.Linear(32, 5),
    )  # fmt: skip
    graph, keep = prepared(model, seed=seed)
    inputs = image(model, *SIZE)
    assert_same_outputs(
        run(prune_model(compensate(model, graph, keep), graph, keep), inputs), run(model, inputs), EXACT
    )


def test_zero_padding_alone_makes_a_difference_and_only_at_the_border():
    model = net(lambda m, x: m.head(m.b(m.a(x))), a=block(3, 16), b=block(16, 8, act=False), head=head(8))
    graph, keep = prepared(model)
    keep[graph.layers[1].groups] = True  # so that what reads constants and padding is only one layer
    inputs = image(model, *SIZE)
    difference = run(prune_model(compensate(model, graph, keep), graph, keep), inputs) - run(model, inputs)
    assert float(difference[..., 1:-1, 1:-1].abs().max()) < EXACT
    assert float(difference.abs().max()) > 100 * EXACT


# --- real architectures --------------------------------------------------------------------------------------------


def lively(model, graph, keep):
    """Let the signal through: gammas near 1 and statistics of real activations; removed channels are constant."""
    generator = torch.Generator().manual_seed(2)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data.uniform_(0.5, 1.5, generator=generator)
    silence(model, graph, keep)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    run(model, image(model, 320, batch=2))
    return model.eval()


def interior_scores(model, size=640):
    """Return the raw class scores of the inner half of the finest map, (1, classes, n, n)."""
    cells = size // 8
    scores = run(model, image(model, size))[1]["scores"][..., : cells**2].unflatten(2, (cells, cells))
    return scores[..., cells // 4 : -cells // 4, cells // 4 : -cells // 4]


@pytest.mark.parametrize("ratio", [0.3, 0.6])
@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_away_from_borders_class_scores_move_at_least_ten_times_less(name, ratio):
    graph = graph_of(name)
    keep = random_keep(graph, ratio)
    model = lively(build(name), graph, keep)
    before = interior_scores(model)
    plain, compensated = (
        float((interior_scores(prune_model(source, graph, keep)) - before).abs().mean())
        for source in (model, compensate(model, graph, keep))
    )
    spread = float(before.std(dim=(2, 3)).mean())
    assert spread > 0.1, "the image must matter, or any constant would do"
    assert plain > spread and compensated < plain / 10


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_compensation_leaves_the_model_and_the_cost_as_they_were(name):
    graph, model = graph_of(name), build(name)
    keep = random_keep(graph, 0.5)
    silence(model, graph, keep)
    before = copy.deepcopy(model)
    made = compensate(model, graph, keep)
    for (key, first), second in zip(model.state_dict().items(), before.state_dict().values(), strict=True):
        assert torch.equal(first, second), key
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in [*model.modules(), *made.modules()])
    assert [repr(module) for module in made.modules()] == [repr(module) for module in before.modules()]
    pruned, cost = prune_model(made, graph, keep), CostModel(graph, model, 320).cost(keep)
    assert (cost.params, cost.gflops) == (get_num_params(pruned), get_flops(pruned, 320))


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_nothing_is_folded_for_channels_that_vary(name):
    graph, model = graph_of(name), build(name)
    keep = random_keep(graph, 0.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(1.1 * CONSTANT_GAMMA, 1)
    made = compensate(model, graph, keep)
    for (key, first), second in zip(model.state_dict().items(), made.state_dict().values(), strict=True):
        assert torch.equal(first, second), key


def test_nothing_changes_where_nothing_is_removed():
    graph, model = graph_of("yolov8n"), build("yolov8n")
    made = compensate(model, graph, np.ones(graph.group_count, dtype=bool))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), made.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["yolo26-sem", "yolo26-pose", pytest.param("yolo26-seg", marks=pytest.mark.slow)])
def test_branches_that_only_training_runs_do_not_stand_in_the_way(name):
    model = build(name)
    graph = trace(model)
    keep = random_keep(graph, 0.4)
    pruned = prune_model(compensate(model, graph, keep), graph, keep)
    for tensor in dict(named_tensors(run(pruned, image(pruned, 128)))).values():
        assert torch.isfinite(tensor).all()
    run(pruned.train(), image(pruned, 128, batch=2))


def test_a_compensated_checkpoint_is_an_ordinary_one_and_the_preview_is_exact(tiny_checkpoint, tmp_path):
    slimming = Slimming.open(tiny_checkpoint("yolo11n"))
    silence(slimming.checkpoint.model, slimming.graph, slimming.plan(0.4).keep)
    preview = slimming.preview(0.4, imgsz=320)
    outputs = {}
    for compensated in (True, False):
        path = slimming.prune(0.4, tmp_path / f"{compensated}.pt", compensated=compensated)
        loaded = YOLO(path).model.float().eval()
        assert (get_num_params(loaded), get_flops(loaded, 320)) == (preview.params, preview.gflops)
        outputs[compensated] = run(loaded, image(loaded, 64))[0]
    assert not torch.equal(outputs[True], outputs[False])
