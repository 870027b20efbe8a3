"""Models for tests: real Ultralytics networks with seeded weights and BatchNorm statistics that are not trivial."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.base.runtime import import_ultralytics
from engine.checkpoints.inputs import image_channels
from engine.pruning.graph import ChannelGraph, trace
from engine.pruning.solver import SolverSettings, rank, solve
from engine.pruning.surgery import prune_model

ultralytics = import_ultralytics()

ROOT = Path(__file__).resolve().parents[1]
TOLERANCE = 1e-4
"Largest difference between pruned and masked, relative to the largest value of the tensor."


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every BatchNorm gammas in 0.05..1, betas in -0.5..0.5 and statistics of its own, and return the model.

    Fresh networks have gamma 1 and beta 0 everywhere, which would hide a channel that is cut in the wrong place. The
    generator is the test's own, so the result does not depend on what else ran.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.weight is not None:
                module.weight.data.uniform_(0.05, 1, generator=generator)
                module.bias.data.uniform_(-0.5, 0.5, generator=generator)
            module.running_mean.uniform_(-0.1, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


def make(name: str) -> nn.Module:
    """Return a seeded model from the YAML file ``name``.yaml that Ultralytics ships (with a scale: ``yolov8n``)."""
    torch.manual_seed(0)
    loader = ultralytics.RTDETR if "rtdetr" in name else ultralytics.YOLO
    return randomise(loader(f"{name}.yaml").model.eval())


_built = cache(make)


def build(name: str = "yolov8n") -> nn.Module:
    """Return a copy of ``make(name)``, which is kept: for models that many tests use."""
    return copy.deepcopy(_built(name))


@cache
def graph_of(name: str = "yolov8n") -> ChannelGraph:
    """Return the channel graph of ``build(name)``, traced once."""
    return trace(_built(name))


def write_checkpoint(model: nn.Module, path: Path, **content: Any) -> Path:
    """Write a model as Ultralytics writes it at the end of a training, and return the path."""
    stored = copy.deepcopy(model).half()
    train_args = {"imgsz": 320, "task": "detect", "data": "coco8.yaml", "epochs": 1, "batch": 2}
    defaults = {"epoch": -1, "best_fitness": 0.5, "ema": None, "updates": None, "optimizer": None}
    defaults |= {"train_args": train_args, "date": "2025-01-01T00:00:00", "version": ultralytics.__version__}
    torch.save({**defaults, "model": stored, **content}, path)
    return path


def shared_checkpoint_path(name: str) -> Path | None:
    """Return a really trained checkpoint that lies beside the repository, None where there is none."""
    path = ROOT.parent / "shared" / "checkpoints" / f"{name.removesuffix('.pt')}.pt"
    return path if path.is_file() else None


def image(model: nn.Module, height: int = 64, width: int | None = None, batch: int = 1) -> Tensor:
    """Return a seeded random image, shape (batch, channels, height, width), with the channels that a model takes."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, image_channels(model), height, width or height, generator=generator)


@torch.no_grad()
def mask_model(model: nn.Module, graph: ChannelGraph, keep: np.ndarray) -> nn.Module:
    """Return a copy of full size in which gamma and beta of the removed channels are zero.

    This is what pruning is held to: the pruned model computes the same.
    """
    masked = copy.deepcopy(model)
    for layer in graph.layers:
        removed = torch.from_numpy(~keep[layer.groups])
        norm = masked.get_submodule(layer.name)
        norm.weight[removed] = 0
        norm.bias[removed] = 0
    return masked


def silence(model: nn.Module, graph: ChannelGraph, keep: np.ndarray, gamma: float = 0.0) -> nn.Module:
    """Set the gammas of all removed channels, which makes each of them the constant act(beta), and return the model."""
    for layer in graph.layers:
        model.get_submodule(layer.name).weight.data[torch.from_numpy(~keep[layer.groups])] = gamma
    return model


def random_keep(graph: ChannelGraph, ratio: float, seed: int = 0, **settings: Any) -> np.ndarray:
    """Return the (G,) keep mask of a plan made from random scores."""
    scores = np.random.default_rng(seed).random(graph.group_count)
    return solve(rank(graph, scores, SolverSettings(**settings)), ratio).keep


def run(model: nn.Module, inputs: Tensor) -> Any:
    """Return everything a model puts out, from the same random state every time (some heads draw numbers)."""
    torch.manual_seed(0)
    with torch.no_grad():
        return model(inputs)


def named_tensors(value: Any, name: str = "output") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor inside nested lists and dicts with the way to it."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from named_tensors(item, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from named_tensors(item, f"{name}[{index}]")


def _alive(maps: Tensor) -> Tensor:
    """Return (B, C, H, W) maps without the channels that are zero everywhere."""
    return maps[:, maps.abs().amax(dim=(0, 2, 3)) > 0]


def assert_same_outputs(pruned: Any, masked: Any, tolerance: float = TOLERANCE) -> None:
    """Compare every tensor of two outputs.

    Feature maps that a head hands on for its loss are narrower in the pruned model: the channels missing there must
    be zero in the masked one and the others equal. Channels that are zero in both say nothing about that.
    """
    first, second = dict(named_tensors(pruned)), dict(named_tensors(masked))
    assert first.keys() == second.keys() and first
    for name, tensor in first.items():
        expected = second[name]
        if tensor.shape != expected.shape:
            assert ".feats[" in name, f"{name} changed its shape from {expected.shape} to {tensor.shape}"
            tensor, expected = _alive(tensor), _alive(expected)
        assert tensor.shape == expected.shape, name
        assert torch.isfinite(tensor).all(), name
        scale = float(expected.abs().max()) if expected.numel() else 1.0
        difference = float((tensor.double() - expected.double()).abs().max()) if expected.numel() else 0.0
        assert difference <= tolerance * scale + 1e-12, f"{name} differs by {difference / scale:.1e} of its magnitude"


def assert_pruned_equals_masked(
    model: nn.Module, graph: ChannelGraph, keep: np.ndarray, inputs: Tensor, tolerance: float = TOLERANCE
) -> nn.Module:
    """Prune and mask by the same plan, hold their outputs against one another, and return the pruned model."""
    pruned = prune_model(model, graph, keep)
    masked = mask_model(model, graph, keep)
    assert_same_outputs(run(pruned, inputs), run(masked, inputs), tolerance)
    return pruned


def check_every_plan(model: nn.Module, graph: ChannelGraph, inputs: Tensor, calls: Callable[..., Any] = run) -> None:
    """Hold pruned against masked for random plans from gentle to the hardest one possible with a floor of one."""
    for seed, ratio in enumerate((0.1, 0.3, 0.5, 0.7, 0.95)):
        keep = random_keep(graph, ratio, seed, floor=1)
        assert_same_outputs(
            calls(prune_model(model, graph, keep), inputs), calls(mask_model(model, graph, keep), inputs)
        )
