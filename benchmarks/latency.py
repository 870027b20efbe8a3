"""Measure latency: predictions against pruned models, and latency ratio against GFLOPs ratio.

``python benchmarks/latency.py --predict CHECKPOINT`` prunes at 0.3, 0.5 and 0.7, with widths as they come and rounded
to 8, and prints predicted and measured milliseconds. ``python benchmarks/latency.py A.pt B.pt ...`` compares finished
models with the first. Models are run in turns. Exits with 1 where a prediction misses by more than 15 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import engine  # noqa: E402, F401  (prepares the environment that the imports below read)
from engine.base.runtime import compute_threads, import_ultralytics  # noqa: E402

import_ultralytics()

from engine.checkpoints.checkpoint import open_checkpoint  # noqa: E402
from engine.latency import LatencyTable, TimedSlimming, measure  # noqa: E402
from engine.latency.checking import LIMIT, exported, undisturbed_in_turns  # noqa: E402
from engine.latency.text import latency_text  # noqa: E402
from engine.pruning.solver import SolverSettings  # noqa: E402
from engine.settings.results import LatencyResult  # noqa: E402

CASES = tuple((ratio, multiple) for ratio in (0.3, 0.5, 0.7) for multiple in (1, 8))


def check_predictions(weights: Path, imgsz: int, threads: int, repeats: int, fresh: bool) -> bool:
    """Print predicted and measured latency of pruned models and return whether all are within the limit."""
    with tempfile.TemporaryDirectory(prefix="latency-") as name:
        folder = Path(name)
        table = LatencyTable(folder / "table.json", threads) if fresh else LatencyTable.of_this_machine(threads)
        slimming = TimedSlimming(open_checkpoint(weights), table=table)
        costs = slimming.timed_costs(imgsz)
        predicted, files = [costs.before.latency_ms], [exported(weights, folder / "whole", imgsz)]
        for ratio, multiple in CASES:
            settings = SolverSettings(round_to=multiple)
            pruned = slimming.prune(ratio, folder / f"{ratio}-{multiple}.pt", settings)
            predicted.append(costs.latency_ms(slimming.plan(ratio, settings).keep))
            files.append(exported(pruned, folder / f"{ratio}-{multiple}", imgsz))
        measured = undisturbed_in_turns(files, imgsz, threads, repeats)
    print(f"\n{weights.name}, {imgsz} px, {threads} threads, anchor {costs.anchor:.2f}, {repeats} runs in turns")
    print(f"{'ratio':>6}{'round to':>10}{'predicted ms':>14}{'measured ms':>13}{'ratio':>8}{'against whole':>15}")
    ratios = np.array(predicted) / measured
    for (ratio, multiple), *row in zip(
        [(0.0, 1), *CASES], predicted, measured, ratios, ratios / ratios[0], strict=True
    ):
        print(f"{ratio:6.1f}{multiple:10}{row[0]:14.2f}{row[1]:13.2f}{row[2]:8.3f}{row[3]:15.3f}")
    return bool(np.all(np.abs(ratios - 1) <= LIMIT))


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "weights", nargs="*", type=Path, metavar="PT", help="finished models; the first is the whole one"
    )
    parser.add_argument("--predict", action="append", default=[], type=Path, metavar="PT", help="a checkpoint to prune")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--threads", type=int, default=compute_threads())
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--fresh", action="store_true", help="measure the table again")
    options = parser.parse_args()
    holds = [
        check_predictions(path, options.imgsz, options.threads, options.repeats, options.fresh)
        for path in options.predict
    ]
    if options.weights:
        results = measure(options.weights, options.imgsz, ("onnx",), options.threads, options.repeats)
        print("\n" + latency_text(LatencyResult(results=tuple(results))))
        for result in results:
            print(
                f"{Path(result.weights).name}: latency ratio {1 / result.speedup:.3f}, "
                f"GFLOPs ratio {1 / result.ideal_speedup:.3f}"
            )
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
