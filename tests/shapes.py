"""Tiny drawn data sets with masks, keypoints or oriented boxes, and models that have learnt to find what they show."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from ultralytics.cfg import get_cfg
from ultralytics.data import YOLODataset
from ultralytics.data.utils import check_det_dataset
from ultralytics.nn.tasks import DetectionModel, OBBModel, PoseModel, SegmentationModel

from tests.models import write_checkpoint
from tests.short import short

SIZE = 64
NAMES = {0: "bar", 1: "brick"}
_MODELS = {"detect": DetectionModel, "segment": SegmentationModel, "pose": PoseModel, "obb": OBBModel}


def draw_shapes(folder: Path, task: str, images: int = 8, channels: int = 3) -> Path:
    """Draw images with one slanted bar or brick each, the same for training and validation; return the data.yaml.

    Those of other than 1 or 3 channels are TIFF files with a page for each.
    """
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(images):
        label = number % 2
        centre, angle = random.uniform(0.4, 0.6, 2) * SIZE, random.uniform(20, 70)
        corners = cv2.boxPoints((centre.tolist(), ((40, 12), (30, 20))[label], angle))  # (4, 2) pixels
        image = np.full((SIZE, SIZE, 3), 60, np.uint8)
        cv2.fillPoly(image, [corners.round().astype(np.int32)], ((40, 200, 240), (230, 120, 40))[label])
        _write_image(folder / "images" / str(number), image, channels)
        row = " ".join(f"{value:.5f}" for value in _labelled(corners / SIZE, task))
        (folder / "labels" / f"{number}.txt").write_text(f"{label} {row}\n", encoding="utf-8")
    description = {"path": str(folder), "train": "images", "val": "images", "names": NAMES, "channels": channels}
    if task == "pose":
        description["kpt_shape"] = [4, 3]
    (folder / "data.yaml").write_text(json.dumps(description), encoding="utf-8")  # JSON is YAML
    return folder / "data.yaml"


def _write_image(path: Path, image: np.ndarray, channels: int) -> None:
    if channels == 3:
        cv2.imwrite(f"{path}.png", image)
    elif channels == 1:
        cv2.imwrite(f"{path}.png", image[..., 0])
    else:
        bands = [image[..., band % 3] // (1 + band // 3) for band in range(channels)]
        cv2.imwritemulti(f"{path}.tiff", bands)


def _labelled(corners: np.ndarray, task: str) -> list[float]:
    """Return what a label row says after the class, from (4, 2) corners between 0 and 1."""
    if task in {"segment", "obb"}:
        return corners.ravel().tolist()
    low, high = corners.min(axis=0), corners.max(axis=0)
    box = [*(low + high) / 2, *high - low]
    return box if task == "detect" else [*box, *np.hstack([corners, np.full((4, 1), 2)]).ravel()]


def narrow(task: str, channels: int = 3) -> nn.Module:
    """Return a short and narrow model for the drawn classes, with seeded weights."""
    torch.manual_seed(0)
    description = short(task, width=0.125)
    if task == "pose":
        description["kpt_shape"] = [4, 3]
    model = _MODELS[task](description, ch=channels, nc=len(NAMES), verbose=False)
    model.names, model.task = NAMES, task
    return model.eval()


def write_narrow(model: nn.Module, path: Path) -> Path:
    """Write a checkpoint of such a model and return its path."""
    return write_checkpoint(model.eval(), path, train_args={"imgsz": SIZE, "task": model.task})


def learnt(data: Path, task: str, path: Path, steps: int = 80, channels: int = 3) -> Path:
    """Write a checkpoint of a narrow model that was trained on the images until it finds them, and return its path."""
    return write_narrow(fit(narrow(task, channels), data, steps), path)


def fit(model: nn.Module, data: Path, steps: int) -> nn.Module:
    """Train a model on all images at once, and return it."""
    model.args = get_cfg(overrides={"task": model.task, "imgsz": SIZE, "overlap_mask": True})
    _fit(model, _batch(data, model.task, model.args), steps)
    model.args = vars(model.args)
    return model


def _batch(data: Path, task: str, settings) -> dict:
    """Return the whole data set as one batch, as Ultralytics' trainers see it."""
    description = check_det_dataset(str(data), autodownload=False)
    images = YOLODataset(
        img_path=description["val"], data=description, task=task, imgsz=SIZE, augment=False, hyp=settings, rect=False
    )
    batch = YOLODataset.collate_fn([images[number] for number in range(len(images))])
    return {**batch, "img": batch["img"].float() / 255}


def _fit(model: nn.Module, batch: dict, steps: int) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.2  # its statistics have only these steps to settle
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.005, total_steps=steps)
    model.train()
    for _ in range(steps):
        loss, _ = model(batch)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        schedule.step()
