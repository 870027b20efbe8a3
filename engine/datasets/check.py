"""Read a YOLO data set description and say what it holds, or in one sentence why it cannot be used.

The rules are those of Ultralytics' ``check_det_dataset`` and ``BaseDataset.get_img_files``, with two deviations: a
relative ``path`` is looked for beside the YAML file before anywhere else, and nothing is ever downloaded, executed or
written here (``engine.datasets.downloading`` does that once it is asked to). Pictures are counted, not opened.
"""

from __future__ import annotations

import glob
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from engine.datasets.boxes import count_labels, describe_split, describe_unused_classes, label_file, refuse_unusable
from engine.datasets.folders import check_class_folder, class_images, is_class_folder
from engine.datasets.info import IMAGE_SUFFIXES, SPLITS, DatasetInfo
from engine.datasets.maps import check_pictures, label_picture
from engine.datasets.shipped import (
    MissingImages,
    dataset_folders,
    has_images,
    is_shipped,
    offer_of,
    shipped_description,
)
from engine.errors import DatasetError
from engine.files import write_text_atomic
from engine.tasks import BOXES, DEPTH, FOLDERS, MASKS, POLYGONS, TASKS

_YAML_SUFFIXES = (".yaml", ".yml")
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
    path = Path(os.path.expanduser(data))
    if task == "classify" or (task is None and _holds_classes(path)):
        return check_class_folder(path)
    yaml_path = _find_yaml(path)
    description = _read_description(yaml_path)
    names, channels = _read_names(description, yaml_path), _read_channels(description, yaml_path)
    root = _find_root(description, yaml_path)
    kind, folder = _labels_of(description, root, yaml_path, task)

    images: dict[str, int] = {}
    labels: dict[str, int] = {}
    rows_per_class: Counter[int] = Counter()
    problems: list[str] = []
    for split in SPLITS:
        if not description.get(split):
            continue
        try:
            files, absent = _list_images(_resolve_split(description, split, root, yaml_path), split, yaml_path)
            if kind in (MASKS, DEPTH):
                counted, found = check_pictures(files, kind, folder, description, len(names), split)
            else:
                count = count_labels(files, len(names), _keypoint_columns(description))
                refuse_unusable(count, len(files), split, names)
                counted, found = count.rows_per_class.total(), describe_split(count, absent, split, len(names))
                rows_per_class += count.rows_per_class
        except DatasetError as error:
            # Neither training nor validation reads the test split, and many descriptions name one that was never made.
            if split != "test":
                raise
            problems.append(str(error))
            continue
        problems += found
        images[split], labels[split] = len(files), counted
    boxes_per_class = {} if kind in (MASKS, DEPTH) else dict.fromkeys(names.values(), 0)
    for index, name in names.items() if boxes_per_class else ():
        boxes_per_class[name] += rows_per_class[index]
    problems += describe_unused_classes(boxes_per_class)
    if kind == POLYGONS and len(names) > 1:
        names = names | {len(names): "background"}  # as ultralytics.data.utils.add_polygon_background does
    return DatasetInfo(
        yaml_path,
        root,
        names,
        images,
        labels,
        boxes_per_class,
        tuple(problems),
        kind,
        folder,
        channels=channels,
        keypoints=_read_keypoints(description),
    )


def _holds_classes(path: Path) -> bool:
    """Whether a path is a folder without a description whose ``train`` holds a folder for each class."""
    if not os.path.isdir(path) or any(list(path.glob(f"*{suffix}")) for suffix in _YAML_SUFFIXES):
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
    description = _read_description(info.yaml_path)
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
    description = _read_description(info.yaml_path)
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


# The description


def _find_yaml(data: Path) -> Path:
    # os.path, unlike pathlib, also answers for names that no file can have.
    if os.path.isdir(data):
        return Path(os.path.abspath(_find_yaml_in(data)))
    if not os.path.exists(data) and (shipped := shipped_description(data)):
        return shipped
    if not os.path.exists(data):
        raise DatasetError(f"The data set file {data} does not exist; give the path of a data.yaml.")
    if data.suffix.lower() not in _YAML_SUFFIXES:
        raise DatasetError(f"{data.name} is not a .yaml file; give the data.yaml that describes the data set.")
    return Path(os.path.abspath(data))


def _find_yaml_in(folder: Path) -> Path:
    """The one YAML file at the top of a folder, or the one that has the folder's name."""
    found = next((files for suffix in _YAML_SUFFIXES if (files := sorted(folder.glob(f"*{suffix}")))), [])
    if len(found) > 1:
        found = [file for file in found if file.stem == folder.resolve().name] or found
    if len(found) != 1:
        number = "no" if not found else f"{len(found)}"
        raise DatasetError(f"The folder {folder} holds {number} .yaml files; give the path of the right data.yaml.")
    return found[0]


def _read_description(yaml_path: Path) -> dict:
    """Parse the file; 'validation' becomes 'val', as in Ultralytics."""
    try:
        description = yaml.safe_load(yaml_path.read_text(encoding="utf-8", errors="ignore"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise DatasetError(f"{yaml_path.name} is not valid YAML{line}; correct the file.") from error
    except OSError as error:
        raise DatasetError(f"The data set file {yaml_path} cannot be read: {error.strerror}.") from error
    if not isinstance(description, dict):
        raise DatasetError(f"{yaml_path.name} is not a data set description; it needs the keys train, val and names.")
    if "val" not in description and "validation" in description:
        description["val"] = description.pop("validation")
    _check_types(description, yaml_path)
    for split in ("train", "val"):
        if not description.get(split):
            raise DatasetError(f"{yaml_path.name} has no '{split}'; add the folder of the {split} images.")
    return description


def _check_types(description: dict, yaml_path: Path) -> None:
    """Refuse keys whose values Ultralytics would refuse, or read as something else."""
    path = description.get("path") or ""
    if not isinstance(path, str) or "\0" in path:
        raise DatasetError(f"'path' in {yaml_path.name} is {path!r}; it must be the path of a folder.")
    for split in SPLITS:
        value = description.get(split)
        entries = value if isinstance(value, list) else [value]
        if value and not all(isinstance(entry, str) and "\0" not in entry for entry in entries):
            raise DatasetError(f"'{split}' in {yaml_path.name} is {value!r}; it must be a path or a list of paths.")


def _read_names(description: dict, yaml_path: Path) -> dict[int, str]:
    """Class index -> name; without names, Ultralytics invents them from 'nc'."""
    names, declared = description.get("names"), description.get("nc")
    if declared is not None:
        try:
            declared = int(declared) if float(declared) == int(float(declared)) else None
        except (TypeError, ValueError, OverflowError):
            declared = None
        if declared is None or declared < 1:
            raise DatasetError(f"'nc' in {yaml_path.name} is {description['nc']!r}; it must be the number of classes.")
    if names is None:
        if declared is None:
            raise DatasetError(f"{yaml_path.name} has no 'names'; add the list of class names.")
        return {index: f"class_{index}" for index in range(declared)}
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DatasetError(f"'names' in {yaml_path.name} is {names!r}; it must be a list with at least one class name.")
    try:
        names = {int(index): str(name) for index, name in names.items()}
    except (TypeError, ValueError) as error:
        raise DatasetError(f"'names' in {yaml_path.name} must number its classes 0, 1, 2 and so on.") from error
    if sorted(names) != list(range(len(names))):
        raise DatasetError(
            f"'names' in {yaml_path.name} numbers its {len(names)} classes {min(names)} to {max(names)}; "
            f"number them 0 to {len(names) - 1} without gaps."
        )
    if declared is not None and declared != len(names):
        raise DatasetError(
            f"{yaml_path.name} says nc: {declared} but names {len(names)} classes; remove 'nc' or correct it."
        )
    return dict(sorted(names.items()))


def _read_channels(description: dict, yaml_path: Path) -> int:
    """Channels of the images; three where nothing is said, as in Ultralytics."""
    channels = description.get("channels", 3)
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
        raise DatasetError(
            f"'channels' in {yaml_path.name} is {channels!r}; it must be the number of channels of the images."
        )
    return channels


def _find_root(description: dict, yaml_path: Path) -> Path:
    """The folder that splits are relative to: beside the YAML file first, then where Ultralytics would look.

    Raises:
        MissingImages: nowhere, and the description comes with Ultralytics.
        DatasetError: nowhere.
    """
    value = description.get("path")
    if not value:
        return yaml_path.parent
    shipped = is_shipped(yaml_path)
    for candidate in (yaml_path.parent / value, Path(value), *(folder / value for folder in dataset_folders())):
        if os.path.isdir(candidate) and (not shipped or has_images(description, candidate)):
            return Path(os.path.realpath(candidate))
    if shipped:
        raise MissingImages(offer_of(yaml_path))
    raise DatasetError(
        f"'path: {value}' in {yaml_path.name} points nowhere; correct it, "
        "or remove the line if the images lie beside the file."
    )


def _read_keypoints(description: dict) -> tuple[int, int] | None:
    """(number of keypoints, values of each); None unless this is a pose set."""
    shape = description.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(extent, int) for extent in shape):
        return shape[0], shape[1]
    return None


def _keypoint_columns(description: dict) -> int:
    """Columns that keypoints add to a label row; 0 unless this is a pose set."""
    return math.prod(_read_keypoints(description) or (0,))


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
            found += _only_images(glob.glob(os.path.join(glob.escape(str(source)), "**", "*.*"), recursive=True))
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
        lines = source.read_text(encoding="utf-8-sig").strip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{source} is not a text file with one image path a line.") from error
    parent = f"{source.parent}{os.sep}"
    return [line.replace("./", parent, 1) if line.startswith("./") else line for line in lines]
