"""Make the demo checkpoints again: ``python -m engine.demo.make --save-dir DIR``.

Draws the demo set, trains YOLOv8n on it from scratch and then sparsely, with fixed seeds, and writes DIR/dense.pt and
DIR/sparse.pt. The checkpoints in ``demo/`` were made this way (about an hour on two CPU cores).
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base.log import log_event
from engine.base.runtime import import_ultralytics
from engine.demo.dataset import DEMO_TRAINING, make_demo_dataset

if TYPE_CHECKING:
    from ultralytics.nn.tasks import BaseModel

SPARSE_EPOCHS = 40
SPARSE_RATIO = 0.6
SPARSE_OPTIMIZER, SPARSE_LR0 = "AdamW", 0.001


def main() -> None:
    """Run the whole recipe, or its sparse half from a dense checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m engine.demo.make", description=__doc__.splitlines()[0])
    parser.add_argument("--save-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--dense", type=Path, metavar="PT", help="skip the dense training and start from this")
    parser.add_argument("--only-data", action="store_true", help="draw the data set, print where it is, and stop")
    options = parser.parse_args()
    folder = options.save_dir.resolve()
    data = make_demo_dataset(folder / "set")
    if options.only_data:
        print(data)
        return
    import_ultralytics()
    dense = options.dense or train_dense(folder, data)
    sparse = train_sparse(folder, data, dense.resolve())
    write_portable(dense, folder / "dense.pt", data, {"verb": "train"})
    write_portable(sparse, folder / "sparse.pt", data, {"verb": "sparsify", "prune_ratio": SPARSE_RATIO})


def write_portable(source: Path, target: Path, data: Path, made: dict[str, Any]) -> None:
    """Copy a checkpoint with its measured metrics and without the paths of the machine that it was trained on."""
    from engine.checkpoints.checkpoint import open_checkpoint, save_checkpoint
    from engine.verbs import run_verb

    made = {**made, "metrics": run_verb("val", {"weights": str(source), "data": str(data)}).metrics}
    checkpoint = open_checkpoint(source)
    model: BaseModel = checkpoint.model
    arguments = dict(model.args if isinstance(model.args, dict) else vars(model.args))
    for settings in (arguments, checkpoint.content.get("train_args", {})):
        settings.update(data="data.yaml", model="yolov8n.yaml", project=None, name="demo", save_dir=None, resume=None)
    model.args = arguments
    checkpoint.content.pop("git", None)
    save_checkpoint(model, target, source=checkpoint, made=made)


def train_dense(folder: Path, data: Path) -> Path:
    """Train YOLOv8n on the demo set from scratch and return best.pt."""
    from engine.training import TrainSettings, run_training

    arguments = asdict(DEMO_TRAINING)
    extra = {key: arguments.pop(key) for key in ("nbs", "deterministic")}
    settings = TrainSettings(
        weights=arguments.pop("model"), data=data, save_dir=folder / "dense", workers=0, extra=extra, **arguments
    )
    return run_training(settings, "detect", log_event).best


def train_sparse(folder: Path, data: Path, dense: Path) -> Path:
    """Sparse-train the dense demo model and return last.pt."""
    from engine.training import TrainSettings, run_training
    from engine.training.sparsity import SparsitySettings

    settings = TrainSettings(
        weights=str(dense),
        data=data,
        save_dir=folder / "sparse",
        epochs=SPARSE_EPOCHS,
        imgsz=DEMO_TRAINING.imgsz,
        batch=DEMO_TRAINING.batch,
        optimizer=SPARSE_OPTIMIZER,
        lr0=SPARSE_LR0,
        workers=0,
        seed=DEMO_TRAINING.seed,
        sparsity=SparsitySettings("targeted", ratio=SPARSE_RATIO),
        extra={"nbs": DEMO_TRAINING.nbs},
    )
    return run_training(settings, "detect", log_event).last


if __name__ == "__main__":
    main()
