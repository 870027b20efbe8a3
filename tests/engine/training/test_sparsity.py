"""Sparse training on a small network with a plain optimizer: what each method does to which gammas."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from engine.base.errors import PlanError, TrainingError
from engine.pruning.cost import CostModel
from engine.pruning.graph import trace
from engine.pruning.solver import Budget
from engine.training.sparsity import LOOK_SHARE, SHRINK_END, Sparsifier, SparsitySettings

STEPS = 60


class Block(nn.Module):
    """conv - bn - relu."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


class Net(nn.Module):
    """A residual network of three blocks whose output is a plain convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.tail = Block(3, 12), Block(12, 12), Block(12, 16)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.out(self.tail(x + self.branch(x)))


def trained(settings: SparsitySettings | None, optimizer: str = "SGD", steps: int = STEPS) -> tuple[Net, Sparsifier]:
    """Train the network on one fixed batch, sparsified or not."""
    torch.manual_seed(0)
    net = Net().train()
    graph = trace(net)
    sparsifier = Sparsifier(net, graph, settings or SparsitySettings())
    learner = getattr(torch.optim, optimizer)(net.parameters(), lr=0.01)
    if settings:
        sparsifier.attach(learner)
    images, wanted = torch.randn(4, 3, 12, 12), torch.randn(4, 2, 12, 12)
    for step in range(steps):
        sparsifier.progress = (step + 1) / steps
        learner.zero_grad()
        (net(images) - wanted).square().mean().backward()
        learner.step()
    return net, sparsifier


def gammas(net: Net) -> torch.Tensor:
    return torch.cat([block.bn.weight.detach() for block in (net.stem, net.branch, net.tail)])


def looked_at(net: Net, sparsifier: Sparsifier, spoilt: int | None = None, left_out: int | None = None) -> torch.Tensor:
    """Take four steps of the looking phase and choose; return the (N,) bool of the channels chosen.

    In step ``spoilt`` a gradient is no number, and the trainer takes weights and optimizer back afterwards; step
    ``left_out`` is not taken at all.
    """
    learner = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    sparsifier.attach(learner)
    batches = torch.Generator().manual_seed(1)
    for step in range(4):
        images, wanted = (torch.randn(4, channels, 12, 12, generator=batches) for channels in (3, 2))
        if step == left_out:
            continue
        sparsifier.progress = LOOK_SHARE * (step + 1) / 4
        kept = copy.deepcopy((net.state_dict(), learner.state_dict()))
        learner.zero_grad()
        (net(images) - wanted).square().mean().backward()
        if step == spoilt:
            net.stem.bn.weight.grad[3] = float("nan")
            net.tail.bn.weight.grad.fill_(float("inf"))
        learner.step()
        if step == spoilt:
            net.load_state_dict(kept[0])
            learner.load_state_dict(kept[1])
    return sparsifier.state_dict()["targets"]


def targeted() -> tuple[Net, Sparsifier]:
    torch.manual_seed(0)
    net = Net().train()
    return net, Sparsifier(net, trace(net), SparsitySettings("targeted", ratio=0.5))


@pytest.mark.parametrize("spoilt", [0, 2])
def test_one_nan_gradient_leaves_the_choice_that_a_run_without_that_step_makes(spoilt):
    chosen = looked_at(*targeted(), spoilt=spoilt)
    assert len(chosen) and torch.equal(chosen, looked_at(*targeted(), left_out=spoilt))


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_where_no_step_had_gradients_that_are_numbers_the_choice_is_refused(value):
    net, sparsifier = targeted()
    learner = torch.optim.SGD(net.parameters(), lr=0.01)
    sparsifier.attach(learner)
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, value)
    sparsifier.progress = LOOK_SHARE
    with pytest.raises(TrainingError, match="lower learning rate") as refusal:
        learner.step()
    assert "\n" not in str(refusal.value)


def test_a_state_of_version_0_2_goes_on_unless_a_nan_had_spoilt_it():
    _, sparsifier = targeted()
    scores = torch.rand(sparsifier.state_dict()["scores"].shape)
    older = {"scores": scores, "targets": torch.zeros(0, dtype=torch.bool), "faded": torch.tensor(1.0)}
    sparsifier.load_state_dict(older)
    assert torch.equal(sparsifier.state_dict()["scores"], scores) and sparsifier.state_dict()["steps_seen"]
    scores[1] = float("nan")
    sparsifier.load_state_dict(older)
    assert not sparsifier.state_dict()["scores"].any() and not sparsifier.state_dict()["steps_seen"]


def test_the_score_of_a_group_sums_what_its_gammas_and_betas_contribute():
    net, sparsifier = targeted()
    expected = torch.zeros_like(sparsifier.state_dict()["scores"])
    for layer in trace(net).layers:
        norm = net.get_submodule(layer.name)
        with torch.no_grad():
            for parameter in (norm.weight, norm.bias):
                parameter.uniform_(-1, 1)
                parameter.grad = torch.rand_like(parameter)
            taylor = (norm.weight * norm.weight.grad + norm.bias * norm.bias.grad) ** 2
        expected.index_add_(0, torch.from_numpy(layer.groups), taylor)
    learner = torch.optim.SGD(net.parameters(), lr=0.0)
    sparsifier.attach(learner)
    learner.step()
    assert torch.allclose(sparsifier.state_dict()["scores"], expected, rtol=1e-5)


def test_the_proximal_threshold_of_a_group_is_that_of_a_single_gamma_of_its_size():
    net, _ = targeted()
    sparsifier = Sparsifier(net, trace(net), SparsitySettings("proximal", strength=0.5))
    learner = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier.attach(learner)
    with torch.no_grad():
        net.stem.bn.weight.fill_(0.6)  # tied by the residual sum: rms 0.424
        net.branch.bn.weight.zero_()
        net.tail.bn.weight.fill_(0.2)  # alone
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    learner.step()
    tied = 0.6 * (1 - 0.05 / (0.6 / 2**0.5))
    assert net.stem.bn.weight.tolist() == pytest.approx([tied] * 12)
    assert net.tail.bn.weight.tolist() == pytest.approx([0.15] * 16)


class Ends(nn.Module):
    """Two blocks, the last of which makes the output: its channels cannot be pruned."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = Block(3, 12), Block(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.stem(x))


def still(net: nn.Module, settings: SparsitySettings, *groups: dict) -> Sparsifier:
    """Take one step in which no gradient moves anything, so that the sparsifier alone acts."""
    sparsifier = Sparsifier(net, trace(net), settings)
    learner = torch.optim.SGD(groups or net.parameters(), lr=0.1)
    sparsifier.attach(learner)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    learner.step()
    return sparsifier


@pytest.mark.parametrize("method", ["classic", "proximal"])
def test_a_penalty_leaves_channels_alone_that_cannot_be_pruned(method):
    net = Ends()
    with torch.no_grad():
        net.last.bn.bias.fill_(0.3)
    still(net, SparsitySettings(method, strength=0.5))
    assert net.stem.bn.weight.tolist() == pytest.approx([0.95] * 12)
    assert net.last.bn.weight.tolist() == [1.0] * 4 and net.last.bn.bias.tolist() == pytest.approx([0.3] * 4)


def test_beta_follows_the_proximal_step_where_gamma_is_zero_and_nowhere_else():
    net = Net()
    with torch.no_grad():
        net.tail.bn.weight[:8] = 0.04  # below the threshold of 0.05
        net.tail.bn.bias.fill_(-0.2)
    still(net, SparsitySettings("proximal", strength=0.5))
    assert net.tail.bn.weight.tolist() == pytest.approx([0.0] * 8 + [0.95] * 8)
    assert net.tail.bn.bias.tolist() == pytest.approx([-0.15] * 8 + [-0.2] * 8)


def test_the_proximal_threshold_takes_the_learning_rate_of_the_gammas():
    net = Net()
    gammas_alone = [block.bn.weight for block in (net.stem, net.branch, net.tail)]
    others = [p for p in net.parameters() if not any(p is gamma for gamma in gammas_alone)]
    still(net, SparsitySettings("proximal", strength=0.5), {"params": others, "lr": 1.0}, {"params": gammas_alone})
    assert net.tail.bn.weight.tolist() == pytest.approx([0.95] * 16)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_targeted_training_zeroes_exactly_the_wanted_share_and_pruning_then_is_free(optimizer):
    net, sparsifier = trained(SparsitySettings("targeted", ratio=0.5), optimizer)
    statistics = sparsifier.statistics()
    assert statistics["zero"] == pytest.approx(0.5, abs=0.05)
    assert statistics["free_ratio"] == pytest.approx(statistics["zero"])
    for block in (net.stem, net.branch, net.tail):
        gone = block.bn.weight == 0
        assert torch.equal(block.bn.bias[gone], torch.zeros(int(gone.sum())))
        assert (block.bn.weight[~gone].abs() > 0.1).all()


def test_tied_channels_share_one_decision():
    for settings in (SparsitySettings("targeted", ratio=0.5), SparsitySettings("proximal", strength=3.0)):
        net, _ = trained(settings)
        assert torch.equal(net.stem.bn.weight == 0, net.branch.bn.weight == 0)
        assert (net.stem.bn.weight == 0).any()


def test_targeted_training_only_looks_at_first_and_is_done_before_the_end():
    settings = SparsitySettings("targeted", ratio=0.5)
    torch.manual_seed(0)
    net = Net().train()
    sparsifier = Sparsifier(net, trace(net), settings)
    learner = torch.optim.SGD(net.parameters(), lr=0.0)
    sparsifier.attach(learner)
    zero_after = {}
    for progress in np.linspace(0.02, 1, 50):
        sparsifier.progress = float(progress)
        learner.zero_grad()
        net(torch.randn(2, 3, 8, 8)).square().mean().backward()
        learner.step()
        zero_after[float(progress)] = float((gammas(net) == 0).float().mean()), float(gammas(net).min())
    assert all(smallest == 1 for progress, (_, smallest) in zero_after.items() if progress < LOOK_SHARE - 1e-9)
    assert all(zero > 0.4 for progress, (zero, _) in zero_after.items() if progress >= SHRINK_END)
    halfway = [smallest for progress, (_, smallest) in zero_after.items() if 0.3 < progress < 0.4]
    assert all(0.1 < smallest < 0.9 for smallest in halfway), "the way to zero is smooth"


def test_proximal_training_reaches_exact_zero_where_the_classic_penalty_does_not():
    proximal, _ = trained(SparsitySettings("proximal", strength=2.0))
    classic, _ = trained(SparsitySettings("classic", strength=2.0))
    assert (gammas(proximal) == 0).any()
    assert not (gammas(classic) == 0).any()
    dense, _ = trained(None)
    assert gammas(classic).abs().mean() < gammas(dense).abs().mean()


def test_the_classic_penalty_is_the_subgradient_of_the_l1_norm():
    torch.manual_seed(0)
    net = Net().train()
    with torch.no_grad():
        net.stem.bn.weight.copy_(torch.linspace(-1, 1, 12))
    sparsifier = Sparsifier(net, trace(net), SparsitySettings("classic", strength=0.25))
    learner = torch.optim.SGD(net.parameters(), lr=1.0)
    sparsifier.attach(learner)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = net.stem.bn.weight.detach().clone()
    learner.step()
    assert torch.allclose(net.stem.bn.weight.detach(), before - 0.25 * before.sign())


def test_an_average_of_the_model_gets_the_zeros_that_the_model_has():
    net, sparsifier = trained(SparsitySettings("targeted", ratio=0.5))
    average = Net()
    sparsifier.carry_zeros(average)
    assert torch.equal(gammas(average) == 0, gammas(net) == 0)


def test_a_detached_sparsifier_leaves_training_alone():
    dense, _ = trained(None)
    torch.manual_seed(0)
    net = Net().train()
    sparsifier = Sparsifier(net, trace(net), SparsitySettings("proximal", strength=3.0))
    learner = torch.optim.SGD(net.parameters(), lr=0.01)
    sparsifier.attach(learner)
    sparsifier.detach()
    images, wanted = torch.randn(4, 3, 12, 12), torch.randn(4, 2, 12, 12)
    for _ in range(STEPS):
        learner.zero_grad()
        (net(images) - wanted).square().mean().backward()
        learner.step()
    assert torch.equal(gammas(net), gammas(dense))


def test_schedules_start_at_the_strength_and_end_at_a_tenth_of_it():
    for schedule in ("linear", "cosine"):
        settings = SparsitySettings("classic", strength=0.2, schedule=schedule)
        assert settings.strength_at(0) == pytest.approx(0.2)
        assert settings.strength_at(1) == pytest.approx(0.02)
        assert settings.strength_at(0.3) > settings.strength_at(0.7)
    assert SparsitySettings("classic", strength=0.2).strength_at(0.9) == 0.2


@pytest.mark.parametrize(
    "wrong", [{"method": "lasso"}, {"schedule": "step"}, {"ratio": 0.0}, {"ratio": 0.99}, {"strength": -1.0}]
)
def test_wrong_settings_are_refused_in_one_sentence(wrong):
    with pytest.raises(TrainingError) as refusal:
        SparsitySettings(**wrong)
    assert "\n" not in str(refusal.value)


def test_a_budget_is_met_by_pruning_exactly_what_is_zero_and_prefers_what_saves_much():
    torch.manual_seed(0)
    net = Net()
    graph, costs = trace(net), CostModel(trace(net), net, 12)
    budget = Budget(params=costs.before.params * 6 // 10, gflops=costs.before.gflops * 0.7)
    net, sparsifier = trained(SparsitySettings("targeted", budget=budget, budget_imgsz=12))
    zero = np.concatenate([block.bn.weight.detach().numpy() == 0 for block in (net.stem, net.branch, net.tail)])
    keep = np.ones(graph.group_count, dtype=bool)
    keep[np.concatenate([layer.groups for layer in graph.layers])[zero]] = False
    assert zero.any() and budget.met_by(costs.cost(keep))
    assert sparsifier.statistics()["free_ratio"] > 0


def test_a_budget_prefers_channels_that_save_much_for_what_they_are_worth():
    net = Net()
    graph, before = trace(net), CostModel(trace(net), net, 12).before
    settings = SparsitySettings("targeted", budget=Budget(params=before.params * 3 // 4), budget_imgsz=12)
    sparsifier = Sparsifier(net, graph, settings)
    scores = torch.ones(graph.group_count)
    # The tied channels of stem and branch are worth twice as much, and save more than three times as many parameters.
    scores[torch.from_numpy(graph.layers[0].groups)] = 2
    sparsifier.load_state_dict(sparsifier.state_dict() | {"scores": scores, "steps_seen": torch.tensor(1)})
    sparsifier.progress = LOOK_SHARE
    learner = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier.attach(learner)
    learner.step()
    stem, branch, tail = sparsifier.state_dict()["targets"].split([12, 12, 16])
    assert stem.any() and torch.equal(stem, branch) and not tail.any()


def test_what_is_told_of_gammas_after_an_epoch_is_what_they_are():
    net = Ends()
    with torch.no_grad():
        net.stem.bn.weight[:5] = torch.tensor([0.0, 0.0, 0.005, -0.005, 0.5])
        net.last.bn.weight.zero_()
    told = Sparsifier(net, trace(net), SparsitySettings()).statistics()
    assert (told["zero"], told["below_1e-2"]) == (6 / 16, 8 / 16)
    assert told["free_ratio"] == 2 / 12, "of the channels that can be pruned"
    assert (told["p10"], told["median"], told["p90"]) == pytest.approx((0.0, 0.2525, 1.0))


def test_a_budget_that_cannot_be_met_is_refused_before_training():
    net = Net()
    with pytest.raises(PlanError, match="smallest model"):
        Sparsifier(net, trace(net), SparsitySettings(budget=Budget(params=1), budget_imgsz=12))


def test_a_saved_state_goes_on_with_the_same_channels_and_refuses_another_model():
    _, sparsifier = trained(SparsitySettings("targeted", ratio=0.5), steps=STEPS)
    net = Net()
    other = Sparsifier(net, trace(net), SparsitySettings("targeted", ratio=0.5))
    other.load_state_dict(sparsifier.state_dict())
    for name, tensor in sparsifier.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    for part in ({"scores": torch.zeros(3)}, {"targets": torch.ones(3, dtype=torch.bool)}):
        with pytest.raises(TrainingError, match="another model"):
            other.load_state_dict(sparsifier.state_dict() | part)
