"""How honest the doubt of a verdict is: intervals of one half of a validation set, held against the other half.

    python benchmarks/doubt.py --weights a.pt b.pt --data data.yaml

Both halves are draws, so the difference on the other half misses the interval of the first more often than the true
difference would: a 95 % interval that is right holds 2 Phi(1.96 / sqrt 2) - 1 = 83.4 % of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import NormalDist

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import engine  # noqa: F401, I001 - decides the environment before PyTorch reads it
import numpy as np

from engine.base.runtime import logs_to_stderr
from engine.validation.doubt import CONFIDENCE
from engine.validation.matches import Matches


def main() -> None:
    """Print what share of the splits the interval held, and what share it should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", nargs=2, type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--draws", type=int, default=300)
    options = parser.parse_args()
    from engine.validation.validator import validate

    found: list[Matches] = []
    for weights in options.weights:
        with logs_to_stderr():
            measured = validate(weights, options.data, imgsz=options.imgsz, matched=found.append)
        print(f"{weights.name}: mAP50-95 {measured.map50_95:.4f} on {measured.images} images")
    held = sum(_held(*found, seed, options.draws) for seed in range(options.splits))
    normal = NormalDist()
    expected = 2 * normal.cdf(normal.inv_cdf(0.5 + CONFIDENCE / 2) / 2**0.5) - 1
    print(f"held {held} of {options.splits} ({held / options.splits:.1%}), to be expected {expected:.1%}")


def _held(first: Matches, second: Matches, seed: int, draws: int) -> bool:
    """Whether the interval of a random half holds the difference of the other half."""
    random = np.random.default_rng(seed)
    order = random.permutation(first.images)
    half, other = np.array_split(order, 2)
    counts = np.zeros((draws + 1, first.images), dtype=np.int64)
    counts[:-1, half] = random.multinomial(len(half), np.full(len(half), 1 / len(half)), size=draws)
    counts[-1, other] = 1
    differences = first.score(counts) - second.score(counts)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences[:-1], [tail, 1 - tail])
    return bool(low <= differences[-1] <= high)


if __name__ == "__main__":
    main()
