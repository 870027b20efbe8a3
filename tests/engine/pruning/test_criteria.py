"""Scores: each criterion against a direct computation on small networks."""

import copy
import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from engine.base.errors import PlanError
from engine.pruning.cost import CostModel
from engine.pruning.criteria import (
    AGGREGATES,
    CRITERIA,
    Context,
    ImportanceSettings,
    channel_scores,
    combined_scores,
    group_scores,
)
from engine.pruning.criteria._gates import gate_gradients
from engine.pruning.graph import trace
from engine.settings.choices import IMAGE_CRITERIA
from tests.models import build, graph_of
from tests.nets import block, head, net


def scores_of(model, layer, graph=None, **settings):
    """Return the scores of a layer's channels."""
    graph = graph or trace(model)
    costs = CostModel(graph, model, (16, 24)) if settings.get("per_flop") else None
    scores = group_scores(graph, model, ImportanceSettings(**settings), costs)
    assert scores.shape == (graph.group_count,) and scores[0] == np.inf
    assert np.isfinite(scores[1:]).all() and (scores[1:] >= 0).all()
    return scores[next(item for item in graph.layers if item.name == f"{layer}.bn").groups]


def absolute_sums(weight, dim):
    return weight.detach().double().abs().transpose(0, dim).flatten(1).sum(dim=1).numpy()


@pytest.fixture
def chain():
    """Three convolutions in a row."""
    return net(
        lambda m, x: m.head(m.b(m.a(x))), a=block(3, 8), b=block(8, 6, act=nn.ReLU()), head=head(6)
    )  # fmt: skip


@pytest.fixture
def residual():
    """Two layers tied by an add."""
    return net(lambda m, x: m.head(m.a(x) + m.b(m.a(x))), a=block(3, 8), b=block(8, 8), head=head(8))


# --- criteria ------------------------------------------------------------------------------------------------------


def test_gamma_is_the_absolute_scale(chain):
    chain.a.bn.weight.data[2] *= -1
    assert scores_of(chain, "a") == pytest.approx(chain.a.bn.weight.detach().abs().numpy())
    graph = trace(chain)
    assert group_scores(graph, chain).tolist() == group_scores(graph, chain, ImportanceSettings()).tolist()


def test_l1_is_the_norm_of_the_filter(chain):
    assert scores_of(chain, "a", criterion="l1") == pytest.approx(absolute_sums(chain.a.conv.weight, 0))
    assert scores_of(chain, "b", criterion="l1") == pytest.approx(absolute_sums(chain.b.conv.weight, 0))


def test_gamma_next_weighs_gamma_with_what_the_next_layer_reads(chain):
    expected = chain.a.bn.weight.detach().abs().numpy() * absolute_sums(chain.b.conv.weight, 1)
    assert scores_of(chain, "a", criterion="gamma-next") == pytest.approx(expected)


def test_gamma_next_adds_up_every_reader():
    model = net(
        lambda m, x: (m.p(m.a(x)), m.q(torch.cat([m.b(m.a(x)), m.a(x)], 1))),
        a=block(3, 8), b=block(8, 4), p=head(8), q=head(12),
    )  # fmt: skip
    reads = absolute_sums(model.b.conv.weight, 1) + absolute_sums(model.p.weight, 1)
    reads += absolute_sums(model.q.weight, 1)[4:]
    expected = model.a.bn.weight.detach().abs().numpy() * reads
    assert scores_of(model, "a", criterion="gamma-next") == pytest.approx(expected)


def test_gamma_next_sees_a_transposed_convolution_that_reads():
    """Its weight has the inputs first; a mask prototype branch is read by nothing else."""
    model = net(
        lambda m, x: m.head(m.b(m.up(m.a(x)))), a=block(3, 8), up=nn.ConvTranspose2d(8, 6, 2, 2), b=block(6, 8),
        head=head(8),
    )  # fmt: skip
    expected = model.a.bn.weight.detach().abs().numpy() * absolute_sums(model.up.weight, 0)
    assert scores_of(model, "a", criterion="gamma-next") == pytest.approx(expected)


def test_l1_of_a_transposed_convolution_is_taken_by_output():
    class Up(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.ConvTranspose2d(8, 8, 2, 2, bias=False), nn.BatchNorm2d(8)

        def forward(self, x):
            return F.silu(self.bn(self.conv(x)))

    model = net(lambda m, x: m.head(m.up(m.a(x))), a=block(3, 8), up=Up(), head=head(8))
    assert scores_of(model, "up", criterion="l1") == pytest.approx(absolute_sums(model.up.conv.weight, 1))


def test_l1_of_a_norm_behind_a_sum_is_that_of_all_filters_that_make_it():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.bn = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(6)

        def forward(self, x):
            return F.silu(self.bn(self.left(x) + self.right(x)))

    model = net(lambda m, x: m.head(m.sum(m.a(x))), a=block(3, 8), sum=Sum(), head=head(6))
    expected = absolute_sums(model.sum.left.weight, 0) + absolute_sums(model.sum.right.weight, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scores_of(model, "sum", criterion="l1") == pytest.approx(expected)
        assert (scores_of(model, "sum", criterion="l1", per_layer=True) > 0).all()


def test_random_scores_depend_on_the_seed_alone(chain):
    first, again = (scores_of(chain, "a", criterion="random", seed=3) for _ in range(2))
    chain.a.bn.weight.data.fill_(0)
    assert first.tolist() == again.tolist() == scores_of(chain, "a", criterion="random", seed=3).tolist()
    assert (first != scores_of(chain, "a", criterion="random", seed=4)).all() and len(set(first)) == 8


def labels(name):
    """Two images of noise with a large, a middling and a small box in each, so that every scale learns."""
    boxes = torch.tensor([[0.5, 0.5, 0.9, 0.8], [0.3, 0.6, 0.3, 0.4], [0.7, 0.3, 0.06, 0.08]]).repeat(2, 1)
    batch = {"img": torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)), "bboxes": boxes}
    batch |= {"cls": torch.arange(6.0).reshape(6, 1), "batch_idx": torch.arange(2.0).repeat_interleave(3)}
    return {**batch, "masks": torch.ones(2, 64, 64)} if name.endswith("-seg") else batch


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolov8n-seg"])
def test_every_group_of_a_real_model_has_a_score(name, criterion):
    graph, model = graph_of(name), build(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = group_scores(
            graph, model, ImportanceSettings(criterion, per_layer=True), batches=lambda: [labels(name)]
        )
    assert np.isfinite(scores[1:]).all() and (scores[1:] > 0).all()


def test_every_file_of_the_folder_is_a_criterion_under_its_name():
    assert list(CRITERIA) == [
        "fisher", "fpgm", "gamma", "gamma-next", "l1", "lamp", "random", "taylor", "taylor-activation"
    ]  # fmt: skip
    assert CRITERIA["gamma-next"].label == "|gamma| × next" and "next layers" in CRITERIA["gamma-next"].text
    assert all(entry.label != name and entry.text for name, entry in CRITERIA.items())


def test_every_criterion_says_what_it_needs(chain):
    """Its last sentence; those that look at images without saying so would be offered where there are none."""
    graph = trace(chain)
    for name, entry in CRITERIA.items():
        assert re.search(
            r"Needs (labelled images|the model alone|nothing of the model but its layers' widths)\.$", entry.more
        )
        if name in IMAGE_CRITERIA:
            with pytest.raises(PlanError, match="looks at images"):
                group_scores(graph, chain, ImportanceSettings(name))
        else:
            group_scores(graph, chain, ImportanceSettings(name))


# --- images and gradients ------------------------------------------------------------------------------------------


def squares(model, batch):
    """A loss whose gradients can be written down: half the squared outputs, summed."""
    return model(batch["img"]).square().sum() / 2


def two_batches():
    return ({"img": torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(seed))} for seed in (0, 1))


def test_a_criterion_gets_the_gradients_of_every_batch(chain):
    before = {name: tensor.clone() for name, tensor in chain.state_dict().items()}
    context = Context(trace(chain), chain, batches=two_batches, loss=squares)
    for _ in range(2):  # the images are there again for the next criterion
        found = [model.head.bias.grad.clone() for model in context.backward_passes()]
        outputs = [chain(images).detach().sum(dim=(0, 2, 3)) for images in context.images()]
        assert len(found) == 2
        for gradient, output in zip(found, outputs, strict=True):
            assert torch.allclose(gradient, output, rtol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in chain.state_dict().items())
    assert all(parameter.grad is None for parameter in chain.parameters())


def test_gradients_are_those_of_the_loss_that_ultralytics_trains_with():
    model, labels = build("yolov8n"), torch.tensor([[0.5, 0.5, 0.4, 0.4]])
    batch = {"img": next(iter(two_batches()))["img"].repeat(1, 1, 4, 4)[:1], "bboxes": labels}
    batch |= {"cls": torch.zeros(1, 1), "batch_idx": torch.zeros(1)}
    (passed,) = Context(graph_of("yolov8n"), model, batches=lambda: [batch]).backward_passes()
    gradients = {layer.name: passed.get_submodule(layer.name).weight.grad for layer in graph_of("yolov8n").layers}
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    assert {name for name, gradient in gradients.items() if not gradient.any()} <= {
        f"model.22.cv2.{scale}.{number}.bn" for scale in range(3) for number in range(2)
    }  # a scale without an object learns no boxes
    epsilon, norm = 1e-3, "model.22.cv3.0.0.bn"
    losses = []
    for sign in (1, -1):
        moved = build("yolov8n")
        moved.get_submodule(norm).weight.data[3] += sign * epsilon
        moved.args = passed.args
        losses.append(float(moved.loss(batch)[0].sum().detach()))
    slope = (losses[0] - losses[1]) / (2 * epsilon)
    assert float(passed.get_submodule(norm).weight.grad[3]) == pytest.approx(slope, rel=0.05, abs=1e-3)


def test_rtdetr_is_scored_before_a_trainer_has_told_it_its_classes():
    model = build("yolov8-rtdetr")
    assert not hasattr(model, "nc")
    scores = channel_scores("taylor", Context(graph_of("yolov8-rtdetr"), model, batches=lambda: [labels("rtdetr")]))
    assert all(np.isfinite(each).all() for each in scores) and np.concatenate(scores).any()


def test_a_loss_that_needs_what_a_batch_lacks_is_refused_in_a_sentence(chain):
    context = Context(trace(chain), chain, batches=two_batches, loss=lambda model, batch: batch["texts"])
    with pytest.raises(PlanError, match=r"cannot be computed on these images .KeyError: 'texts'.; choose a criterion"):
        list(context.backward_passes())


def test_without_images_a_criterion_that_looks_at_some_is_refused(chain):
    context = Context(trace(chain), chain)
    for read in (context.images, context.backward_passes):
        with pytest.raises(PlanError, match="looks at images; give the data set"):
            list(read())


@pytest.mark.parametrize(
    "scores", [lambda c: [np.ones(3)], lambda c: [-np.ones(layer.channels) for layer in c.graph.layers]]
)
def test_scores_that_are_none_are_refused(chain, monkeypatch, scores):
    monkeypatch.setattr("engine.pruning.criteria.gamma.channel_scores", scores)
    with pytest.raises(PlanError, match="gamma did not give every channel"):
        group_scores(trace(chain), chain)


# --- scores of gates -----------------------------------------------------------------------------------------------


@pytest.fixture
def scored(residual):
    """The tied layers, their group of the fifth channel, and a function that scores it."""
    graph = trace(residual)
    group = int(next(layer for layer in graph.layers if layer.name == "a.bn").groups[5])

    def score(criterion):
        context = Context(graph, residual, batches=two_batches, loss=squares)
        return combined_scores(graph, channel_scores(criterion, context), ImportanceSettings(criterion))[group]

    return residual, score


@torch.no_grad()
def slopes(model, loss_of):
    """Return by how much each loss changes for a gate of the fifth channel, by finite differences."""

    def gated(factor):
        moved = copy.deepcopy(model).double()
        for norm in (moved.a.bn, moved.b.bn):
            norm.weight.data[5] *= factor
            norm.bias.data[5] *= factor
        return np.array([float(loss_of(moved, batch["img"].double())) for batch in two_batches()])  # fmt: skip

    return (gated(1 + 1e-4) - gated(1 - 1e-4)) / 2e-4


def test_taylor_is_the_squared_slope_of_the_loss_of_a_batch_as_finite_differences_find_it(scored):
    model, score = scored
    found = slopes(model, lambda moved, images: squares(moved, {"img": images}))
    assert score("taylor") == pytest.approx(np.mean(found**2), rel=1e-3)


def test_fisher_and_taylor_on_activations_are_slopes_of_single_images(scored):
    model, score = scored
    by_image = np.concatenate(
        [slopes(model, lambda moved, images, i=i: squares(moved, {"img": images[i : i + 1]})) for i in (0, 1)]
    )
    assert score("fisher") == pytest.approx(np.mean(by_image**2) / 2, rel=1e-3)
    assert score("taylor-activation") == pytest.approx(np.abs(by_image).mean(), rel=1e-3)
    assert score("fisher") > 0


@pytest.mark.parametrize("criterion", ["taylor", "taylor-activation", "fisher"])
def test_what_the_loss_does_not_see_has_no_score(criterion, chain):
    chain.a.bn.weight.data[2] = chain.a.bn.bias.data[2] = 0
    chain.b.conv.weight.data[:, 3] = 0
    graph = trace(chain)
    scores, _ = channel_scores(criterion, Context(graph, chain, batches=two_batches, loss=squares))
    assert np.flatnonzero(scores == 0).tolist() == [2, 3]


def test_gates_leave_the_loss_and_its_gradients_as_they_are(chain):
    graph, context = trace(chain), Context(trace(chain), chain, batches=two_batches, loss=squares)
    gates = [gradients.sum(axis=0) for gradients in gate_gradients(context)]
    for found, model in zip(gates, context.backward_passes(), strict=True):
        for layer in graph.layers:
            norm = model.get_submodule(layer.name)
            expected = norm.weight * norm.weight.grad + norm.bias * norm.bias.grad
            assert found[layer.groups] == pytest.approx(expected.detach().numpy(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_refused(chain, factor):
    context = Context(trace(chain), chain, batches=two_batches, loss=lambda *given: squares(*given) * factor)
    with pytest.raises(PlanError, match="is no number"):
        channel_scores("taylor", context)
    with pytest.raises(PlanError, match="no images to score"):
        channel_scores("taylor", Context(trace(chain), chain, batches=lambda: [], loss=squares))


# --- scores of filters ---------------------------------------------------------------------------------------------


def test_lamp_of_a_hand_made_layer(chain):
    """Filters whose folded squares are 1, 2, 3 and 4 times 9, after that larger ones."""
    norm, weight = chain.a.bn, chain.a.conv.weight
    norm.running_var.fill_(4 - norm.eps)
    norm.weight.data.fill_(6)
    weight.data.zero_()
    weight.data[:, 0, 0, 0] = torch.tensor([2.0, 1.0, 4.0, 3.0, 10.0, 10.0, 10.0, 10.0]).sqrt()
    found = scores_of(chain, "a", criterion="lamp")
    assert found[:4] == pytest.approx([2 / 49, 1 / 50, 4 / 44, 3 / 47]) and found.max() == pytest.approx(1)


def test_lamp_does_not_see_the_scale_of_a_layer_nor_that_of_a_filter_which_batchnorm_undoes(chain):
    before = scores_of(chain, "a", criterion="lamp")
    chain.a.bn.weight.data *= 7
    chain.a.conv.weight.data[3] *= 100
    chain.a.bn.running_var[3] = (chain.a.bn.running_var[3] + chain.a.bn.eps) * 100**2 - chain.a.bn.eps
    assert scores_of(chain, "a", criterion="lamp") == pytest.approx(before)


def test_fpgm_is_the_sum_of_distances(chain):
    rows = chain.b.conv.weight.detach().double().flatten(1)
    expected = torch.cdist(rows, rows).sum(dim=1).numpy()
    assert scores_of(chain, "b", criterion="fpgm") == pytest.approx(expected)


def test_fpgm_removes_what_the_others_can_replace(chain):
    """A norm would keep the largest filters; these are alike, and the small one is far from them."""
    weight = chain.b.conv.weight.data
    weight[:] = 1 + 0.01 * torch.rand(weight.shape, generator=torch.Generator().manual_seed(0))
    weight[4] *= 0.1
    assert scores_of(chain, "b", criterion="fpgm").argmax() == 4
    assert scores_of(chain, "b", criterion="l1").argmin() == 4


# --- tied channels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_tied_channels_are_aggregated(residual, aggregate):
    a, b = (module.bn.weight.detach().abs().numpy() for module in (residual.a, residual.b))
    expected = {"mean": (a + b) / 2, "max": np.maximum(a, b), "sum": a + b}[aggregate]
    assert scores_of(residual, "a", aggregate=aggregate) == pytest.approx(expected)
    assert scores_of(residual, "b", aggregate=aggregate) == pytest.approx(expected)


# --- normalisation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["gamma", "l1", "gamma-next"])
def test_by_layer_the_scale_of_a_layer_does_not_matter(chain, criterion):
    asked = {"criterion": criterion, "per_layer": True}
    before = scores_of(chain, "a", **asked), scores_of(chain, "b", **asked)
    with torch.no_grad():
        chain.a.bn.weight *= 100
        chain.a.conv.weight *= 7
    after = scores_of(chain, "a", **asked), scores_of(chain, "b", **asked)
    for first, second in zip(before, after, strict=True):
        assert first == pytest.approx(second, rel=1e-5)
    assert before[0].mean() == pytest.approx(1)
    if criterion != "l1":
        assert scores_of(chain, "a", criterion=criterion).mean() != pytest.approx(1)


def test_by_layer_a_dead_layer_has_no_score(chain):
    chain.a.bn.weight.data.fill_(0)
    assert (scores_of(chain, "a", per_layer=True) == 0).all() and scores_of(chain, "b", per_layer=True).mean() > 0


def test_by_flop_scores_are_divided_by_what_removal_saves(chain):
    graph = trace(chain)
    saved = CostModel(graph, chain, (16, 24)).marginal_operations()
    plain, by_flop = (group_scores(graph, chain, ImportanceSettings(per_flop=flag), c) for flag, c in (
        (False, None), (True, CostModel(graph, chain, (16, 24)))
    ))  # fmt: skip
    assert by_flop[1:] == pytest.approx(plain[1:] / saved[1:])


def test_by_flop_needs_a_cost_model(chain):
    with pytest.raises(PlanError, match="need the cost"):
        group_scores(trace(chain), chain, ImportanceSettings(per_flop=True))


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_what_removal_saves_is_the_real_difference_to_first_order(name):
    graph = graph_of(name)
    costs = CostModel(graph, build(name), 320)
    marginal = costs.marginal_operations()
    assert (marginal[1:] > 0).all()
    for group in np.random.default_rng(0).choice(np.arange(1, graph.group_count), 200, replace=False):
        keep = np.ones(graph.group_count, dtype=bool)
        keep[group] = False
        real = (costs.before.gflops - costs.cost(keep).gflops) * 1e9 / 2
        # Where the group is read by a layer that it also comes out of, the second-order term is counted twice.
        assert real * (1 - 1e-9) <= marginal[group] <= real * 1.15


@pytest.mark.parametrize("wrong", [{"criterion": "magic"}, {"aggregate": "median"}])
def test_unknown_settings_are_refused_with_the_known_ones(wrong):
    with pytest.raises(PlanError, match=r"it must be one of (fisher|mean), "):
        ImportanceSettings(**wrong)
