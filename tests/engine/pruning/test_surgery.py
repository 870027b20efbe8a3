"""Surgery: the pruned model computes what the masked one computes, and nothing else about it changes."""

import copy

import pytest
import torch
from torch import nn

from engine.pruning.graph import trace
from engine.pruning.session import Slimming
from engine.pruning.surgery import prune_model
from tests.models import (
    assert_pruned_equals_masked,
    assert_same_outputs,
    build,
    graph_of,
    image,
    mask_model,
    named_tensors,
    random_keep,
    randomise,
    run,
)

RATIOS = [0, 0.25, 0.5, 0.75, 0.9]
NANO = ["yolov8n", "yolo11n"]
SMALL = [pytest.param(name, marks=pytest.mark.slow) for name in ("yolov8s", "yolo11s")]
PLAIN_VALUES = (int, float, str, bool, tuple, type(None))
WIDTHS = {"in_channels", "out_channels", "groups", "num_features", "c", "head_dim"}


@pytest.mark.parametrize("protect", [False, True], ids=["jointly", "protected"])
@pytest.mark.parametrize("name", [*NANO, *SMALL])
def test_pruned_equals_masked_in_every_raw_output(name, protect):
    model, graph = build(name), graph_of(name)
    inputs = image(model, 96, 160, batch=2)
    names = {tensor_name for tensor_name, _ in named_tensors(run(model, inputs))}
    assert {"output[0]", "output[1].boxes", "output[1].scores", "output[1].feats[2]"} <= names
    for seed, ratio in enumerate(RATIOS):
        assert_pruned_equals_masked(model, graph, random_keep(graph, ratio, seed, protect_residual=protect), inputs)


@pytest.mark.parametrize("name", ["yolov8n-bccd", "yolo11n-bccd"])
def test_pruned_equals_masked_on_a_trained_checkpoint(name, shared_checkpoint):
    slimming = Slimming.open(shared_checkpoint(name))
    model = slimming.checkpoint.model
    for ratio in (0.25, 0.5, 0.75):
        keep = slimming.plan(ratio).keep
        assert_pruned_equals_masked(model, slimming.graph, keep, image(model, 160, 192, batch=2))


@pytest.mark.parametrize("name", NANO)
def test_pruning_leaves_the_original_as_it_was(name):
    model, graph = build(name), graph_of(name)
    before = copy.deepcopy(model)
    keep = random_keep(graph, 0.5)
    pruned = prune_model(model, graph, keep)
    mask_model(model, graph, keep)
    nn.init.zeros_(next(pruned.parameters()))
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.state_dict().values(), strict=True)
    )
    assert [repr(module) for module in model.modules()] == [repr(module) for module in before.modules()]


@pytest.mark.parametrize("name", NANO)
def test_removed_weights_are_gone_and_the_numbers_beside_them_agree(name):
    model, graph = build(name), graph_of(name)
    pruned = prune_model(model, graph, random_keep(graph, 0.6))
    for module in pruned.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)
            assert module.weight.is_contiguous() and module.weight.untyped_storage().nbytes() == module.weight.nbytes
        elif isinstance(module, nn.BatchNorm2d):
            tensors = (module.weight, module.bias, module.running_mean, module.running_var)
            assert {len(tensor) for tensor in tensors} == {module.num_features}


@pytest.mark.parametrize("name", NANO)
def test_everything_but_widths_survives(name):
    model = build(name)
    model.names = {index: f"class {index}" for index in range(80)}
    for index, module in enumerate(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        module.eps, module.momentum = 1e-3 + index * 1e-6, 0.03 + index * 1e-6
    graph = trace(model)
    pruned = prune_model(model, graph, random_keep(graph, 0.5))
    assert pruned.names == model.names and pruned.task == model.task
    pruned.yaml["backbone"][0][2] = model.yaml["backbone"][0][2]  # there it says how to train it
    assert pruned.yaml == model.yaml
    assert torch.equal(pruned.stride, model.stride)
    assert list(pruned.state_dict()) == list(model.state_dict())
    for (name_before, before), (name_after, after) in zip(model.named_modules(), pruned.named_modules(), strict=True):
        assert name_before == name_after and type(before) is type(after)
        for key, value in vars(before).items():
            if isinstance(value, PLAIN_VALUES) and key not in WIDTHS:
                assert getattr(after, key) == value, f"{name_before}.{key}"


@pytest.mark.parametrize("name", NANO)
def test_a_pruned_model_trains(name):
    model, graph = build(name), graph_of(name)
    pruned = prune_model(model, graph, random_keep(graph, 0.7)).train()
    outputs = pruned(image(pruned, 64, 96, batch=2))
    loss = sum(tensor.float().square().mean() for _, tensor in named_tensors(outputs))
    loss.backward()
    wanted = [parameter for parameter in pruned.parameters() if parameter.requires_grad]
    assert wanted and all(parameter.grad is None or parameter.grad.shape == parameter.shape for parameter in wanted)
    assert sum(parameter.grad is not None for parameter in wanted) > 0.9 * len(wanted)


@pytest.mark.parametrize("name", NANO)
def test_pruned_equals_masked_after_ultralytics_fuses_it(name):
    model, graph = build(name), graph_of(name)
    keep = random_keep(graph, 0.5)
    inputs = image(model, 64, 96)
    fused = prune_model(model, graph, keep).fuse(verbose=False)
    assert_same_outputs(run(fused, inputs)[0], run(mask_model(model, graph, keep), inputs)[0])


@pytest.mark.parametrize("name", NANO)
def test_a_pruned_model_can_be_pruned_again(name):
    model, graph = build(name), graph_of(name)
    once = randomise(prune_model(model, graph, random_keep(graph, 0.4)), seed=3)
    again = trace(once)
    twice = assert_pruned_equals_masked(once, again, random_keep(again, 0.4), image(once, 64, 96))
    assert sum(p.numel() for p in twice.parameters()) < sum(p.numel() for p in once.parameters())


def test_frozen_parameters_stay_frozen_and_gradients_of_another_size_are_dropped():
    model = build("yolov8n").train()
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad = index % 2 == 0
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    graph = trace(model)
    pruned = prune_model(model, graph, random_keep(graph, 0.5))
    for before, after in zip(model.parameters(), pruned.parameters(), strict=True):
        assert after.requires_grad == before.requires_grad
        assert after.grad is None or after.grad.shape == after.shape


def test_half_precision_models_are_cut_in_half_precision():
    model, graph = build("yolov8n"), graph_of("yolov8n")
    keep = random_keep(graph, 0.5)
    half, whole = prune_model(copy.deepcopy(model).half(), graph, keep), prune_model(model, graph, keep)
    for first, second in zip(half.parameters(), whole.parameters(), strict=True):
        assert first.dtype == torch.float16 and torch.equal(first, second.half())
