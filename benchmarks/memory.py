"""Measure what tracing and previewing a model adds to the memory of the process, against the model's own size.

Run from anywhere: ``python benchmarks/memory.py [model ...]``. Every model is measured in a fresh child process, after
it has been built from its YAML file: the resident memory at its highest during trace and preview, and what stays.
Exits with 1 where the highest exceeds 1.5 times the model's parameters and buffers. The first trace also makes PyTorch
load some 140 MB of its own modules, whatever the model, so a model smaller than that says nothing here.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import psutil  # noqa: E402
from torch import nn  # noqa: E402

import engine  # noqa: E402, F401  (prepares the environment that the imports below read)
from engine.base.runtime import import_ultralytics  # noqa: E402
from engine.pruning.cost import CostModel  # noqa: E402
from engine.pruning.criteria import group_scores  # noqa: E402
from engine.pruning.graph import trace  # noqa: E402
from engine.pruning.solver import MAX_RATIO, cost_curve, rank, solve  # noqa: E402

LIMIT = 1.5
SAMPLE_S = 0.005
MB = 1e6


class Highest:
    """Samples the resident memory of this process while the block runs; the highest sample is ``rss``."""

    def __init__(self) -> None:
        self._process, self._done = psutil.Process(), threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.rss = 0

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.rss = max(self.rss, self._process.memory_info().rss)

    def __enter__(self) -> Highest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.rss = max(self.rss, self._process.memory_info().rss)


def preview(model: nn.Module, imgsz: int) -> tuple[object, ...]:
    """Trace a model, solve and count at one ratio and at a hundred, and return everything that a session keeps."""
    graph = trace(model)
    costs, ranking = CostModel(graph, model, imgsz), rank(graph, group_scores(graph, model))
    costs.cost(solve(ranking, 0.5).keep)
    return graph, costs, ranking, cost_curve(ranking, costs, np.linspace(0, MAX_RATIO, 100))


def measure(name: str, imgsz: int) -> bool:
    """Print the measurements of one model and return whether the limit holds."""
    model = import_ultralytics().YOLO(f"{name}.yaml").model.eval()
    size = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
    gc.collect()
    before = psutil.Process().memory_info().rss
    with Highest() as highest:
        kept = preview(model, imgsz)
    gc.collect()
    after = psutil.Process().memory_info().rss
    holds = highest.rss - before < LIMIT * size
    print(
        f"{name:10} {size / MB:9.1f} {(highest.rss - before) / MB:11.1f} {(highest.rss - before) / size:7.2f}x "
        f"{(after - before) / MB:9.1f} {(after - before) / size:7.2f}x {LIMIT:6.1f}x   {'yes' if holds else 'NO'}",
        flush=True,
    )
    del kept
    return holds


def main() -> int:
    """Parse the command line, measure every model in a child process, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["yolov8x"], help="model YAML names with their scale")
    parser.add_argument("--imgsz", type=int, default=640, help="image size in pixels (640)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return 0 if measure(options.models[0], options.imgsz) else 1
    print("model       size_MB  highest_MB            stays_MB            limit   holds", flush=True)
    child = [sys.executable, __file__, "--child", "--imgsz", str(options.imgsz)]
    return max(subprocess.run([*child, name]).returncode for name in options.models)


if __name__ == "__main__":
    sys.exit(main())
