"""A drawn data set and seeded checkpoints that train in seconds."""

from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import DetectionModel

from engine.demo.dataset import make_demo_dataset
from tests.models import randomise, write_checkpoint
from tests.short import short

TINY = {"epochs": 2, "imgsz": 64, "batch": 4, "nbs": 4, "device": "cpu", "workers": 0}


def tiny_data(folder: Path) -> str:
    """Draw a data set of 8 and 4 images and return its description."""
    return str(make_demo_dataset(folder / "set", train=8, val=4, imgsz=64))


def write_dense(path: Path, seed: int = 0, model: str | dict[str, Any] = "") -> Path:
    """Write a checkpoint of a seeded model that knows the three classes of the data set.

    Args:
        path: Where.
        seed: Of the weights.
        model: A YAML file that Ultralytics ships, or a description; without it, a short detector.
    """
    torch.manual_seed(seed)
    built = randomise(DetectionModel(model or short("detect"), nc=3, verbose=False))
    built.names = {0: "dinghy", 1: "freighter", 2: "buoy"}
    return write_checkpoint(built, path)


def spec(weights: Path, data: str, save_dir: Path, **more: Any) -> dict[str, Any]:
    """Return the specification of a run on the CPU that takes seconds."""
    return {"weights": str(weights), "data": data, "save_dir": str(save_dir), **TINY, **more}
