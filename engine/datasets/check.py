"""Read a YOLO data set description and say what it holds, or in one sentence why it cannot be used.

The rules are those of Ultralytics' ``check_det_dataset`` and ``BaseDataset.get_img_files``, with two deviations: a
relative ``path`` is looked for beside the YAML file before anywhere else, and nothing is ever downloaded, executed or
written here (``engine.datasets.downloading`` does that once it is asked to). Pictures are counted, not opened.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from engine.base.documents import DocumentError, read_bytes
from engine.base.errors import DatasetError
from engine.base.files import expanded, write_text_atomic
from engine.base.tasks import BOXES, DEPTH, FOLDERS, MASKS, POLYGONS, TASKS
from engine.datasets.boxes import count_labels, describe_split, describe_unused_classes, label_file, refuse_unusable
from engine.datasets.description import (
    YAML_SUFFIXES,
    find_root,
    find_yaml,
    read_channels,
    read_description,
    read_keypoints,
    read_names,
)
from engine.datasets.folders import check_class_folder, class_images, files_below, is_class_folder
from engine.datasets.info import IMAGE_SUFFIXES, SPLITS, DatasetInfo
from engine.datasets.maps import check_pictures, label_picture

_MOST_LIST_BYTES = 64 << 20
"Of a text file with an image a line: some 600,000 lines."
_LOOKED_AT = 20
"Images whose labels tell of what kind they are."


def check_dataset(data: str | Path, task: str | None = None) -> DatasetInfo:
    """Check a data set as Ultralytics would find it, without side effects.

    Args:
        data: the YAML file, or a folder with exactly one (or one of the folder's own name), or the name of one that
            Ultralytics ships, such as coco8.yaml, where no file has it; for classification the folder of train and val.
        task: what a model is to learn from it; told from the labels that are there if None.

    Raises:
        MissingImages: Ultralytics ships the description, but the images are not here; it says what can be downloaded.
        DatasetError: the set cannot be trained on; the sentence says why and what to do.
    """
    path = expanded(data)
    if task == "classify" or (task is None and _holds_classes(path)):
        return check_class_folder(path)
    yaml_path = find_yaml(path)
    description = read_description(yaml_path)
    names, channels = read_names(description, yaml_path), read_channels(description, yaml_path)
    root = find_root(description, yaml_path)
    kind, folder = _labels_of(description, root, yaml_path, task)
    said = DatasetInfo(
        yaml_path,
        root,
        names,
        images={},
        labels={},
        boxes_per_class={},
        label_kind=kind,
        label_folder=folder,
        channels=channels,
        keypoints=read_keypoints(description),
    )
    return _counted(said, description)


def _counted(said: DatasetInfo, description: dict) -> DatasetInfo:
    """Return what a description says of a set, and what was found of it: images, labels and problems."""
    images: dict[str, int] = {}
    labels: dict[str, int] = {}
    rows_per_class: Counter[int] = Counter()
    problems: list[str] = []
    for split in (split for split in SPLITS if description.get(split)):
        try:
            images[split], labels[split], rows, found = _count_split(said, description, split)
        except DatasetError as error:
            # Neither training nor validation reads the test split, and many descriptions name one that was never made.
            if split != "test":
                raise
            problems.append(str(error))
            continue
        rows_per_class += rows
        problems += found
    names, pictures = said.names, said.label_kind in (MASKS, DEPTH)
    boxes_per_class = {} if pictures else dict.fromkeys(names.values(), 0)
    for index, name in names.items() if boxes_per_class else ():
        boxes_per_class[name] += rows_per_class[index]
    problems += describe_unused_classes(boxes_per_class)
    if said.label_kind == POLYGONS and len(names) > 1:
        names = names | {len(names): "background"}  # as ultralytics.data.utils.add_polygon_background does
    return replace(
        said, names=names, problems=tuple(problems), images=images, labels=labels, boxes_per_class=boxes_per_class
    )


def _count_split(said: DatasetInfo, description: dict, split: str) -> tuple[int, int, Counter[int], list[str]]:
    """Return images and labels of a split, the labels of each class unless they are pictures, and problems."""
    files, absent = _list_images(_resolve_split(description, split, said.root, said.yaml_path), split, said.yaml_path)
    classes = len(said.names)
    if said.label_kind in (MASKS, DEPTH):
        counted, found = check_pictures(files, said.label_kind, said.label_folder, description, classes, split)
        return len(files), counted, Counter(), found
    count = count_labels(files, classes, math.prod(said.keypoints or (0,)))
    refuse_unusable(count, len(files), split, said.names)
    found = describe_split(count, absent, split, classes)
    return len(files), count.rows_per_class.total(), count.rows_per_class, found


def _holds_classes(path: Path) -> bool:
    """Whether a path is a folder without a description whose ``train`` holds a folder for each class."""
    if not os.path.isdir(path) or any(list(path.glob(f"*{suffix}")) for suffix in YAML_SUFFIXES):
        return False
    return is_class_folder(path)


def _labels_of(description: dict, root: Path, yaml_path: Path, task: str | None) -> tuple[str, str]:
    """Return the kind of a set's labels, and the folder that takes the place of 'images' in their paths."""
    masks = description.get("masks_dir") or ("masks" if (root / "masks").is_dir() else "")
    if task is None:
        found = _first_labels(description, root, yaml_path, masks)
    elif task == "semantic":
        found = MASKS if masks else POLYGONS
    else:
        found = TASKS[task].labels[0] if task in TASKS else BOXES
    return found, {MASKS: str(masks), DEPTH: "depth"}.get(found, "labels")


def _first_labels(description: dict, root: Path, yaml_path: Path, masks: str) -> str:
    """Return the kind of the labels that some training images have: text files where there are any."""
    files, _ = _list_images(_resolve_split(description, "train", root, yaml_path), "train", yaml_path)
    some = files[:: max(1, len(files) // _LOOKED_AT)][:_LOOKED_AT]
    if any(os.path.isfile(label_file(image)) for image in some):
        return BOXES
    for kind, folder in ((MASKS, masks), (DEPTH, "depth")):
        if folder and any(os.path.isfile(label_picture(image, kind, folder)) for image in some):
            return kind
    return BOXES


def image_files(info: DatasetInfo, split: str) -> list[Path]:
    """Return the image files of a split, sorted.

    Raises:
        DatasetError: the set has no such split, or its description has changed since it was checked.
    """
    if info.label_kind == FOLDERS:
        return class_images(info, split)
    description = read_description(info.yaml_path)
    if split not in info.images or not description.get(split):
        raise DatasetError(f"{info.yaml_path.name} has no '{split}' images; choose another split.")
    sources = _resolve_split(description, split, info.root, info.yaml_path)
    return [Path(file) for file in _list_images(sources, split, info.yaml_path)[0]]


def resolved_yaml(info: DatasetInfo, folder: str | Path, name: str = "data.yaml") -> Path:
    """Write a data.yaml, or one of another name, that means the same set wherever Ultralytics runs.

    It has an absolute ``path`` and no ``download``, so that nothing is fetched or executed when images go missing. A
    set for classification has no description: its folder is what Ultralytics is given.

    Args:
        info: the checked set.
        folder: where data.yaml is written, atomically; made if missing.

    Returns:
        the written file, absolute, or the folder of a set for classification.

    Raises:
        DatasetError: the set's own description has become unreadable since.
        StorageError: the folder cannot be written.
    """
    if info.label_kind == FOLDERS:
        return info.root
    target = Path(folder).absolute() / name
    if target.exists() and target.samefile(info.yaml_path):
        raise DatasetError(
            f"{target} is the data set's own description and would be overwritten; choose another folder."
        )
    description = read_description(info.yaml_path)
    description.pop("download", None)
    for split in set(SPLITS) - set(info.images):
        description.pop(split, None)
    # The background of polygons is a class that Ultralytics adds by itself.
    own = {index: name for index, name in info.names.items() if info.label_kind != POLYGONS or index < _own(info)}
    description |= {"path": str(info.root), "names": own, "nc": len(own)}
    return write_text_atomic(target, yaml.safe_dump(description, sort_keys=False, allow_unicode=True))


def training_images(info: DatasetInfo, count: int) -> list[Path]:
    """Return the training images that BatchNorm statistics are estimated on again.

    They are the first ones, but of a set for classification some of every class.
    """
    images = image_files(info, "train")
    return spread(images, count) if info.label_kind == FOLDERS else images[:count]


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """Return up to ``count`` paths evenly spread over a list: the first frames of a film are all alike."""
    if len(paths) <= count:
        return list(paths)
    return [paths[number * len(paths) // count] for number in range(count)]


def label_files(info: DatasetInfo, images: Sequence[str | Path]) -> list[Path]:
    """Return where Ultralytics looks for the labels of images; they need not exist. Folders of classes have none."""
    if info.label_kind == FOLDERS:
        return []
    if info.label_kind in (MASKS, DEPTH):
        return [Path(label_picture(str(image), info.label_kind, info.label_folder)) for image in images]
    return [Path(label_file(str(image))) for image in images]


def _own(info: DatasetInfo) -> int:
    """Return how many classes the description of a set of polygons names."""
    return len(info.names) - (len(info.names) > 1)


# Images


def _resolve_split(description: dict, split: str, root: Path, yaml_path: Path) -> list[Path]:
    """Existing folders or files of one split, absolute."""
    value = description[split]
    resolved = []
    for entry in value if isinstance(value, list) else [value]:
        path = Path(os.path.realpath(root / entry))
        # Ultralytics forgives a single wrong '../', as some exporters write it.
        if not os.path.exists(path) and isinstance(value, str) and entry.startswith("../"):
            path = Path(os.path.realpath(root / entry[3:]))
        if not os.path.exists(path):
            raise DatasetError(
                f"'{split}: {entry}' in {yaml_path.name} points to {path}, which does not exist; "
                f"correct '{split}' or 'path'."
            )
        resolved.append(path)
    return resolved


def _list_images(sources: list[Path], split: str, yaml_path: Path) -> tuple[list[str], list[str]]:
    """Image files of one split, sorted, and those that a text file lists but that are not there.

    Folders are searched to any depth; text files list one image a line.
    """
    found: list[str] = []
    absent: list[str] = []
    for source in sources:
        if source.is_dir():
            found += _only_images(files_below(source, hidden=False))
        else:
            for image in _only_images(_read_image_list(source)):
                (found if os.path.isfile(image) else absent).append(image)
    if found:
        return sorted(found), sorted(absent)
    if absent:
        raise DatasetError(
            f"None of the {len(absent)} images of '{split}' in {yaml_path.name} exists; the first is {absent[0]}. "
            "Paths in a list are absolute, or start with ./ when they are relative to the list."
        )
    places = ", ".join(str(source) for source in sources)
    raise DatasetError(f"There are no images in {places}; correct '{split}' in {yaml_path.name}.")


def _only_images(files: list[str]) -> list[str]:
    return [file for file in files if file.rpartition(".")[2].lower() in IMAGE_SUFFIXES]


def _read_image_list(source: Path) -> list[str]:
    """Lines of a text file; only './' is relative to the file, everything else is taken as it stands."""
    try:
        lines = read_bytes(source, _MOST_LIST_BYTES).decode("utf-8-sig").strip().splitlines()
    except (OSError, UnicodeDecodeError, DocumentError) as error:
        raise DatasetError(f"{source} is not a text file with one image path a line.") from error
    parent = f"{source.parent}{os.sep}"
    return [line.replace("./", parent, 1) if line.startswith("./") else line for line in lines]
