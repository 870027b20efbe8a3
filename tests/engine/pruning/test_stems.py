"""Stems that rearrange pixels before their first convolution: its inputs are not the channels of the image."""

import pytest
import thop
import torch
from torch import nn
from ultralytics.nn.modules import Focus
from ultralytics.nn.tasks import DetectionModel

from engine.checkpoints.checkpoint import open_checkpoint
from engine.checkpoints.inputs import image_channels
from engine.export import ExportSettings, export_model
from engine.profile.counting import convolutions_run
from engine.pruning.compensation import compensate
from engine.pruning.cost import CostModel
from engine.pruning.graph import trace
from engine.pruning.surgery import prune_model
from engine.runtimes.runners import open_runner
from engine.verbs import run_verb
from tests.models import assert_pruned_equals_masked, random_keep, randomise, run, write_checkpoint
from tests.nets import block, head, net
from tests.shapes import SIZE, draw_shapes
from tests.short import short

NAMES = {0: "bar", 1: "brick"}


def focused(channels: int) -> DetectionModel:
    """Return a short and narrow detector whose stem is Ultralytics' own Focus."""
    torch.manual_seed(0)
    description = short("detect", width=0.125)
    description["backbone"][0] = [-1, 1, "Focus", [64, 3]]
    model = randomise(DetectionModel(description, ch=channels, nc=len(NAMES), verbose=False)).eval()
    model.names, model.task = NAMES, "detect"
    return model


@pytest.fixture(scope="module", params=[3, 4])
def focus(request, tmp_path_factory):
    """(weights, channels of the images) of such a model."""
    path = tmp_path_factory.mktemp("focus") / "focus.pt"
    return write_checkpoint(focused(request.param), path, train_args={"imgsz": SIZE, "task": "detect"}), request.param


@pytest.mark.parametrize("key", ["channels", "ch", None, "wrong"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_the_description_says_how_many_channels_images_have_and_else_the_model_is_tried(channels, key):
    model = net(lambda m, x: m.head(m.stem(x)), stem=Focus(channels, 8, 3), head=head(8))
    assert model.stem.conv.conv.in_channels == 4 * channels
    if key:
        model.yaml = {"channels": channels + 1} if key == "wrong" else {key: channels}
    assert image_channels(model) == channels


def test_a_stem_that_reads_a_part_of_the_image_takes_what_its_description_says():
    model = net(lambda m, x: m.head(m.stem(x[:, :3])), stem=block(3, 8), head=head(8))
    assert image_channels(model) == 3
    model.yaml = {"channels": 5}
    assert image_channels(model) == 5


def test_a_model_that_runs_on_nothing_still_gets_its_own_error():
    def flow(m, x):
        raise ValueError("never")

    assert image_channels(net(flow, stem=block(3, 8))) == 3
    assert image_channels(nn.Sequential(nn.Flatten(), nn.Linear(7, 2))) == 3


def test_a_model_with_ultralytics_focus_is_pruned_as_it_is_masked_and_costs_what_was_said(focus):
    weights, channels = focus
    model = open_checkpoint(weights).model
    graph, images = trace(model), torch.rand(1, channels, SIZE, SIZE)
    assert next(layer for layer in graph.layers if layer.name == "model.0.conv.bn").prunable_channels
    for seed, ratio in enumerate((0.2, 0.5, 0.8)):
        keep = random_keep(graph, ratio, seed, floor=1)
        pruned = assert_pruned_equals_masked(model, graph, keep, images)
        cost = CostModel(graph, model, SIZE).cost(keep)
        assert cost.params == sum(parameter.numel() for parameter in pruned.parameters())
        assert cost.gflops == thop.profile(pruned, inputs=[images], verbose=False)[0] / 1e9 * 2
        assert torch.isfinite(run(compensate(model, graph, keep), images)[0]).all()
    assert len(convolutions_run(model, SIZE)) == sum(isinstance(module, nn.Conv2d) for module in model.modules())


def test_a_pruned_model_with_ultralytics_focus_is_reloaded_timed_and_exported(focus, tmp_path):
    weights, channels = focus
    asked = {"weights": str(weights), "imgsz": SIZE, "prune_ratio": 0.4, "save_dir": str(tmp_path)}
    said = run_verb("preview", asked)
    pruned = run_verb("prune", asked)["pruned"]
    opened = open_checkpoint(pruned)
    assert (opened.params, opened.channels) == (said["params"], channels)
    assert open_runner(opened.path, "torch", SIZE, 1, tmp_path).run_ms() > 0
    result = export_model(opened.path, tmp_path / "model.onnx", ExportSettings(SIZE))
    assert result.passed and result.input_shape == (1, channels, SIZE, SIZE)


def test_a_model_with_ultralytics_focus_is_recalibrated_and_calibrated_on_images(focus, tmp_path):
    weights, channels = focus
    data = draw_shapes(tmp_path / "set", "detect", images=4, channels=channels)
    asked = {"weights": str(weights), "imgsz": SIZE, "prune_ratio": 0.4, "data": str(data), "recalibrate": 4}
    pruned = run_verb("prune", {**asked, "save_dir": str(tmp_path)})["pruned"]
    result = export_model(pruned, tmp_path / "model.onnx", ExportSettings(SIZE, precision="int8", data=data))
    assert result.images_compared == 6


def test_a_reordered_stem_does_not_change_what_a_plan_keeps():
    """The same network with its pixels rearranged by Focus or by hand has the same graph."""

    def by_hand(m, x):
        pieces = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return m.head(m.next(m.stem.conv(torch.cat(pieces, 1))))

    modules = {"stem": Focus(3, 8, 3), "next": block(8, 6), "head": head(6)}
    stock, own = net(lambda m, x: m.head(m.next(m.stem(x))), **modules), net(by_hand, **modules)
    graphs = trace(stock), trace(own)
    keep = random_keep(graphs[0], 0.5, floor=1)
    images = torch.rand(1, 3, 32, 32)
    first, second = (
        run(prune_model(model, graph, keep), images) for model, graph in zip((stock, own), graphs, strict=True)
    )
    assert torch.equal(first, second)
