"""Tiny data sets and seeded checkpoints of the tasks that find no boxes: they train in seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from ultralytics.nn.tasks import ClassificationModel, DepthModel, SemanticSegmentationModel

from tests.models import randomise, write_checkpoint
from tests.short import short

CLASSES = ("blue", "green", "red")
NAMES = {"classify": dict(enumerate(CLASSES)), "semantic": dict(enumerate(CLASSES)), "depth": {0: "depth"}}
SIZE = 64


def write_data(task: str, folder: Path, train: int = 9, val: int = 6) -> Path:
    """Draw a data set and return what ``--data`` takes: the folder for classification, else the description."""
    return {"classify": _class_folders, "semantic": _masks, "depth": _depth_maps}[task](folder, train, val)


def write_model(task: str, path: Path, seed: int = 0) -> Path:
    """Write a checkpoint of a seeded model that knows the classes of ``write_data``."""
    torch.manual_seed(seed)
    build = {"classify": ClassificationModel, "semantic": SemanticSegmentationModel, "depth": DepthModel}[task]
    model: nn.Module = randomise(build(short(task), nc=len(NAMES[task]), verbose=False))
    model.names, model.task = dict(NAMES[task]), task
    train_args = {"imgsz": SIZE, "task": task, "data": "data.yaml", "epochs": 1, "batch": 2}
    return write_checkpoint(model, path, train_args=train_args)


def _images(folder: Path, train: int, val: int):
    """Write noisy images of one colour below ``images`` and yield (split, number, class)."""
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            yield split, number, number % len(CLASSES)


def _picture(number: int, colour: int) -> np.ndarray:
    image = np.random.default_rng(number).integers(0, 90, (SIZE, SIZE, 3), dtype=np.uint8)
    image[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4, colour] = 220
    return image


def _write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def _class_folders(folder: Path, train: int, val: int) -> Path:
    for split, number, colour in _images(folder, train, val):
        _write(folder / split / CLASSES[colour] / f"{number}.png", _picture(number, colour))
    return folder


def _described(folder: Path, task: str, extra: str = "") -> Path:
    names = "\n".join(f"  {index}: {name}" for index, name in NAMES[task].items())
    path = folder / "data.yaml"
    path.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\n{extra}names:\n{names}\n")
    return path


def _masks(folder: Path, train: int, val: int) -> Path:
    for split, number, colour in _images(folder, train, val):
        _write(folder / "images" / split / f"{number}.png", _picture(number, colour))
        mask = np.full((SIZE, SIZE), 255, np.uint8)
        mask[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = colour
        _write(folder / "masks" / split / f"{number}.png", mask)
    return _described(folder, "semantic", "masks_dir: masks\n")


def _depth_maps(folder: Path, train: int, val: int) -> Path:
    ramp = np.linspace(1000, 9000, SIZE).astype(np.uint16)
    for split, number, colour in _images(folder, train, val):
        _write(folder / "images" / split / f"{number}.png", _picture(number, colour))
        depth = np.tile(ramp[:, None], (1, SIZE)) + np.uint16(100 * number)
        _write(folder / "depth" / split / f"{number}.png", depth)
    return _described(folder, "depth", "depth_scale: 1000\n")
