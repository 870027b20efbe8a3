"""Whatever a forward pass does with a feature map, the pruned network computes what the masked one computes.

Each case is code that a block could contain. The trace may follow it or freeze what goes in; it may not get it wrong.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from engine.pruning.graph import trace
from tests.models import check_every_plan, image
from tests.nets import block, head, net, prunable, reason


def _filled(y):
    out = y.new_zeros(y.shape)
    out[:, :, ::2] = y[:, :, ::2]
    return out


def _filled_at_fixed_size(y):
    out = y.new_zeros(2, 8, 16, 24)
    out[:, :, :, 1:] = y[:, :, :, 1:]
    return out


def _gram(y):
    tokens = y.flatten(2)
    return (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens


def _attention_scaled_by_width(y):
    tokens = y.flatten(2).transpose(1, 2)
    weights = (tokens @ tokens.transpose(1, 2) * tokens.shape[-1] ** -0.5).softmax(-1)
    return (weights @ tokens).transpose(1, 2).reshape(y.shape)


CASES = {
    "activations that keep zero": lambda y: F.leaky_relu(F.hardswish(F.mish(F.elu(F.gelu(torch.tanh(y)))))),
    "activations that move zero": lambda y: F.softplus(y).cos() + y.exp() + y.clamp(min=0.1),
    "one minus": lambda y: 1 - y,
    "plus a number": lambda y: y + 3,
    "times a number": lambda y: 2 * y / 3,
    "a number divided by it": lambda y: 1 / (y.abs() + 1),
    "power": lambda y: y**2,
    "power of zero": lambda y: y**0,
    "comparison": lambda y: (y > 0).float() * y,
    "where": lambda y: torch.where(y > 0, y, -0.1 * y + 0.2),
    "maximum": lambda y: torch.maximum(y, y.flip(3)),
    "maximum with a number tensor": lambda y: torch.maximum(y, torch.tensor(0.3)),
    "fixed scale for each channel": lambda y: y * torch.arange(1.0, 9.0, device=y.device).view(1, 8, 1, 1),
    "fixed map for all channels": lambda y: y * torch.linspace(0, 1, 24, device=y.device),
    "softmax over channels": lambda y: y.softmax(1),
    "softmax over positions": lambda y: y.flatten(2).softmax(2).view(y.shape),
    "normalised over channels": lambda y: F.normalize(y, dim=1),
    "layer norm": lambda y: F.layer_norm(y, y.shape[1:]),
    "group norm": lambda y: F.group_norm(y, 2),
    "instance norm": lambda y: F.instance_norm(y),
    "sum over channels": lambda y: y * y.sum(1, keepdim=True),
    "largest channel": lambda y: y * y.amax(1, keepdim=True) + y.max(dim=1, keepdim=True)[0],
    "mean over everything": lambda y: y * y.mean(),
    "sorted": lambda y: y.sort(1)[0],
    "top channels": lambda y: torch.cat([y.topk(4, 1)[0], y[:, :4]], 1),
    "flipped channels": lambda y: y.flip(1),
    "rolled channels": lambda y: torch.roll(y, 1, 1),
    "rolled positions": lambda y: torch.roll(y, 1, 3),
    "repeated channels, then the first": lambda y: torch.cat([y, y], 1)[:, :8],
    "repeated channels, then every second": lambda y: y.repeat_interleave(2, 1)[:, ::2],
    "tiled channels, then the last": lambda y: y.repeat(1, 2, 1, 1)[:, 8:],
    "channel shuffle": lambda y: F.channel_shuffle(y, 2),
    "pixel shuffle and back": lambda y: F.pixel_unshuffle(F.pixel_shuffle(y, 2), 2),
    "pixel unshuffle, then shuffle": lambda y: F.pixel_shuffle(F.pixel_unshuffle(y, 2), 2),
    "expanded to a fixed size": lambda y: y[:, :, :1].expand(2, 8, 16, 24),
    "expanded like itself": lambda y: y.mean(2, keepdim=True).expand_as(y),
    "all channels by number": lambda y: y.narrow(1, 0, 8),
    "a permutation by number": lambda y: y[:, [7, 6, 5, 4, 3, 2, 1, 0]],
    "a permutation by tensor": lambda y: y[:, torch.arange(7, -1, -1, device=y.device)],
    "index select": lambda y: torch.index_select(y, 1, torch.arange(7, -1, -1, device=y.device)),
    "gathered": lambda y: torch.gather(y, 1, torch.zeros(y.shape, dtype=torch.int64, device=y.device)),
    "unbound": lambda y: torch.stack(y.unbind(1)[::-1], 1),
    "tensor split": lambda y: torch.cat(torch.tensor_split(y, 2, 1)[::-1], 1),
    "split in equal parts": lambda y: torch.cat(y.split(4, 1)[::-1], 1),
    "chunks swapped": lambda y: torch.cat(y.chunk(2, 1)[::-1], 1),
    "chunks multiplied": lambda y: torch.cat([y.chunk(2, 1)[0] * y.chunk(2, 1)[1]] * 2, 1),
    "four chunks of two": lambda y: torch.cat(torch.cat(y.chunk(2, 1)[::-1], 1).chunk(4, 1)[::-1], 1),
    "chunks along positions": lambda y: torch.cat(y.chunk(2, 2)[::-1], 2),
    "gated linear unit": lambda y: torch.cat([F.glu(y, 1)] * 2, 1),
    "written into zeros": _filled,
    "written into zeros of a fixed size": _filled_at_fixed_size,
    "half from width": lambda y: torch.cat([y[:, : y.shape[1] // 2], y[:, y.shape[1] // 2 :]], 1),
    "scaled by width": lambda y: y * y.shape[1] ** -0.5,
    "divided by width": lambda y: y / y.size(1),
    "mean by hand": lambda y: y * (y.sum(1, keepdim=True) / y.shape[1]),
    "shape and back": lambda y: y.view(y.shape[0], y.shape[1], -1).view(y.shape),
    "minus one as channels": lambda y: y.flatten(2).reshape(2, -1, 16, 24),
    "unflattened": lambda y: y.unflatten(1, (2, 4)).flatten(1, 2),
    "permuted to tokens and back": lambda y: y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "einsum": lambda y: torch.einsum("bchw,bdhw->bchw", y, y),
    "gram attention": lambda y: _gram(y).view(y.shape),
    "attention scaled by width": _attention_scaled_by_width,
    "padded with zeros": lambda y: F.max_pool2d(F.pad(y, (1, 1, 1, 1)), 3, 1),
    "padded with ones": lambda y: F.max_pool2d(F.pad(y, (1, 1, 1, 1), value=1.0), 3, 1),
    "padded by reflection": lambda y: F.avg_pool2d(F.pad(y, (1, 1, 1, 1), mode="reflect"), 3, 1),
    "padded along channels": lambda y: F.pad(y, (0, 0, 0, 0, 1, 0))[:, :8],
    "unfolded": lambda y: F.fold(F.unfold(y, 2, stride=2), (16, 24), 2, stride=2),
    "grid sample": lambda y: F.grid_sample(y, y.new_zeros(2, 16, 24, 2), align_corners=False),
    "cumulative sum": lambda y: y.cumsum(1),
    "dropout": lambda y: F.dropout2d(y, 0.5, training=False),
    "cast": lambda y: y.double().float(),
    "a list comprehension over channels": lambda y: torch.stack([c * (i + 1) for i, c in enumerate(y.unbind(1))], 1),
    "iterated": lambda y: torch.stack(list(y), 0),
    "added by keyword": lambda y: torch.add(y, other=y.relu()),
    "halves by keyword": lambda y: torch.cat(torch.chunk(input=y, chunks=2, dim=1)[::-1], 1),
    "mean by keyword": lambda y: y * torch.mean(input=y, dim=(2, 3), keepdim=True),
    "both by keyword": lambda y: torch.mul(input=y, other=y.relu()),
    "sigmoid by keyword": lambda y: torch.sigmoid(input=y),
    "in place": lambda y: y.mul_(2).add_(y).relu_(),
}


@pytest.mark.parametrize("name", CASES)
def test_pruned_equals_masked_after(name):
    def flow(m, x):
        return m.head(m.b(CASES[name](F.interpolate(m.a(m.stem(x)), (16, 24)))))

    model = net(flow, stem=block(3, 8), a=block(8, 8), b=block(8, 8), head=head(8))
    graph = trace(model)
    assert prunable(graph)["stem"] == 8 and prunable(graph)["b"] == 8
    check_every_plan(model, graph, image(model, 16, 24, batch=2))


def _by_hand(y):
    total = 0.0
    for index in range(y.shape[1]):
        total += index
    return y * total


COUNTED = {
    "compared": lambda y: 2 * y if y.shape[1] > 6 else y,
    "compared by size": lambda y: 2 * y if y.size(1) == 8 else y,
    "compared from the other side": lambda y: 2 * y if 6 <= y.shape[-3] else y,
    "compared as a whole shape": lambda y: 2 * y if y.shape == (2, 8, 16, 24) else y,
    "compared as a list": lambda y: 2 * y if list(y.shape) != [2, 8, 16, 24] else y,
    "looked up": lambda y: {8: 2, 7: 3}.get(y.shape[1], 5) * y,
    "looked up in a set": lambda y: 2 * y if y.shape[1] in {8} else y,
    "taken as an int": lambda y: int(y.shape[1]) * y,
    "taken as a float": lambda y: float(y.shape[1]) * y,
    "taken as a truth": lambda y: (2 if y.shape[1] - 8 else 3) * y,
    "taken as text": lambda y: len("x" * int(f"{y.shape[1]}")) * y,
    "taken as old text": lambda y: float(f"{y.shape[1]:d}") * y,
    "taken as an index": lambda y: list(range(20))[y.shape[1]] * y,
    "asked for its kind": lambda y: (y.shape[1] if isinstance(y.shape[1], int) else 100) * y,
    "picked from a table": lambda y: y * torch.linspace(0.5, 2, 16, device=y.device)[y.shape[1]],
    "cut from a table": lambda y: y * torch.linspace(0.5, 2, 16, device=y.device)[: y.shape[1]].mean(),
    "len of an image": lambda y: len(y[0]) * y,
    "len of a transposed map": lambda y: len(y.transpose(0, 1)) * y,
    "len of channels": lambda y: len(y.unbind(1)) * y,
    "counted in a range": _by_hand,
    "as many items": lambda y: sum([2] * y.shape[1]) * y,
    "largest of two": lambda y: max(y.shape[1], 6) * y,
    "rounded": lambda y: round(y.shape[1], -1) * y,
    "absolute": lambda y: abs(y.shape[1]) * y,
    "negated": lambda y: -y.shape[1] * y,
    "to a power of it": lambda y: (1.1 ** y.shape[1] + y.shape[1] ** 0.5) * y,
    "to a power with a modulus": lambda y: (pow(y.shape[1], 2, 7) + pow(3, y.shape[1], 7)) * y,
    "divided with rest": lambda y: divmod(y.shape[1], 3)[1] * y,
    "shifted": lambda y: (y.shape[1] << 1) * y,
    "masked by bits": lambda y: (y.shape[1] & 5) * y,
    "square root": lambda y: math.sqrt(y.shape[1]) * y,
    "logarithm": lambda y: math.log(y.shape[1]) * y,
    "whole square root": lambda y: math.isqrt(y.shape[1]) * y,
    "common divisor": lambda y: math.gcd(y.shape[1], 6) * y,
    "floor and ceiling": lambda y: (math.floor(y.shape[1]) + math.ceil(y.shape[1]) + math.trunc(y.shape[1])) * y,
    "product of the shape": lambda y: math.prod(y.shape[1:]) * y / 1000,
    "sum of the shape": lambda y: sum(y.shape) * y / 100,
    "numbers of a shape": lambda y: y.shape.numel() * y / 1000,
    "numbers of a part of a shape": lambda y: y.shape[1:3].numel() * y / 100,
    "elements": lambda y: y.nelement() * y / 1000,
    "bytes": lambda y: y.nbytes * y / 1000,
    "stride": lambda y: y.contiguous().stride(0) * y / 1000,
    "in numpy": lambda y: float(np.sqrt(y.shape[1])) * y,
    "made ones and summed": lambda y: y * torch.ones(y.shape[1], device=y.device).sum(),
    "made ones like it and summed": lambda y: y * y.new_ones(y.shape).sum() / 1000,
    "ones like it": lambda y: y * torch.ones_like(y).sum() / 1000,
    "ones like it, joined": lambda y: torch.cat([y, torch.ones_like(y)], 2).mean((2, 3), keepdim=True),
    "zeros like it, joined": lambda y: torch.cat([y, torch.zeros_like(y)], 2).mean((2, 3), keepdim=True),
    "made a tensor": lambda y: y * torch.tensor(y.shape[1], device=y.device),
    "made a range": lambda y: y * torch.arange(y.shape[1], device=y.device).float().mean(),
    "made a size": lambda y: y * len(torch.empty(torch.Size([y.shape[1]]), device=y.device)),
}


@pytest.mark.parametrize("name", COUNTED)
def test_a_channel_that_is_counted_is_kept(name):
    model = net(
        lambda m, x: m.head(m.b(COUNTED[name](F.interpolate(m.a(m.stem(x)), (16, 24))))),
        stem=block(3, 8), a=block(8, 8), b=block(8, 8), head=head(8),
    )  # fmt: skip
    graph = trace(model)
    assert prunable(graph)["stem"] == 8 and prunable(graph)["b"] == 8
    if "joined" not in name:
        assert prunable(graph)["a"] == 0 and reason(graph, "a")
    check_every_plan(model, graph, image(model, 16, 24, batch=2))


OF_A_LAYER = {
    "the outputs of a convolution": lambda m, y: y * m.a.conv.out_channels,
    "the inputs of the next": lambda m, y: 2 * y if m.b.conv.in_channels > 6 else y,
    "the features of a BatchNorm": lambda m, y: y * int(m.a.bn.num_features),
    "the rows of a weight": lambda m, y: y * m.a.conv.weight.shape[0] ** -0.5,
    "the columns of the next weight": lambda m, y: y * m.b.conv.weight.size(1) ** -0.5,
    "the len of a gamma": lambda m, y: y * len(m.a.bn.weight),
    "the elements of a gamma": lambda m, y: y * m.a.bn.weight.numel(),
    "the pieces of a gamma": lambda m, y: y * len(m.a.bn.weight.unbind()),
    "all that is stored": lambda m, y: y * sum(value.numel() for value in m.a.bn.state_dict().values()),
}


@pytest.mark.parametrize("name", OF_A_LAYER)
def test_a_channel_that_is_counted_on_a_layer_is_kept(name):
    model = net(
        lambda m, x: m.head(m.b(OF_A_LAYER[name](m, m.a(m.stem(x))))),
        stem=block(3, 8), a=block(8, 8), b=block(8, 8), head=head(8),
    )  # fmt: skip
    graph = trace(model)
    assert prunable(graph) == {"stem": 8, "a": 0, "b": 8}
    check_every_plan(model, graph, image(model, 16, 24, batch=2))


WEIGHTS_READ = {
    "the mean of a weight": lambda m, y: m.fc(y) * m.fc.weight.mean(),
    "the mean of a gamma": lambda m, y: m.fc(y) * m.a.bn.weight.mean(),
    "a weight in another layer": lambda m, y: F.linear(m.fc(y).relu(), m.fc.weight.t()),
    "a weight in a product": lambda m, y: m.fc(y) @ m.fc.weight,
    "a weight that is read first": lambda m, y: F.linear(y.new_ones(1, 5), m.fc.weight.T) + m.fc(y).sum(),
    "the columns of a weight's data": lambda m, y: m.fc(y) * m.fc.weight.data.shape[1],
    "the columns of a detached weight": lambda m, y: m.fc(y) * len(m.fc.weight.detach().t()),
    "the columns of a copied weight": lambda m, y: m.fc(y) * m.fc.weight.float().clone().shape[1],
    "a weight that is standardised": lambda m, y: F.linear(y, m.fc.weight - m.fc.weight.mean(1, keepdim=True)),
}


@pytest.mark.parametrize("name", WEIGHTS_READ)
def test_pruned_equals_masked_where_code_reads_the_weights_of_a_layer(name):
    model = net(
        lambda m, x: WEIGHTS_READ[name](m, m.a(m.stem(x)).mean((2, 3))),
        stem=block(3, 8), a=block(8, 8), fc=nn.Linear(8, 5),
    )  # fmt: skip
    graph = trace(model)
    assert prunable(graph) == {"stem": 8, "a": 0}
    assert reason(graph, "a")
    check_every_plan(model, graph, image(model, 16, 24, batch=2))


SIZED = {
    "back to its own shape": lambda y: y.flatten(2).view(y.shape),
    "sizes one by one": lambda y: y.flatten(2).view(y.size(0), y.size(1), y.shape[2], y.shape[3]),
    "unpacked": lambda y: (lambda b, c, h, w: y.reshape(b, c, h * w).view(b, c, h, w))(*y.shape),
    "expanded like its shape": lambda y: y.mean((2, 3), keepdim=True).expand(y.shape),
    "expanded to its channels": lambda y: y * y.new_ones(1, 1, 1, 1).expand(-1, y.shape[1], -1, -1),
    "compared with itself": lambda y: y if y.shape[1] == y.relu().shape[1] else 2 * y,
    "its shape compared with its own": lambda y: y if y.shape == y.sigmoid().shape else 2 * y,
    "resized by its spatial shape": lambda y: F.interpolate(y, y.shape[2:], mode="nearest"),
    "multiplied by its area": lambda y: y * y.shape[2] * y.shape[-1] / 384,
    "scaled by ones of its own shape": lambda y: y * torch.ones(y.shape, device=y.device),
    "zeros of its own shape": lambda y: y + y.new_zeros(y.shape),
    "len of the batch": lambda y: y * len(y) * len(y.shape) * y.dim() * y.ndim,
}


@pytest.mark.parametrize("name", SIZED)
def test_a_size_that_follows_its_channels_keeps_none(name):
    model = net(
        lambda m, x: m.head(m.b(SIZED[name](m.a(m.stem(x))))),
        stem=block(3, 8), a=block(8, 8), b=block(8, 8), head=head(8),
    )  # fmt: skip
    graph = trace(model)
    assert prunable(graph) == {"stem": 8, "a": 8, "b": 8}
    check_every_plan(model, graph, image(model, 16, 24, batch=2))


TWO_MAPS = {
    "joined along height": lambda a, b: torch.cat([a, b], 2),
    "joined along height and averaged": lambda a, b: torch.cat([a, b], 2).mean((2, 3), keepdim=True),
    "joined along height and pooled": lambda a, b: F.max_pool2d(torch.cat([a, b], 2), 2),
    "stacked and summed": lambda a, b: torch.stack([a, b], 1).sum(1),
    "stacked and interleaved": lambda a, b: torch.stack([a, b], 2).flatten(1, 2)[:, :8],
    "stacked and joined": lambda a, b: torch.stack([a, b], 1).flatten(1, 2).chunk(2, 1)[0],
    "joined along height and flattened": lambda a, b: torch.cat([a, b], 2).flatten(1).view(2, 8, -1, 24),
    "one gates the other": lambda a, b: a * b.sigmoid(),
    "difference": lambda a, b: torch.sub(a, b, alpha=0.5),
    "quotient": lambda a, b: a / (b.abs() + 1),
    "linear interpolation": lambda a, b: torch.lerp(a, b, 0.3),
    "added with a product": lambda a, b: torch.addcmul(a, a, b),
    "added to the mean of the other": lambda a, b: a + b.mean(1, keepdim=True),
    "added to a row of the other": lambda a, b: a + b[:, :, :1],
    "cross attention": lambda a, b: (
        (((a.flatten(2).transpose(1, 2) @ b.flatten(2)).softmax(-1)) @ a.flatten(2).transpose(1, 2))
        .transpose(1, 2)
        .reshape(a.shape)
    ),
    "copied": lambda a, b: torch.empty_like(a).copy_(a) + b,
    "the other's mean picks": lambda a, b: torch.where(b.mean() > 0, a, b),
}


@pytest.mark.parametrize("name", TWO_MAPS)
def test_pruned_equals_masked_after_two_maps_are(name):
    def flow(m, x):
        x = m.stem(x)
        return m.head(m.c(TWO_MAPS[name](m.a(x), m.b(x))))

    modules = {"stem": block(3, 8), "a": block(8, 8), "b": block(8, 8), "c": block(8, 8)}
    model = net(flow, **modules, head=head(8))
    graph = trace(model)
    assert prunable(graph)["stem"] == 8
    check_every_plan(model, graph, image(model, 16, 24, batch=2))


@pytest.mark.parametrize(
    "join",
    [
        lambda a, b: torch.cat([a, b], 2).flatten(1),
        lambda a, b: torch.stack([a, b], 1).flatten(1),
        lambda a, b: torch.stack([a, b], 2).flatten(1),
        lambda a, b: torch.stack([a, b], 4).flatten(1),
        lambda a, b: torch.cat([a, b], 1).flatten(1),
    ],
    ids=["joined along height", "stacked in front", "interleaved", "stacked behind", "joined along channels"],
)
def test_pruned_equals_masked_when_a_linear_layer_reads_two_maps(join):
    def flow(m, x):
        x = m.stem(x)
        return m.fc(join(F.adaptive_avg_pool2d(m.a(x), 2), F.adaptive_max_pool2d(m.b(x), 2)))

    model = net(flow, stem=block(3, 8), a=block(8, 8), b=block(8, 8), fc=nn.Linear(64, 5))
    check_every_plan(model, trace(model), image(model, 16, 24, batch=2))


@pytest.mark.parametrize(
    "layer",
    [
        nn.PReLU(8),
        nn.PReLU(),
        nn.ChannelShuffle(2),
        nn.GroupNorm(2, 8),
        nn.LayerNorm([8, 16, 24]),
        nn.Dropout2d(),
        nn.ConvTranspose2d(8, 8, 3, padding=1),
        nn.ConvTranspose2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
        nn.BatchNorm2d(8, affine=False),
        nn.Sequential(nn.BatchNorm2d(8), nn.BatchNorm2d(8)),
        nn.Upsample((16, 24), mode="bilinear"),
        nn.Hardtanh(0.5, 1),
        nn.Softmax2d(),
    ],
    ids=lambda layer: str(layer).replace("\n", "")[:60],
)
def test_pruned_equals_masked_behind_a(layer):
    model = net(
        lambda m, x: m.head(m.b(m.layer(F.interpolate(m.a(m.stem(x)), (16, 24))))),
        stem=block(3, 8), a=block(8, 8), layer=layer, b=block(8, 8), head=head(8),
    )  # fmt: skip
    graph = trace(model)
    assert prunable(graph)["stem"] == 8
    check_every_plan(model, graph, image(model, 16, 24, batch=2))


class _Scaled(nn.Module):
    """A learned scale for each channel that is no module's weight."""

    def __init__(self):
        super().__init__()
        self.scale, self.offset = nn.Parameter(torch.rand(8)), nn.Parameter(torch.rand(1, 8, 1, 1))

    def forward(self, x):
        return x * self.scale.view(1, -1, 1, 1)


class _Offset(_Scaled):
    def forward(self, x):
        return x + self.offset


class _Unviewed(_Scaled):
    def forward(self, x):
        return x * self.scale[None, :, None, None]


class _Buffered(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.rand(1, 8, 1, 1))

    def forward(self, x):
        return x * self.scale


@pytest.mark.parametrize("kind", [_Scaled, _Offset, _Unviewed, _Buffered])
def test_pruned_equals_masked_with_learned_numbers_of_its_own(kind):
    model = net(
        lambda m, x: m.head(m.b(m.layer(m.a(m.stem(x))))),
        stem=block(3, 8), a=block(8, 8), layer=kind(), b=block(8, 8), head=head(8),
    )  # fmt: skip
    graph = trace(model)
    assert prunable(graph)["stem"] == 8
    check_every_plan(model, graph, image(model, 16, 24, batch=2))


def test_a_norm_that_is_shared_by_the_image_and_a_map_keeps_that_map():
    def flow(m, x):
        return m.head(m.b(torch.cat([m.bn(m.conv(m.stem(x))), m.bn(x)], 1)))

    model = net(
        flow, stem=block(3, 8), conv=nn.Conv2d(8, 3, 1), bn=nn.BatchNorm2d(3), b=block(6, 8), head=head(8)
    )  # fmt: skip
    check_every_plan(model, trace(model), image(model, 16, 24, batch=2))
