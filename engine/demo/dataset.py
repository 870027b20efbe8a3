"""The demo data set: drawn on the spot, so that a newcomer can slim a detector before owning one.

It also records how the demo model that belongs to it was trained.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml

from engine.base.errors import DatasetError
from engine.base.files import writing_to
from engine.demo.boats import CLASS_NAMES
from engine.demo.harbour import Scene, draw_scene

_RECORD_NAME = "demo.json"
_DRAWING_VERSION = 1  # raise whenever equal settings would draw different pictures or labels
_JPEG_QUALITY = 86


@dataclass(frozen=True)
class DemoTraining:
    """Arguments of ``YOLO(model).train`` that made the dense demo model from nothing."""

    model: str = "yolov8n.yaml"
    epochs: int = 70
    imgsz: int = 320  # pixels
    batch: int = 8  # images
    nbs: int = 8  # images per optimizer step; equal to batch, so that every batch is a step
    optimizer: str = "AdamW"
    lr0: float = 0.0015
    seed: int = 0
    deterministic: bool = True


DEMO_TRAINING = DemoTraining()


@dataclass(frozen=True)
class _DemoSettings:
    """What decides the pictures of a demo set; ``train`` and ``val`` count images, ``imgsz`` is in pixels."""

    train: int
    val: int
    imgsz: int
    seed: int
    version: int = _DRAWING_VERSION

    def __post_init__(self) -> None:
        if self.train < 1 or self.val < 1:
            raise DatasetError(
                f"A demo set of {self.train} training and {self.val} validation images is too small; "
                "ask for at least one of each."
            )
        if self.imgsz < 32:
            raise DatasetError(f"Demo images of {self.imgsz} pixels are too small; ask for 32 or more.")
        if self.seed < 0:
            raise DatasetError(f"The demo seed {self.seed} is negative; choose 0 or more.")


def make_demo_dataset(folder: Path, *, train: int = 192, val: int = 48, imgsz: int = 320, seed: int = 0) -> Path:
    """Draw the demo set into a folder, unless it is there already.

    Equal settings give equal pictures and labels. The set is drawn beside ``folder`` and then renamed, so that a folder
    of this name is always complete. A demo set with other settings is replaced; anything else is left alone.

    Args:
        folder: where the set will be; made with its parents if missing.
        train: number of training images.
        val: number of validation images.
        imgsz: side of the square images in pixels.
        seed: 0 or more; selects the pictures.

    Returns:
        the data.yaml of the set, absolute.

    Raises:
        DatasetError: a setting is out of range, or the folder holds something that is not a demo set.
        StorageError: the folder cannot be written.
    """
    settings = _DemoSettings(train, val, imgsz, seed)
    folder = Path(folder).absolute()
    if _is_complete(folder, settings):
        return folder / "data.yaml"
    _refuse_foreign(folder)
    with writing_to(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _write_set(aside / "new", settings)
            _swap_in(aside, folder, settings)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder / "data.yaml"


def _is_complete(folder: Path, settings: _DemoSettings) -> bool:
    """Whether the folder holds exactly this demo set."""
    try:
        recorded = json.loads((folder / _RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    files = (folder / f for split, stem in _stems(settings) for f in (_image(split, stem), _label(split, stem)))
    return recorded == asdict(settings) and (folder / "data.yaml").is_file() and all(file.is_file() for file in files)


def _refuse_foreign(folder: Path) -> None:
    """Raise unless the folder is missing, empty or an earlier demo set."""
    if folder.is_dir():
        if (folder / _RECORD_NAME).is_file() or not any(folder.iterdir()):
            return
    elif not folder.exists():
        return
    raise DatasetError(f"{folder} already holds something other than a demo set; choose a new or empty folder.")


def _stems(settings: _DemoSettings) -> Iterator[tuple[str, str]]:
    """(split, file stem) of every image."""
    for split, count in (("train", settings.train), ("val", settings.val)):
        for index in range(count):
            yield split, f"{split}_{index:04d}"


def _image(split: str, stem: str) -> str:
    return f"images/{split}/{stem}.jpg"


def _label(split: str, stem: str) -> str:
    return f"labels/{split}/{stem}.txt"


def _write_set(folder: Path, settings: _DemoSettings) -> None:
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (folder / kind / split).mkdir(parents=True)
    splits = ("train", "val")
    for split, stem in _stems(settings):
        # Each picture has its own generator: asking for more pictures leaves the first ones as they were.
        rng = np.random.default_rng((settings.seed, splits.index(split), int(stem.rpartition("_")[2])))
        scene = draw_scene(rng, settings.imgsz)
        scene.image.save(folder / _image(split, stem), quality=_JPEG_QUALITY)
        (folder / _label(split, stem)).write_text(_label_rows(scene, settings.imgsz), encoding="utf-8", newline="\n")
    # Without a `path`, Ultralytics takes the folder of the file: the set may be moved as a whole.
    description = {"train": "images/train", "val": "images/val", "names": dict(enumerate(CLASS_NAMES))}
    (folder / "data.yaml").write_text(yaml.safe_dump(description, sort_keys=False), encoding="utf-8")
    (folder / _RECORD_NAME).write_text(json.dumps(asdict(settings)), encoding="utf-8")


def _label_rows(scene: Scene, size: int) -> str:
    """YOLO rows: class, then centre x, centre y, width and height as shares of the image side."""
    rows = []
    for boat in scene.boats:
        left, top, right, bottom = boat.box
        shares = ((left + right) / 2 / size, (top + bottom) / 2 / size, (right - left) / size, (bottom - top) / size)
        rows.append(f"{boat.class_index} " + " ".join(f"{share:.6f}" for share in shares))
    return "".join(f"{row}\n" for row in rows)


def _swap_in(aside: Path, folder: Path, settings: _DemoSettings) -> None:
    """Put the finished set in place; whoever finished the same set first wins."""
    if folder.exists():
        os.replace(folder, aside / "old")
    try:
        os.replace(aside / "new", folder)
    except OSError:
        if not _is_complete(folder, settings):
            raise
