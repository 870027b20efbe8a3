"""The whole job on a real checkpoint: sparse-train, prune, fine-tune, validate, export; prints every number.

    python benchmarks/whole_job.py --weights best.pt --data data.yaml --save-dir out

Each step is one ``python -m engine`` command, printed as it runs, so that any of them can be repeated by hand.
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


def engine(verb: str, **options: Any) -> dict[str, Any]:
    """Run one verb and return its JSON result."""
    pairs = [[f"--{name.replace('_', '-')}", str(value)] for name, value in options.items()]
    command = [sys.executable, "-m", "engine", verb, *[word for pair in pairs for word in pair], "--json"]
    print("$ python", shlex.join(command[1:]), file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Run every step and print one line for each model that comes out of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--save-dir", required=True, type=Path)
    parser.add_argument("--prune-ratio", type=float, default=0.5)
    parser.add_argument("--sparse-epochs", type=int, default=12)
    parser.add_argument("--finetune-epochs", type=int, default=12)
    options = parser.parse_args()
    folder, ratio, data = options.save_dir.resolve(), options.prune_ratio, str(Path(options.data).resolve())
    dense = str(Path(options.weights).resolve())

    def row(name: str, weights: str) -> None:
        size = engine("inspect", weights=weights)
        measured = engine("val", weights=weights, data=data)["metrics"]
        print(
            f"{name:<12}{size['params']:>11,}{size['gflops']:>8.2f}"
            f"{measured['mAP50']:>8.3f}{measured['mAP50-95']:>10.3f}{size['gammas']['zero']:>10.1%}",
            flush=True,
        )

    print(f"{'model':<12}{'parameters':>11}{'GFLOPs':>8}{'mAP50':>8}{'mAP50-95':>10}{'gamma = 0':>10}", flush=True)
    row("dense", dense)
    sparse = engine(
        "sparsify",
        weights=dense,
        data=data,
        prune_ratio=ratio,
        epochs=options.sparse_epochs,
        save_dir=folder / "sparse",
    )["last"]
    row("sparse", sparse)
    pruned = engine("prune", weights=sparse, prune_ratio=ratio, save_dir=folder / "pruned")["pruned"]
    row("pruned", pruned)
    tuned = engine(
        "finetune", weights=pruned, data=data, epochs=options.finetune_epochs, save_dir=folder / "finetuned"
    )["best"]
    row("fine-tuned", tuned)
    exported = engine("export", weights=tuned, save_dir=folder / "export")
    print(f"ONNX {exported['size_mb']:.2f} MB, differs from PyTorch by at most {exported['max_abs_difference']:.1e}")


if __name__ == "__main__":
    main()
