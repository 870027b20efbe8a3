"""mAP of a checkpoint cut once, without training, to several budgets: one row for each criterion.

    python benchmarks/criteria.py --weights best.pt --data data.yaml --split test --save-dir out

Each model is cut by the solver's plan for the budget, compensated, recalibrated on 32 training images, written, and
validated on the split. Criteria that look at images get 64 training images in batches of eight; where chance plays a
part, a cell is the mean and the standard deviation over three seeds. Every number is kept in SAVE_DIR/criteria.json as
soon as it is measured, and not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import engine  # noqa: F401, I001 - decides the environment before PyTorch reads it
import numpy as np

from engine.base.files import write_text_atomic
from engine.base.runtime import logs_to_stderr
from engine.datasets import check_dataset, training_images
from engine.settings.choices import CRITERIA, IMAGE_CRITERIA

PARAMS = (1_500_000,)
GFLOPS = (6.5, 5.0, 3.3)
IMAGES, RECALIBRATION = 64, 32
SEEDS = (0, 1, 2)  # of noise, and of the choice of images; the other criteria have no chance in them


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--params", type=int, nargs="*", default=PARAMS)
    parser.add_argument("--gflops", type=float, nargs="*", default=GFLOPS)
    parser.add_argument("--criteria", nargs="+", default=list(CRITERIA), choices=list(CRITERIA))
    parser.add_argument("--variants", nargs="+", default=["plain"], choices=["plain", "per-flop", "per-layer"])
    parser.add_argument("--save-dir", required=True, type=Path)
    options = parser.parse_args()
    targets = [("params", value) for value in options.params] + [("gflops", value) for value in options.gflops]
    bench = Bench(options.weights, options.data, options.split, options.save_dir / "criteria.json")
    print(f"{bench.slimming.checkpoint.path.name}, dense: mAP50-95 {bench.dense():.3f}", flush=True)
    print(f"{'criterion':<26}{'seconds':>8}" + "".join(f"{value:>12g} {kind}" for kind, value in targets), flush=True)
    for criterion in options.criteria:
        for variant in options.variants:
            seeds = SEEDS if variant == "plain" and (criterion == "random" or criterion in IMAGE_CRITERIA) else (0,)
            rows = [[bench.row(criterion, variant, seed, *target) for seed in seeds] for target in targets]
            cells = [_cell([row["map50_95"] for row in each]) for each in rows]
            print(f"{criterion + ' ' + variant:<26}{rows[0][0]['seconds']:>8.1f}" + "".join(cells), flush=True)


def _cell(scores: list[float]) -> str:
    """Return 0.521, or of several seeds the mean and the standard deviation."""
    told = f"{np.mean(scores):.3f}" + (f" ± {np.std(scores, ddof=1):.3f}" if len(scores) > 1 else "")
    return f"{told:>19}"


class Bench:
    """A checkpoint, a data set, and the rows that are measured of them."""

    def __init__(self, weights: Path, data: Path, split: str, kept: Path) -> None:
        from engine.pruning.session import Slimming

        self.data, self.split, self.kept = data, split, kept
        self.rows: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        self.slimming = Slimming.open(weights)
        self.info = check_dataset(data, self.slimming.checkpoint.task)
        self.recalibration = training_images(self.info, RECALIBRATION)
        self.scores: dict[tuple, tuple[list[np.ndarray], float]] = {}

    def dense(self) -> float:
        """Return mAP50-95 of the checkpoint as it is."""
        return self._kept("dense", lambda: {"map50_95": self._measured(self.slimming.checkpoint.path)})["map50_95"]

    def row(self, criterion: str, variant: str, seed: int, kind: str, value: float) -> dict[str, Any]:
        """Return what a model cut to a budget is and scores."""
        name = f"{criterion} {variant} {seed} {kind} {value:g}"
        return self._kept(name, lambda: self._row(criterion, variant, seed, kind, value))

    def _kept(self, name: str, measure: Any) -> dict[str, Any]:
        key = f"{self.slimming.checkpoint.path.name} {self.split} {name}"
        if key not in self.rows:
            self.rows[key] = measure()
            write_text_atomic(self.kept, json.dumps(self.rows, indent=1))
        return self.rows[key]

    def _row(self, criterion: str, variant: str, seed: int, kind: str, value: float) -> dict[str, Any]:
        from engine.checkpoints.checkpoint import save_checkpoint
        from engine.pruning.compensation import compensate
        from engine.pruning.recalibration import recalibrate
        from engine.pruning.solver import Budget, rank, solve_budget
        from engine.pruning.surgery import prune_model

        scores, seconds = self._scores(criterion, variant, seed)
        slimming = self.slimming
        graph, costs, model = slimming.graph, slimming.cost_model(640), slimming.checkpoint.model
        keep = solve_budget(rank(graph, scores), costs, Budget(**{kind: value})).keep
        pruned = prune_model(compensate(model, graph, keep), graph, keep)
        pruned = recalibrate(pruned, self.recalibration, slimming.checkpoint.imgsz)
        with tempfile.TemporaryDirectory() as folder:
            path = save_checkpoint(pruned, Path(folder) / "pruned.pt", source=slimming.checkpoint, made={})
            measured = self._measured(path)
        cost = costs.cost(keep)
        return {"map50_95": measured, "params": cost.params, "gflops": cost.gflops, "seconds": seconds}

    def _scores(self, criterion: str, variant: str, seed: int) -> tuple[np.ndarray, float]:
        from engine.pruning.criteria import Context, ImportanceSettings, channel_scores, combined_scores

        key, graph, model = (criterion, seed), self.slimming.graph, self.slimming.checkpoint.model
        if key not in self.scores:
            began = time.perf_counter()
            found = channel_scores(criterion, Context(graph, model, seed, self._batches(seed)))
            self.scores[key] = found, time.perf_counter() - began
        by_layer, seconds = self.scores[key]
        asked = ImportanceSettings(criterion, per_flop=variant == "per-flop", per_layer=variant == "per-layer")
        return combined_scores(graph, by_layer, asked, self.slimming.cost_model(640)), seconds

    def _batches(self, seed: int) -> Any:
        from engine.validation.labelled import labelled_batches
        from engine.validation.scores import choose_images

        return lambda: labelled_batches(
            self.slimming.checkpoint, self.info, choose_images(self.info, IMAGES, seed).files
        )()

    def _measured(self, weights: Path) -> float:
        from engine.validation.validator import validate

        with logs_to_stderr():
            measured = validate(weights, self.data, imgsz=self.slimming.checkpoint.imgsz, split=self.split)
        return float(measured.map50_95)


if __name__ == "__main__":
    main()
