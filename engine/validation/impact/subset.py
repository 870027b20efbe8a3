"""A fixed part of a data set, copied aside: nothing is ever written beside the person's own images.

Ultralytics keeps a cache beside the labels, mends damaged pictures in place, and would replace the cache of the whole
split by that of its part.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from engine.base.files import require_free_space, writing_to
from engine.base.tasks import FOLDERS, MASKS
from engine.datasets import DatasetInfo, check_dataset, image_files, label_files, resolved_yaml, spread, training_images
from engine.datasets.contents import content_digest
from engine.datasets.folders import class_of
from engine.validation.impact.settings import MeasureSettings


@dataclass(frozen=True)
class Subset:
    """The images of a measurement."""

    info: DatasetInfo
    "The data set itself."
    validation: tuple[Path, ...]
    training: tuple[Path, ...]
    "For recalibration: the same images that ``prune --recalibrate`` takes."
    digest: str
    "SHA-256 over the contents of all these images and their labels, and the description."


def choose_subset(data: Path, measure: MeasureSettings, task: str | None = None) -> Subset:
    """Choose the images of a measurement.

    Raises:
        DatasetError: The data set cannot be used.
    """
    info = check_dataset(data, task)
    validation = spread(image_files(info, "val"), measure.images)
    training = training_images(info, measure.recalibrate)
    return Subset(info, tuple(validation), tuple(training), content_digest(info, validation, training))


def copy_subset(subset: Subset, folder: Path) -> Path:
    """Copy the validation images and their labels below a folder and return what Ultralytics finds them by."""
    require_free_space(folder, sum(path.stat().st_size for path in subset.validation))
    if subset.info.label_kind == FOLDERS:
        return _copy_classes(subset, folder / "classes")
    # The folder of masks may be several levels deep.
    kinds = ("images", Path(subset.info.label_folder).name)
    with writing_to(folder):
        for kind in kinds:
            (folder / kind / "val").mkdir(parents=True)
        for number, (image, label) in enumerate(labelled(subset)):
            # Numbers keep apart what has the same name in different folders, and keep the order.
            shutil.copyfile(image, folder / "images" / "val" / f"{number:06d}{image.suffix}")
            if label.is_file():
                shutil.copyfile(label, folder / kinds[1] / "val" / f"{number:06d}{label.suffix}")
        described = yaml.safe_load(resolved_yaml(subset.info, folder).read_text(encoding="utf-8"))
        described.pop("test", None)
        described |= {"path": str(folder), "train": "images/val", "val": "images/val"}
        if subset.info.label_kind == MASKS:
            described["masks_dir"] = kinds[1]
        target = folder / "subset.yaml"
        target.write_text(yaml.safe_dump(described, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return target


def labelled(subset: Subset) -> list[tuple[Path, Path]]:
    """Return (validation image, label file) pairs, where Ultralytics looks for labels; they need not exist."""
    return list(zip(subset.validation, label_files(subset.info, subset.validation), strict=True))


def _copy_classes(subset: Subset, folder: Path) -> Path:
    """Copy validation images into a folder for each class; training images, which nobody reads, have to be there."""
    with writing_to(folder):
        for split in ("train", "val"):
            for name in subset.info.names.values():
                (folder / split / name).mkdir(parents=True)
                if split == "train":
                    shutil.copyfile(subset.validation[0], folder / split / name / f"any{subset.validation[0].suffix}")
        for number, image in enumerate(subset.validation):
            target = folder / "val" / class_of(subset.info, image) / f"{number:06d}{image.suffix}"
            shutil.copyfile(image, target)
    return folder
