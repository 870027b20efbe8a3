"""Slim a real checkpoint with every setting written down; measured after each step.

    python benchmarks/slimming.py aim --weights yolov8n.pt --data data.yaml --save-dir out
    python benchmarks/slimming.py ratios --weights yolov8n.pt --data data.yaml --save-dir out
    python benchmarks/slimming.py half --weights yolo11n.pt --data data.yaml --save-dir out

Each step is one ``python -m engine`` command, printed as it runs, so that any of them can be repeated by hand. A step
whose result lies in the folder already is not run again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# A data set of 200 images: with Ultralytics' nominal batch of 64 there would be three optimizer steps an epoch.
TRAINING = {"nbs": 16, "optimizer": "AdamW", "lr0": 0.001}


class Run:
    """The steps of one experiment, each in a folder of its own."""

    def __init__(self, dense: Path, data: Path, folder: Path) -> None:
        self.dense, self.data, self.folder = dense, data, folder

    def engine(self, step: str, verb: str, **options: Any) -> dict[str, Any]:
        """Run a verb, or read what it gave when it ran before."""
        result = self.folder / f"{step}.json"
        if not result.exists():
            words = [[f"--{name.replace('_', '-')}", str(value)] for name, value in options.items()]
            command = [sys.executable, "-m", "engine", verb, *[word for pair in words for word in pair], "--json"]
            print("$ python", shlex.join(command[1:]), file=sys.stderr, flush=True)
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            result.write_text(done.stdout, encoding="utf-8")
        return json.loads(result.read_text(encoding="utf-8"))

    def row(self, step: str, weights: str | Path) -> None:
        """Measure a model and print its line."""
        size = self.engine(f"{step}-size", "inspect", weights=weights)
        measured = self.engine(f"{step}-val", "val", weights=weights, data=self.data)["metrics"]
        prunable = sum(layer["prunable"] for layer in size["layers"])
        zero = size["gammas"]["zero"] * sum(layer["channels"] for layer in size["layers"]) / max(prunable, 1)
        print(
            f"{step:<28}{size['params']:>11,}{size['gflops']:>8.2f}{measured['mAP50']:>8.3f}"
            f"{measured['mAP50-95']:>10.3f}{zero:>10.1%}",
            flush=True,
        )

    def sparsify(self, step: str, **options: Any) -> str:
        """Train sparsely from the dense checkpoint and return last.pt."""
        options = {**TRAINING, **options}
        folder = self.folder / step
        sparse = self.engine(step, "sparsify", weights=self.dense, data=self.data, save_dir=folder, **options)["last"]
        self.row(f"{step} sparse", sparse)
        return sparse

    def prune(self, step: str, sparse: str, **options: Any) -> str:
        """Prune a sparse checkpoint and return the smaller one."""
        pruned = self.engine(step, "prune", weights=sparse, save_dir=self.folder / step, **options)["pruned"]
        self.row(f"{step} only", pruned)
        return pruned

    def finetune(self, step: str, pruned: str, **options: Any) -> None:
        """Fine-tune a pruned checkpoint."""
        options = {**TRAINING, **options}
        folder = self.folder / step
        tuned = self.engine(step, "finetune", weights=pruned, data=self.data, save_dir=folder, **options)["best"]
        self.row(f"{step} tuned", tuned)


def aim(run: Run) -> None:
    """At most 1.0 M parameters and 3.3 GFLOPs."""
    budget = {"max_params": 1_000_000, "max_gflops": 3.3}
    sparse = run.sparsify("budget", epochs=50, **budget)
    pruned = run.prune("budget-prune", sparse, **budget)
    run.finetune("budget-plain", pruned, epochs=50)


def ratios(run: Run) -> None:
    """One sparse run, pruned at 0.5 and at 0.7, fine-tuned with and without a teacher."""
    sparse = run.sparsify("sparse-0.7", epochs=30, prune_ratio=0.7)
    for ratio in (0.5, 0.7):
        pruned = run.prune(f"prune-{ratio}", sparse, prune_ratio=ratio)
        run.finetune(f"{ratio}-plain", pruned, epochs=20)
        run.finetune(f"{ratio}-distilled", pruned, epochs=20, teacher=run.dense)


def half(run: Run) -> None:
    """The same at 0.5 alone."""
    sparse = run.sparsify("sparse-0.5", epochs=20, prune_ratio=0.5)
    pruned = run.prune("prune-0.5", sparse, prune_ratio=0.5)
    run.finetune("0.5-plain", pruned, epochs=12)
    run.finetune("0.5-distilled", pruned, epochs=12, teacher=run.dense)


def main() -> None:
    """Run one experiment and print a line for each model that comes out of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=("aim", "ratios", "half"))
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--save-dir", required=True, type=Path)
    options = parser.parse_args()
    run = Run(options.weights.resolve(), options.data.resolve(), options.save_dir.resolve())
    print(f"{'model':<28}{'parameters':>11}{'GFLOPs':>8}{'mAP50':>8}{'mAP50-95':>10}{'gamma = 0':>10}", flush=True)
    run.row("dense", run.dense)
    {"aim": aim, "ratios": ratios, "half": half}[options.experiment](run)


if __name__ == "__main__":
    main()
