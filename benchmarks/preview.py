"""Measure the preview: the trace once a checkpoint, solve plus cost at every slider position, and the whole curve.

Run from anywhere: ``python benchmarks/preview.py [model ...]``. Exits with 1 where a limit is exceeded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import engine  # noqa: E402, F401  (prepares the environment that the imports below read)
from engine.base.runtime import import_ultralytics  # noqa: E402
from engine.pruning.cost import CostModel  # noqa: E402
from engine.pruning.criteria import group_scores  # noqa: E402
from engine.pruning.graph import trace  # noqa: E402
from engine.pruning.solver import MAX_RATIO, cost_curve, rank, solve  # noqa: E402

TRACE_LIMIT_S = 3.0
POSITION_LIMITS_MS = {"yolov8s": 5.0, "yolov8x": 20.0}
DEFAULT_LIMIT_MS = 20.0
CURVE_RATIOS, CURVE_LIMIT_S = 100, 0.5


def timed(action: Callable[[], object]) -> tuple[object, float]:
    """Return what an action returns, and its duration in seconds."""
    start = time.perf_counter()
    value = action()
    return value, time.perf_counter() - start


def measure(name: str, imgsz: int, positions: int, seed: int) -> bool:
    """Print the measurements of one model and return whether all its limits hold."""
    model = import_ultralytics().YOLO(f"{name}.yaml").model.eval()
    graph, trace_s = timed(lambda: trace(model))
    scores = group_scores(graph, model)
    scores[1:] = np.random.default_rng(seed).random(graph.group_count - 1)  # a fresh network has all gammas equal
    ranking, rank_s = timed(lambda: rank(graph, scores))
    costs, cost_model_s = timed(lambda: CostModel(graph, model, imgsz))
    ratios = np.random.default_rng(seed).permutation(np.linspace(0, MAX_RATIO, positions))
    times_ms = [1e3 * timed(lambda ratio=ratio: costs.cost(solve(ranking, ratio).keep))[1] for ratio in ratios]
    median_ms, p95_ms = np.percentile(times_ms, [50, 95])
    limit_ms = POSITION_LIMITS_MS.get(name, DEFAULT_LIMIT_MS)
    points = np.linspace(0, MAX_RATIO, CURVE_RATIOS)
    curve_s = max(timed(lambda: cost_curve(ranking, costs, points))[1] for _ in range(5))
    holds = trace_s < TRACE_LIMIT_S and p95_ms < limit_ms and curve_s < CURVE_LIMIT_S
    print(
        f"{name:10} {len(graph.layers):6} {graph.prunable_channels:8} {trace_s:9.2f} {TRACE_LIMIT_S:6.1f} "
        f"{rank_s + cost_model_s:9.2f} {median_ms:10.3f} {p95_ms:8.3f} {limit_ms:8.1f} "
        f"{curve_s:8.3f} {CURVE_LIMIT_S:6.1f}   {'yes' if holds else 'NO'}"
    )
    return holds


def main() -> int:
    """Parse the command line, measure every model, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["yolov8s", "yolov8x"], help="model YAML names with their scale")
    parser.add_argument("--imgsz", type=int, default=640, help="image size in pixels (640)")
    parser.add_argument("--positions", type=int, default=200, help="slider positions to measure (200)")
    parser.add_argument("--seed", type=int, default=0, help="of the random scores and the order of the positions (0)")
    options = parser.parse_args()
    print("One slider position is solve plus cost. Preparing is the ranking and the cost model, once a checkpoint.")
    print(f"The curve is the cost at {CURVE_RATIOS} ratios in one call.")
    print("model      layers channels  trace_s  limit prepare_s  median_ms   p95_ms limit_ms  curve_s  limit   holds")
    return 0 if all([measure(name, options.imgsz, options.positions, options.seed) for name in options.models]) else 1


if __name__ == "__main__":
    sys.exit(main())
