"""A fixed part of a data set, copied aside: nothing is ever written beside the person's own images.

Ultralytics keeps a cache beside the labels, mends damaged pictures in place, and would replace the cache of the whole
split by that of its part.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from engine.accuracy.settings import MeasureSettings
from engine.datasets import check_dataset, image_files, resolved_yaml
from engine.files import require_free_space, writing_to


@dataclass(frozen=True)
class Subset:
    """The images of a measurement."""

    data: Path
    "The data set's own description."
    validation: tuple[Path, ...]
    training: tuple[Path, ...]
    "For recalibration: the same images that ``prune --recalibrate`` takes."
    digest: str
    "SHA-256 over the contents of all these images and their labels, and the description."


def choose_subset(data: Path, measure: MeasureSettings) -> Subset:
    """Choose the images of a measurement.

    Raises:
        DatasetError: The data set cannot be used.
    """
    info = check_dataset(data)
    validation = spread(image_files(info, "val"), measure.images)
    training = image_files(info, "train")[: measure.recalibrate]
    digest = hashlib.sha256(repr(sorted(info.names.items())).encode())
    for path in (*validation, *(label for _, label in labelled(validation) if label.is_file()), *training):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Subset(info.yaml_path, tuple(validation), tuple(training), digest.hexdigest())


def copy_subset(subset: Subset, folder: Path) -> Path:
    """Copy the validation images and their labels below a folder and return a description of them."""
    require_free_space(folder, sum(path.stat().st_size for path in subset.validation))
    with writing_to(folder):
        for kind in ("images", "labels"):
            (folder / kind / "val").mkdir(parents=True)
        for number, (image, label) in enumerate(labelled(subset.validation)):
            # Numbers keep apart what has the same name in different folders, and keep the order.
            shutil.copyfile(image, folder / "images" / "val" / f"{number:06d}{image.suffix}")
            if label.is_file():
                shutil.copyfile(label, folder / "labels" / "val" / f"{number:06d}.txt")
        described = yaml.safe_load(resolved_yaml(check_dataset(subset.data), folder).read_text(encoding="utf-8"))
        described.pop("test", None)
        described |= {"path": str(folder), "train": "images/val", "val": "images/val"}
        target = folder / "subset.yaml"
        target.write_text(yaml.safe_dump(described, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return target


def labelled(images: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return (image, label file) pairs, where Ultralytics looks for labels; they need not exist."""
    from ultralytics.data.utils import img2label_paths

    return list(zip(images, map(Path, img2label_paths([str(path) for path in images])), strict=True))


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """Return up to ``count`` paths evenly spread over a list: the first frames of a film are all alike."""
    if len(paths) <= count:
        return list(paths)
    return [paths[number * len(paths) // count] for number in range(count)]
