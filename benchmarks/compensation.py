"""mAP directly after pruning, without and with compensation, without and with recalibration.

    python benchmarks/compensation.py --weights last.pt --data data.yaml --ratios 0.3 0.5

Compensation matters where removed channels have a gamma near zero and a beta that is not: after classic or proximal
sparse training. Targeted training takes beta to zero too, so there is nothing left to fold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.datasets import check_dataset, image_files
from engine.runtime import import_ultralytics, logs_to_stderr


def main() -> None:
    """Measure every combination and print mAP50-95, one line a ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.3, 0.5])
    parser.add_argument("--images", type=int, default=64, help="for recalibration")
    options = parser.parse_args()
    import_ultralytics()
    from engine.evaluation import validate
    from engine.slimming import Slimming

    slimming = Slimming.open(options.weights)
    imgsz = slimming.checkpoint.imgsz
    images = image_files(check_dataset(options.data), "train")[: options.images]

    def measured(path: Path) -> float:
        with logs_to_stderr():
            return validate(path, options.data, imgsz=imgsz).map50_95

    print(f"mAP50-95 of the whole model: {measured(Path(options.weights)):.3f}")
    print(f"{'ratio':>6}{'cut':>9}{'comp.':>9}{'recal.':>9}{'both':>9}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for ratio in options.ratios:
            values = [
                measured(
                    slimming.prune(
                        ratio,
                        Path(folder) / "pruned.pt",
                        compensated=compensated,
                        recalibration=images if again else (),
                    )
                )
                for again in (False, True)
                for compensated in (False, True)
            ]
            print(f"{ratio:>6.2f}" + "".join(f"{value:>9.3f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
