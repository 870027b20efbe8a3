"""What a data set holds, whatever its labels are, and the words that all kinds of data sets share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.base.tasks import BOXES

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = frozenset(
    "avif bmp dng heic heif jp2 jpeg jpg mpo png tif tiff webp".split()  # ultralytics.data.utils.IMG_FORMATS
)
NAMED_EXAMPLES = 3


@dataclass(frozen=True)
class DatasetInfo:
    """What a YOLO data set holds.

    Attributes:
        yaml_path: the description file, absolute; of a classification set, which has none, its folder.
        root: the folder that train, val and test are relative to, absolute.
        names: class index -> class name.
        images: images per split; a test split that is not mentioned or not usable is missing.
        labels: labels per split: boxes, pictures of classes, depth maps, or images in a folder of a class.
        boxes_per_class: class name -> labels in all splits together; empty where labels are not of one class.
        problems: what a person should know before training, one sentence each.
        label_kind: one of those in ``engine.base.tasks``.
        label_folder: what takes the place of the last 'images' folder in the path of an image's label.
        channels: of the images, as the description says; 3 where it says nothing.
        keypoints: (number, values of each) that the labels hold besides boxes; None unless this is a set for poses.
    """

    yaml_path: Path
    root: Path
    names: dict[int, str]
    images: dict[str, int]
    labels: dict[str, int]
    boxes_per_class: dict[str, int]
    problems: tuple[str, ...] = ()
    label_kind: str = BOXES
    label_folder: str = "labels"
    channels: int = 3
    keypoints: tuple[int, int] | None = None


def count_sentence(files: Sequence[str], thing: str, what: str, things: str = "") -> str:
    """'2 <things> <what>: a.txt, b.txt.'"""
    examples = ", ".join(os.path.basename(file) for file in files[:NAMED_EXAMPLES])
    more = ", ..." if len(files) > NAMED_EXAMPLES else ""
    return f"{len(files)} {thing if len(files) == 1 else things or thing + 's'} {what}: {examples}{more}."
