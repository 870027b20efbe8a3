"""Fine-tune the pruned demo with BatchNorm's momentum of Ultralytics and with ours; print mAP50-95 of every epoch.

``python benchmarks/momentum.py [--seed N]`` takes some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import engine  # noqa: F401, I001 - decides the environment before PyTorch reads it

from engine.base.events import AnyEvent
from engine.base.runtime import logs_to_stderr
from engine.demo.dataset import make_demo_dataset
from engine.demo.shipped import SPARSE
from engine.pruning.session import Slimming
from engine.training import TrainSettings, run_training

RUNS = (
    (0.5, {"epochs": 3, "optimizer": "SGD", "lr0": 0.0005, "nbs": 64}),
    (0.5, {"epochs": 3, "optimizer": "AdamW", "lr0": 0.001, "nbs": 16}),
    (0.7, {"epochs": 6, "optimizer": "AdamW", "lr0": 0.001, "nbs": 16}),
)
"Prune ratio, and how the run trains."
MOMENTA = (0.03, 0.3)


def main() -> None:
    """Print a line for each run: where it starts, and what every epoch measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = make_demo_dataset(folder / "set")
        for number, (ratio, how) in enumerate(RUNS):
            pruned = Slimming.open(SPARSE).prune(ratio, folder / f"pruned-{ratio}.pt")
            for momentum in MOMENTA:
                scores: list[float] = []

                def note(event: AnyEvent, scores: list[float] = scores) -> None:
                    if event["kind"] in ("start", "epoch"):
                        scores.append(event["metrics"]["mAP50-95"])

                settings = TrainSettings(
                    str(pruned),
                    Path(data),
                    folder / f"run-{number}-{momentum}",
                    imgsz=320,
                    cos_lr=True,
                    seed=seed,
                    bn_momentum=momentum,
                    workers=0,
                    **how,
                )
                with logs_to_stderr():
                    run_training(settings, "detect", note)
                told = " ".join(f"{score:.3f}" for score in scores)
                print(f"pruned by {ratio}, {how}, momentum {momentum}: {told}", flush=True)


if __name__ == "__main__":
    main()
