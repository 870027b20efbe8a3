"""Random small networks: pruned equals masked, and the cost of a plan is the size of the model that it makes."""

import thop
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from ultralytics.nn.modules import SPPF, C2f, C3k2, Focus
from ultralytics.utils.torch_utils import get_flops, get_num_params

from engine.checkpoints.inputs import image_channels
from engine.pruning.cost import CostModel
from engine.pruning.graph import trace
from engine.pruning.surgery import prune_model
from tests.models import assert_pruned_equals_masked, image, mask_model, random_keep, randomise, run
from tests.nets import block, head

SIZE = (32, 64)
WIDTHS = st.sampled_from([4, 6, 8, 12])
STOCK = st.sampled_from([C2f, C3k2, SPPF])
IMAGES = st.sampled_from([1, 3, 4, 7])


class Residual(nn.Module):
    """x + conv(conv(x))."""

    def __init__(self, channels, hidden):
        super().__init__()
        self.channels = channels
        self.first, self.second = block(channels, hidden, 1), block(hidden, channels)

    def forward(self, x):
        return x + self.second(self.first(x))


class Dense(nn.Module):
    """cat([x, conv(x)])."""

    def __init__(self, channels, added):
        super().__init__()
        self.channels = channels + added
        self.conv = block(channels, added)

    def forward(self, x):
        return torch.cat([x, self.conv(x)], 1)


class Halves(nn.Module):
    """Equal pieces after a chunk, one of which is convolved and added to the other."""

    def __init__(self, channels, pieces, add):
        super().__init__()
        self.channels, self.pieces, self.add = channels, pieces, add
        self.conv = block(channels // pieces, channels // pieces)

    def forward(self, x):
        first, *others, last = x.chunk(self.pieces, 1)
        convolved = self.conv(last)
        return torch.cat([convolved + first if self.add else convolved, *others, first], 1)


class Depthwise(nn.Module):
    """A depthwise convolution with its own norm, widening each channel or not."""

    def __init__(self, channels, multiplier):
        super().__init__()
        self.channels = channels * multiplier
        self.conv = block(channels, self.channels, 3, g=channels)

    def forward(self, x):
        return self.conv(x)


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels, hidden):
        super().__init__()
        self.channels = channels
        self.reduce, self.expand = block(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        return x * self.expand(self.reduce(F.adaptive_avg_pool2d(x, 1))).sigmoid()


class Resampled(nn.Module):
    """Down and up again, added to or joined with what was there."""

    def __init__(self, channels, add):
        super().__init__()
        self.channels, self.add = channels if add else 2 * channels, add

    def forward(self, x):
        y = F.interpolate(F.max_pool2d(x, 3, 2, 1), scale_factor=2.0)
        return x + y if self.add else torch.cat([x, y], 1)


class Preactivated(nn.Module):
    """Raw convolutions added up, normalised afterwards."""

    def __init__(self, channels, width):
        super().__init__()
        self.channels = width
        self.left, self.right = nn.Conv2d(channels, width, 1), nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x):
        return F.silu(self.bn(self.left(x) + self.right(x)))


class Stock(nn.Module):
    """One of Ultralytics' own blocks."""

    def __init__(self, kind, channels, width, shortcut):
        super().__init__()
        self.channels = width
        self.block = SPPF(channels, width) if kind is SPPF else kind(channels, width, 1, shortcut=shortcut)

    def forward(self, x):
        return self.block(x)


class Rearranged(nn.Module):
    """A stem that moves the image's pixels, or a part of them, into channels before its first convolution."""

    def __init__(self, kind, channels, width):
        super().__init__()
        self.kind = kind
        grown = {"unshuffled": 4, "sliced": 4, "reshaped": 4, "doubled": 2, "placed": 1}[kind] * channels
        self.conv = block(grown + 2 * (kind == "placed"), width)

    def forward(self, x):
        b, c, h, w = x.shape
        if self.kind == "unshuffled":
            x = F.pixel_unshuffle(x, 2)
        elif self.kind == "sliced":
            x = torch.cat([x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)], 1)
        elif self.kind == "reshaped":
            x = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(b, 4 * c, h // 2, w // 2)
        elif self.kind == "doubled":
            x = torch.cat([x, F.avg_pool2d(x, 3, 1, 1)], 1)
        else:  # where a pixel lies, beside what it shows
            x = torch.cat([x, x.new_ones(b, 1, h, w).cumsum(2), x.new_ones(b, 1, h, w).cumsum(3)], 1)
        return self.conv(x)


class Chain(nn.Module):
    """A stem, blocks, and a head; the head may read what some earlier blocks made, too."""

    def __init__(self, stem, blocks, tapped):
        super().__init__()
        self.stem, self.blocks, self.tapped = stem, nn.ModuleList(blocks), tapped
        widths = [part.channels for part in blocks]
        self.head = head(sum(widths[index] for index in tapped) + widths[-1])

    def forward(self, x):
        maps = [self.stem(x)]
        for part in self.blocks:
            maps.append(part(maps[-1]))
        return self.head(torch.cat([*(maps[index + 1] for index in self.tapped), maps[-1]], 1))


class Plain(nn.Module):
    def __init__(self, channels, width, act):
        super().__init__()
        self.channels = width
        self.conv = block(channels, width, act=act)

    def forward(self, x):
        return self.conv(x)


@st.composite
def chains(draw):
    """Draw a network in evaluation mode with random weights."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    channels, taken = draw(WIDTHS), draw(IMAGES)
    stem, blocks = _STEMS[draw(st.sampled_from([*_STEMS]))](draw, taken, channels), []
    for kind in draw(st.lists(st.sampled_from([*_KINDS]), min_size=1, max_size=6)):
        blocks.append(_KINDS[kind](draw, channels))
        channels = blocks[-1].channels
    tapped = draw(st.lists(st.integers(0, len(blocks) - 1), unique=True, max_size=2))
    model = randomise(Chain(stem, blocks, tapped), draw(st.integers(0, 1000))).eval()
    model.taken = taken
    if draw(st.booleans()):
        model.yaml = {draw(st.sampled_from(["channels", "ch"])): taken}
    return model


_STEMS = {
    "plain": lambda draw, c, width: block(c, width, s=draw(st.sampled_from([1, 2]))),
    "focus": lambda draw, c, width: Focus(c, width, draw(st.sampled_from([1, 3]))),
    **{
        kind: lambda draw, c, width, kind=kind: Rearranged(kind, c, width)
        for kind in ("unshuffled", "sliced", "reshaped", "doubled", "placed")
    },
}
_KINDS = {
    "plain": lambda draw, c: Plain(c, draw(WIDTHS), draw(st.sampled_from([nn.SiLU(), nn.ReLU(), nn.Sigmoid(), False]))),
    "residual": lambda draw, c: Residual(c, draw(WIDTHS)),
    "dense": lambda draw, c: Dense(c, draw(WIDTHS)),
    "halves": lambda draw, c: Halves(c, draw(st.sampled_from([2] if c % 4 else [2, 4])), draw(st.booleans())),
    "depthwise": lambda draw, c: Depthwise(c, draw(st.sampled_from([1, 1, 2]))),
    "gate": lambda draw, c: Gate(c, draw(WIDTHS)),
    "resampled": lambda draw, c: Resampled(c, draw(st.booleans())),
    "preactivated": lambda draw, c: Preactivated(c, draw(WIDTHS)),
    "stock": lambda draw, c: Stock(draw(STOCK), c, draw(st.sampled_from([8, 12])), draw(st.booleans())),
}

ROUNDS = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@ROUNDS
@given(model=chains(), ratio=st.floats(0, 0.95), seed=st.integers(0, 1000), floor=st.integers(1, 5))
def test_pruned_equals_masked_and_the_preview_is_exact(model, ratio, seed, floor):
    graph = trace(model)
    if not graph.prunable_channels:
        return
    keep = random_keep(graph, ratio, seed, floor=floor)
    images = torch.rand(1, model.taken, *SIZE, generator=torch.Generator().manual_seed(1))
    pruned = assert_pruned_equals_masked(model, graph, keep, images)
    cost = CostModel(graph, model, SIZE).cost(keep)
    assert cost.params == get_num_params(pruned)
    assert cost.gflops == reported_flops(pruned)


def reported_flops(model):
    """Return Ultralytics' count, or thop's where Ultralytics takes the first weight's inputs for the image's."""
    if next(model.parameters()).shape[1] == model.taken:
        return get_flops(model, list(SIZE))
    return thop.profile(model, inputs=[torch.empty(1, model.taken, *SIZE)], verbose=False)[0] / 1e9 * 2


@ROUNDS
@given(model=chains())
def test_the_channels_of_the_images_are_known_whatever_the_stem_does_with_them(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert image_channels(model) == model.taken
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@ROUNDS
@given(model=chains(), seed=st.integers(0, 1000))
def test_pruning_twice_equals_masking_the_pruned_model(model, seed):
    graph = trace(model)
    if not graph.prunable_channels:
        return
    once = prune_model(model, graph, random_keep(graph, 0.4, seed, floor=1))
    again = trace(once)
    if again.prunable_channels:
        keep = random_keep(again, 0.4, seed + 1, floor=1)
        assert_pruned_equals_masked(once, again, keep, image(once, *SIZE))


@ROUNDS
@given(model=chains(), seed=st.integers(0, 1000))
def test_masking_is_done_by_the_removed_channels_alone(model, seed):
    graph = trace(model)
    if not graph.prunable_channels:
        return
    keep = random_keep(graph, 0.5, seed)
    masked = mask_model(model, graph, keep)
    for layer in graph.layers:
        norm, original = masked.get_submodule(layer.name), model.get_submodule(layer.name)
        assert torch.equal(norm.weight != 0, torch.from_numpy(keep[layer.groups]) & (original.weight != 0))
    assert all(torch.isfinite(tensor).all() for tensor in [run(masked, image(model, *SIZE))])
