"""The trace on small networks: what is tied, what is cut, what stays. ``traced`` holds pruned against masked."""

import ast
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from engine.base.errors import PlanError
from engine.pruning.graph import trace
from engine.pruning.surgery import prune_model
from tests.models import ROOT, build, graph_of, image, random_keep, run
from tests.nets import block, head, net, prunable, reason, traced


def test_every_channel_of_a_plain_chain_is_prunable():
    model = net(lambda m, x: m.head(m.b(m.a(x))), a=block(3, 8), b=block(8, 12, s=2), head=head(12))
    graph = traced(model)
    assert prunable(graph) == {"a": 8, "b": 12}
    assert [layer.reason for layer in graph.layers] == ["", ""]
    assert not graph.residual.any() and not graph.equal_counts


def test_tracing_leaves_the_model_as_it_was():
    model = net(lambda m, x: m.head(m.a(x)), a=block(3, 8), head=head(8)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trace(model)
    assert model.training and not model._forward_hooks and not model.a._forward_pre_hooks
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_residual_add_ties_both_sides_channel_by_channel():
    def flow(m, x):
        x = m.a(x)
        return m.head(x + m.c(m.b(x)))

    graph = traced(net(flow, a=block(3, 8), b=block(8, 6), c=block(6, 8), head=head(8)))
    groups = {layer.name: layer.groups.tolist() for layer in graph.layers}
    assert groups["a.bn"] == groups["c.bn"]
    assert set(groups["b.bn"]).isdisjoint(groups["a.bn"])
    assert graph.residual[groups["a.bn"]].all() and not graph.residual[groups["b.bn"]].any()


def test_an_add_in_place_ties_like_any_other():
    def flow(m, x):
        y = m.a(x)
        y += m.b(x)
        return m.head(y)

    graph = traced(net(flow, a=block(3, 8), b=block(3, 8), head=head(8)))
    assert graph.layers[0].groups.tolist() == graph.layers[1].groups.tolist()


def test_concatenation_keeps_channels_apart_and_in_order():
    def flow(m, x):
        y = m.a(x)
        return m.head(m.c(torch.cat([y, x, m.b(y), y], 1)))

    graph = traced(net(flow, a=block(3, 8), b=block(8, 4), c=block(23, 8), head=head(8)))
    assert prunable(graph) == {"a": 8, "b": 4, "c": 8}


def test_halves_of_a_chunk_keep_equally_many():
    def flow(m, x):
        first, second = m.a(x).chunk(2, 1)
        return m.head(torch.cat([first, second, m.b(second)], 1))

    graph = traced(net(flow, a=block(3, 12), b=block(6, 8), head=head(20)))
    (constraint,) = graph.equal_counts
    assert [len(piece) for piece in constraint.pieces] == [6, 6] and constraint.multiplicities == (1, 1)
    kept = graph.layers[0].groups[random_keep(graph, 0.5)[graph.layers[0].groups]]
    assert len(set(kept) & set(constraint.pieces[0].tolist())) == len(set(kept) & set(constraint.pieces[1].tolist()))


def test_halves_that_are_added_afterwards_become_one_piece():
    def flow(m, x):
        first, second = m.a(x).chunk(2, 1)
        return m.head(first + second)

    graph = traced(net(flow, a=block(3, 12), head=head(6)))
    groups = graph.layers[0].groups.tolist()
    assert groups[:6] == groups[6:]


def test_a_chunk_of_several_layers_is_cut_where_the_code_cuts():
    def flow(m, x):
        first, second = torch.cat([m.a(x), m.b(x)], 1).chunk(2, 1)
        return m.head(torch.cat([m.c(first), m.d(second)], 1))

    model = net(flow, a=block(3, 4), b=block(3, 8), c=block(6, 6), d=block(6, 6), head=head(12))
    assert prunable(traced(model)) == {"a": 4, "b": 8, "c": 6, "d": 6}


def test_an_uneven_chunk_is_frozen_with_a_reason():
    def flow(m, x):
        return m.head(torch.cat(m.a(x).chunk(2, 1), 1))

    graph = traced(net(lambda m, x: flow(m, m.stem(x)), stem=block(3, 8), a=block(8, 7), head=head(7)))
    assert prunable(graph) == {"stem": 8, "a": 0}
    assert "cut unevenly" in reason(graph, "a")


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_a_depthwise_convolution_passes_its_channels_on(multiplier, bias):
    depthwise = nn.Conv2d(8, 8 * multiplier, 3, padding=1, groups=8, bias=bias)
    norm = nn.BatchNorm2d(8 * multiplier)
    model = net(
        lambda m, x: m.head(m.bn(m.dw(m.a(x)))), a=block(3, 8), dw=depthwise, bn=norm, head=head(8 * multiplier)
    )
    graph = traced(model)
    assert prunable(graph) == {"a": 8, "bn": 8 * multiplier}
    assert set(graph.layers[1].groups.tolist()) == set(graph.layers[0].groups.tolist())


def test_a_depthwise_bias_without_a_norm_behind_it_is_an_offset_that_keeps_its_channel():
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=True)
    model = net(lambda m, x: m.head(m.dw(m.a(m.stem(x)))), stem=block(3, 8), a=block(8, 8), dw=depthwise, head=head(8))
    graph = traced(model)
    assert prunable(graph) == {"stem": 8, "a": 0}
    assert "without a BatchNorm" in reason(graph, "a")


def test_a_grouped_convolution_is_frozen_and_the_rest_is_not():
    grouped = block(8, 12, g=4)
    graph = traced(net(lambda m, x: m.head(m.b(m.g(m.a(x)))), a=block(3, 8), g=grouped, b=block(12, 8), head=head(8)))
    assert prunable(graph) == {"a": 0, "g": 0, "b": 8}
    assert "grouped" in reason(graph, "a") and "grouped" in reason(graph, "g")


def test_a_squeeze_and_excitation_gate_is_tied_to_what_it_scales():
    def flow(m, x):
        x = m.a(x)
        gate = torch.sigmoid(m.expand(F.relu(m.reduce(x.mean((2, 3), keepdim=True)))))
        return m.head(x * gate)

    model = net(flow, a=block(3, 8), reduce=block(8, 4, 1), expand=nn.Conv2d(4, 8, 1), head=head(8))
    graph = traced(model)
    assert prunable(graph) == {"a": 8, "reduce": 4}
    assert len(graph.axes[graph.tensor_axes["expand.weight"][0]]) == 8


def test_a_sigmoid_that_is_read_keeps_its_channels():
    model = net(lambda m, x: m.head(torch.sigmoid(m.a(m.stem(x)))), stem=block(3, 8), a=block(8, 8), head=head(8))
    assert prunable(traced(model)) == {"stem": 8, "a": 0}


def test_a_channel_that_is_read_before_its_norm_is_kept():
    def flow(m, x):
        raw = m.conv(m.stem(x))
        return m.head(torch.cat([m.b(raw), F.silu(m.bn(raw))], 1))

    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    graph = traced(net(flow, stem=block(3, 8), conv=conv, bn=nn.BatchNorm2d(8), b=block(8, 6), head=head(14)))
    assert prunable(graph) == {"stem": 8, "b": 6, "bn": 0}
    assert "without a BatchNorm" in reason(graph, "bn")


def test_one_convolution_behind_two_norms_is_cut_for_both():
    def flow(m, x):
        raw = m.conv(m.stem(x))
        return m.head(torch.cat([m.first(raw), F.silu(m.second(raw))], 1))

    norms = {"first": nn.BatchNorm2d(8), "second": nn.BatchNorm2d(8)}
    model = net(flow, stem=block(3, 8), conv=nn.Conv2d(8, 8, 3, padding=1), **norms, head=head(16))
    graph = traced(model)
    assert prunable(graph) == {"stem": 8, "first": 8, "second": 8}
    assert graph.layers[1].groups.tolist() == graph.layers[2].groups.tolist()


def test_a_layer_that_is_used_twice_ties_its_two_inputs():
    def flow(m, x):
        first, second = m.a(x), m.b(x)
        return m.head(torch.cat([m.shared(first), m.shared(second)], 1))

    graph = traced(net(flow, a=block(3, 8), b=block(3, 8), shared=block(8, 6), head=head(12)))
    groups = {layer.name: layer.groups.tolist() for layer in graph.layers}
    assert groups["a.bn"] == groups["b.bn"] and prunable(graph)["shared"] == 6


def test_a_layer_that_reads_the_image_and_a_feature_map_keeps_that_map():
    def flow(m, x):
        return m.head(torch.cat([m.shared(x), m.shared(m.a(m.stem(x)))], 1))

    graph = traced(net(flow, stem=block(3, 8), a=block(8, 3), shared=block(3, 6), head=head(12)))
    assert prunable(graph) == {"stem": 8, "a": 0, "shared": 6}


@pytest.mark.parametrize(
    "reshape",
    [
        lambda x: x.view(2, 2, 4, -1).flatten(1, 2).view(2, 8, 16, 24),
        lambda x: torch.cat(x.split([3, 5], 1)[::-1], 1),
        lambda x: torch.cat([x[:, 4:], x[:, :4]], 1),
        lambda x: x.reshape(2, 2, 4, 16, 24).transpose(1, 2).reshape(2, 8, 16, 24),
    ],
    ids=["view", "split", "slices", "channel shuffle by hand"],
)
def test_sizes_that_are_written_in_the_code_freeze_with_a_reason(reshape):
    def flow(m, x):
        return m.head(reshape(F.interpolate(m.a(m.stem(x)), (16, 24))))

    graph = traced(net(flow, stem=block(3, 8), a=block(8, 8), head=head(8)))
    assert prunable(graph) == {"stem": 8, "a": 0}
    assert reason(graph, "a")


def test_flattened_positions_of_a_channel_leave_a_linear_layer_together():
    def flow(m, x):
        return m.fc(torch.flatten(F.adaptive_avg_pool2d(m.a(x), 2), 1))

    graph = traced(net(flow, a=block(3, 8), fc=nn.Linear(32, 5)))
    assert prunable(graph) == {"a": 8}
    assert len(graph.axes[graph.tensor_axes["fc.weight"][1]]) == 32


def test_linear_layers_with_a_norm_are_pruned_like_convolutions():
    def flow(m, x):
        return m.out(F.relu(m.bn(m.fc(m.a(x).mean((2, 3))))))

    graph = traced(net(flow, a=block(3, 8), fc=nn.Linear(8, 12), bn=nn.BatchNorm1d(12), out=nn.Linear(12, 5)))
    assert prunable(graph) == {"a": 8, "bn": 12}


def test_the_output_of_the_model_is_kept():
    graph = traced(net(lambda m, x: m.b(m.a(x)), a=block(3, 8), b=block(8, 5)))
    assert prunable(graph) == {"a": 8, "b": 0}
    assert reason(graph, "b") == "model output"


def test_a_mean_over_channels_keeps_them():
    def flow(m, x):
        x = m.a(m.stem(x))
        return m.head(x * torch.sigmoid(x.mean(1, keepdim=True)))

    graph = traced(net(flow, stem=block(3, 8), a=block(8, 8), head=head(8)))
    assert prunable(graph) == {"stem": 8, "a": 0}
    assert "mean" in reason(graph, "a")


def test_what_only_training_computes_is_followed_too():
    def flow(m, x):
        y = m.a(x)
        return (m.head(y), m.auxiliary(y)) if m.training else m.head(y)

    model = net(flow, a=block(3, 8), head=head(8), auxiliary=head(8, 2))
    graph = traced(model)
    pruned = prune_model(model, graph, random_keep(graph, 0.5)).train()
    assert [tensor.shape[1] for tensor in run(pruned, image(pruned, 16, 16, batch=2))] == [5, 2]


def test_a_model_that_does_not_run_is_refused_in_a_sentence():
    model = net(lambda m, x: m.head(m.a(x)), a=block(3, 8), head=head(9))
    with pytest.raises(PlanError, match="does not run") as refusal:
        trace(model)
    assert "\n" not in str(refusal.value)


def test_a_model_that_runs_and_cannot_be_followed_is_said_to_run_in_stock_ultralytics():
    model = net(lambda m, x: m.head(m.a(x) * float(x.mean() + 1)), a=block(3, 8), head=head(8))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(PlanError, match=r"Stock Ultralytics runs this model, but .* cannot follow") as refusal:
        trace(model.train())
    assert "\n" not in str(refusal.value)
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_keeping_everything_changes_nothing():
    model = net(lambda m, x: m.head(m.a(x)), a=block(3, 8), head=head(8))
    same = prune_model(model, trace(model), random_keep(trace(model), 0))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_only_attention_queries_and_keys_of_the_common_detectors_are_kept(name):
    graph = graph_of(name)
    kept = {layer.name: layer for layer in graph.layers if layer.prunable_channels < layer.channels}
    assert all(".attn.qkv" in layer_name for layer_name in kept), kept.keys()
    assert all(layer.reason == "attention query/key size" for layer in kept.values())
    assert bool(kept) == (name == "yolo11n")


@pytest.mark.parametrize(("name", "splitting"), [("yolov8n", "C2f"), ("yolo11n", "C3k2")])
def test_blocks_that_split_in_halves_are_cut_in_equal_halves(name, splitting):
    model, graph = build(name), graph_of(name)
    blocks = [module for module in model.modules() if type(module).__name__ == splitting]
    halves = [constraint for constraint in graph.equal_counts if splitting in constraint.reason]
    assert len(halves) == len(blocks) > 0
    assert all(constraint.multiplicities == (1, 1) for constraint in halves)
    assert sorted(len(constraint.pieces[0]) for constraint in halves) == sorted(module.c for module in blocks)


def test_the_channel_graph_knows_no_layer_and_no_model_family():
    for path in (ROOT / "engine" / "graph").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        words = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        ]
        words += [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        assert not [word for word in words if re.search(r"yolo|rtdetr|\bmodel\.\d|\.\d+\.", word, re.IGNORECASE)], path
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert {name for name in modules if name.startswith("ultralytics")} <= {"ultralytics.nn.modules"}, path
