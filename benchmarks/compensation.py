"""mAP directly after pruning, without and with compensation, without and with recalibration.

    python benchmarks/compensation.py --weights best.pt --data data.yaml --ratios 0.1 0.3 --silence

Compensation matters where removed channels have a gamma near zero and a beta that is not. ``--silence`` makes that case
from any checkpoint: gamma of the channels that a ratio removes is set to zero first, beta is left, and what the whole
model then scores is what pruning should keep. Targeted sparse training takes beta to zero too, so nothing is left to
fold; a dense checkpoint has no gamma near zero, so nothing is folded.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import engine  # noqa: F401, I001 - decides the environment before PyTorch reads it
import numpy as np
import torch
from torch import nn

from engine.datasets import check_dataset, image_files
from engine.pruning.graph import ChannelGraph
from engine.base.runtime import import_ultralytics, logs_to_stderr


def main() -> None:
    """Measure every combination and print mAP50-95, one line a ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.1, 0.3])
    parser.add_argument("--images", type=int, default=64, help="for recalibration")
    parser.add_argument("--silence", action="store_true", help="set gamma of what will be removed to zero first")
    options = parser.parse_args()
    import_ultralytics()
    from engine.checkpoints.checkpoint import save_checkpoint
    from engine.pruning.session import Slimming
    from engine.validation.validator import validate

    slimming = Slimming.open(options.weights)
    images = image_files(check_dataset(options.data), "train")[: options.images]

    def measured(path: Path) -> float:
        with logs_to_stderr():
            return validate(path, options.data, imgsz=slimming.checkpoint.imgsz).map50_95

    print(f"{'ratio':>6}{'whole':>9}{'cut':>9}{'comp.':>9}{'recal.':>9}{'both':>9}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for ratio in options.ratios:
            whole, pruned = Path(name) / "whole.pt", Path(name) / "pruned.pt"
            model = slimming.checkpoint.model
            if options.silence:
                model = silenced(model, slimming.graph, slimming.plan(ratio).keep)
            save_checkpoint(model, whole, source=slimming.checkpoint, made={})
            opened = Slimming.open(whole)
            values = [measured(whole)]
            for again in ((), images):
                for compensated in (False, True):
                    opened.prune(ratio, pruned, compensated=compensated, recalibration=again)
                    values.append(measured(pruned))
            print(f"{ratio:>6.2f}" + "".join(f"{value:>9.3f}" for value in values), flush=True)


def silenced(model: nn.Module, graph: ChannelGraph, keep: np.ndarray) -> nn.Module:
    """Return a copy in which removed channels have gamma 0 and keep their beta."""
    quiet = copy.deepcopy(model)
    for layer in graph.layers:
        quiet.get_submodule(layer.name).weight.data[torch.from_numpy(~keep[layer.groups])] = 0
    return quiet


if __name__ == "__main__":
    main()
