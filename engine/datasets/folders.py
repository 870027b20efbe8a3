"""A data set for classification: a folder with ``train`` and ``val``, and in each a folder for every class.

The rules are those of Ultralytics' ``check_cls_dataset``, with one deviation: a folder of classes without ``train`` is
refused, where Ultralytics would make a divided copy of it. Pictures are counted, not opened.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from engine.base.errors import DatasetError
from engine.base.tasks import FOLDERS
from engine.datasets.info import IMAGE_SUFFIXES, SPLITS, DatasetInfo, count_sentence

_SPLIT_NAMES = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}
"Split -> names that its folder may have, as Ultralytics looks for them."
_LAYOUT = "a classification data set is a folder with train and val, and in each a folder of images for every class"


def is_class_folder(folder: Path) -> bool:
    """Whether a folder looks like a data set for classification: ``train`` holds folders that hold images directly."""
    train = folder / "train"
    return train.is_dir() and any(_images_in(entry) for entry in _folders_in(train))


def check_class_folder(folder: Path) -> DatasetInfo:
    """Check a data set for classification, without side effects.

    Raises:
        DatasetError: it cannot be trained on; the sentence says why and what to do.
    """
    if not folder.exists():
        raise DatasetError(f"The data set {folder} does not exist; give the path of its folder.")
    if not folder.is_dir():
        raise DatasetError(f"{folder.name} is not a folder; {_LAYOUT}.")
    root = Path(os.path.realpath(folder))
    if not (root / "train").is_dir():
        raise DatasetError(f"The folder {folder} has no train folder; {_LAYOUT}.")
    names = dict(enumerate(sorted(entry.name for entry in _folders_in(root / "train"))))
    if not names:
        raise DatasetError(f"{root / 'train'} holds no folders; {_LAYOUT}.")
    counts = {split: _counted(found) for split in SPLITS if (found := _split_folder(root, split))}
    for split in ("train", "val"):
        if not sum(counts.get(split, Counter()).values()):
            raise DatasetError(f"There are no images in the {split} folder of {folder}; {_LAYOUT}.")
    counts = {split: count for split, count in counts.items() if sum(count.values())}
    per_class = {name: sum(count[name] for count in counts.values()) for name in names.values()}
    images = {split: sum(count.values()) for split, count in counts.items()}
    return DatasetInfo(
        root, root, names, images, dict(images), per_class, tuple(_problems(counts, names)), label_kind=FOLDERS
    )


def class_images(info: DatasetInfo, split: str) -> list[Path]:
    """Return the images of a split, sorted by class and name; the folder that holds an image is its class."""
    folder = _split_folder(info.root, split)
    if folder is None or split not in info.images:
        raise DatasetError(f"{info.root.name} has no '{split}' images; choose another split.")
    known = set(info.names.values())
    return [image for entry in sorted(_folders_in(folder)) if entry.name in known for image in _images_below(entry)]


def class_of(info: DatasetInfo, image: Path) -> str:
    """Return the class of an image of the set: the folder below that of its split."""
    return image.relative_to(info.root).parts[1]


def _split_folder(root: Path, split: str) -> Path | None:
    return next((root / name for name in _SPLIT_NAMES[split] if (root / name).is_dir()), None)


def _counted(folder: Path) -> Counter[str]:
    """Return class -> images of a split's folder; those directly in it belong to no class."""
    return Counter({entry.name: len(_images_below(entry)) for entry in _folders_in(folder)})


def _folders_in(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir()]


def _images_in(folder: Path) -> bool:
    return any(_is_image(entry.name) for entry in folder.iterdir())


def _images_below(folder: Path) -> list[Path]:
    """Image files at any depth, sorted, as torchvision's ImageFolder finds them."""
    return sorted(Path(file) for file in files_below(folder) if _is_image(file))


def files_below(folder: str | Path, *, hidden: bool = True) -> list[str]:
    """Return the files at any depth of a folder, through links to other folders as well.

    Args:
        folder: Where to look.
        hidden: Whether to look at what has a name that begins with a dot.

    Raises:
        DatasetError: a link leads back to a folder above it, so that every image would count many times.
    """
    found: list[str] = []
    above = {str(folder): {_identity(folder)}}
    for place, folders, names in os.walk(folder, followlinks=True):
        if not hidden:
            folders[:] = [name for name in folders if not name.startswith(".")]
            names = [name for name in names if not name.startswith(".")]
        found += [os.path.join(place, name) for name in names]
        passed = above.pop(place)
        for path in (os.path.join(place, name) for name in folders):
            if (identity := _identity(path)) in passed:
                raise DatasetError(f"The link {path} leads back to a folder that it lies in; remove it.")
            above[path] = passed | {identity}
    return found


def _identity(folder: str | Path) -> tuple[int, int]:
    described = os.stat(folder)
    return described.st_dev, described.st_ino


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_SUFFIXES


def _problems(counts: dict[str, Counter[str]], names: dict[int, str]) -> list[str]:
    """Return what a person should know: classes without images, and folders that are no class of the training."""
    problems = []
    known = set(names.values())
    for split, count in counts.items():
        unknown = sorted(name for name in count if name not in known and count[name])
        empty = sorted(name for name in known if not count[name])
        if unknown:
            what = "is no class of the training images and will be skipped"
            plural = "are no classes of the training images and will be skipped"
            problems.append(count_sentence(unknown, f"{split} folder", plural if len(unknown) > 1 else what))
        if empty:
            problems.append(count_sentence(empty, "class", f"without {split} images", "classes"))
    return problems
