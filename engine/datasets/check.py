"""Read a YOLO data set description and say what it holds, or in one sentence why it cannot be used.

The rules are those of Ultralytics' ``check_det_dataset`` and ``BaseDataset.get_img_files``, with two deviations: a
relative ``path`` is looked for beside the YAML file before anywhere else, and nothing is ever downloaded, executed or
written. Pictures are counted, not opened.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from engine.errors import DatasetError
from engine.files import write_text_atomic

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = frozenset(
    "avif bmp dng heic heif jp2 jpeg jpg mpo png tif tiff webp".split()  # ultralytics.data.utils.IMG_FORMATS
)

_YAML_SUFFIXES = (".yaml", ".yml")
_COORDINATE_TOLERANCE = 0.01  # share of the image side by which Ultralytics lets a box leave the picture
_NAMED_EXAMPLES = 3


@dataclass(frozen=True)
class DatasetInfo:
    """What a YOLO data set holds.

    Attributes:
        yaml_path: the description file, absolute.
        root: the folder that train, val and test are relative to, absolute.
        names: class index -> class name.
        images: images per split; a test split that is not mentioned or not usable is missing.
        labels: boxes per split.
        boxes_per_class: class name -> boxes in all splits together.
        problems: what a person should know before training, one sentence each.
    """

    yaml_path: Path
    root: Path
    names: dict[int, str]
    images: dict[str, int]
    labels: dict[str, int]
    boxes_per_class: dict[str, int]
    problems: tuple[str, ...] = ()


@dataclass
class _SplitCount:
    """Running counts over the label files of one split."""

    rows_per_class: Counter[int] = field(default_factory=Counter)
    labelled: int = 0  # images with a label file
    missing: list[str] = field(default_factory=list)  # label files
    out_of_range: list[tuple[str, int]] = field(default_factory=list)  # label file, its largest class
    malformed: list[tuple[str, str]] = field(default_factory=list)  # label file, what is wrong


class _MalformedLabel(ValueError):
    """A label file that Ultralytics would skip together with its image."""


def check_dataset(data: str | Path) -> DatasetInfo:
    """Check a data set as Ultralytics would find it, without side effects.

    Args:
        data: the YAML file, or a folder with exactly one (or one of the folder's own name).

    Raises:
        DatasetError: the set cannot be trained on; the sentence says why and what to do.
    """
    yaml_path = _find_yaml(Path(os.path.expanduser(data)))
    description = _read_description(yaml_path)
    names = _read_names(description, yaml_path)
    root = _find_root(description, yaml_path)

    images: dict[str, int] = {}
    labels: dict[str, int] = {}
    rows_per_class: Counter[int] = Counter()
    problems: list[str] = []
    for split in SPLITS:
        if not description.get(split):
            continue
        try:
            files, absent = _list_images(_resolve_split(description, split, root, yaml_path), split, yaml_path)
            count = _count_labels(files, len(names), _keypoint_columns(description))
            _refuse_unusable(count, len(files), split, names)
        except DatasetError as error:
            # Neither training nor validation reads the test split, and many descriptions name one that was never made.
            if split != "test":
                raise
            problems.append(str(error))
            continue
        problems += _describe_split(count, absent, split, len(names))
        images[split], labels[split] = len(files), count.rows_per_class.total()
        rows_per_class += count.rows_per_class
    boxes_per_class = dict.fromkeys(names.values(), 0)
    for index, name in names.items():
        boxes_per_class[name] += rows_per_class[index]
    problems += _describe_unused_classes(boxes_per_class)
    return DatasetInfo(yaml_path, root, names, images, labels, boxes_per_class, tuple(problems))


def image_files(info: DatasetInfo, split: str) -> list[Path]:
    """Return the image files of a split, sorted.

    Raises:
        DatasetError: the set has no such split, or its description has changed since it was checked.
    """
    description = _read_description(info.yaml_path)
    if split not in info.images or not description.get(split):
        raise DatasetError(f"{info.yaml_path.name} has no '{split}' images; choose another split.")
    sources = _resolve_split(description, split, info.root, info.yaml_path)
    return [Path(file) for file in _list_images(sources, split, info.yaml_path)[0]]


def resolved_yaml(info: DatasetInfo, folder: str | Path) -> Path:
    """Write a data.yaml that means the same set wherever Ultralytics runs.

    It has an absolute ``path`` and no ``download``, so that nothing is fetched or executed when images go missing.

    Args:
        info: the checked set.
        folder: where data.yaml is written, atomically; made if missing.

    Returns:
        the written file, absolute.

    Raises:
        DatasetError: the set's own description has become unreadable since.
        StorageError: the folder cannot be written.
    """
    target = Path(folder).absolute() / "data.yaml"
    if target.exists() and target.samefile(info.yaml_path):
        raise DatasetError(
            f"{target} is the data set's own description and would be overwritten; choose another folder."
        )
    description = _read_description(info.yaml_path)
    description.pop("download", None)
    for split in set(SPLITS) - set(info.images):
        description.pop(split, None)
    description |= {"path": str(info.root), "names": info.names, "nc": len(info.names)}
    return write_text_atomic(target, yaml.safe_dump(description, sort_keys=False, allow_unicode=True))


# The description


def _find_yaml(data: Path) -> Path:
    # os.path, unlike pathlib, also answers for names that no file can have.
    if os.path.isdir(data):
        return Path(os.path.abspath(_find_yaml_in(data)))
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


def _find_root(description: dict, yaml_path: Path) -> Path:
    """The folder that splits are relative to: beside the YAML file first, then where Ultralytics would look."""
    value = description.get("path")
    if not value:
        return yaml_path.parent
    for candidate in (yaml_path.parent / value, Path(value)):
        if os.path.isdir(candidate):
            return Path(os.path.realpath(candidate))
    raise DatasetError(
        f"'path: {value}' in {yaml_path.name} points nowhere; correct it, "
        "or remove the line if the images lie beside the file."
    )


def _keypoint_columns(description: dict) -> int:
    """Columns that keypoints add to a label row; 0 unless this is a pose set."""
    shape = description.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(extent, int) for extent in shape):
        return shape[0] * shape[1]
    return 0


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


def _label_file(image: str) -> str:
    """The label file of an image: the last 'images' folder becomes 'labels'."""
    return f"{os.sep}labels{os.sep}".join(image.rsplit(f"{os.sep}images{os.sep}", 1)).rsplit(".", 1)[0] + ".txt"


# Labels


def _count_labels(images: list[str], classes: int, keypoint_columns: int) -> _SplitCount:
    """Read the label files of all images of one split."""
    count = _SplitCount()
    for label_file in map(_label_file, images):
        try:
            with open(label_file, encoding="utf-8-sig") as file:
                text = file.read()
            rows = _parse_labels(text, keypoint_columns)
        except (FileNotFoundError, NotADirectoryError):
            count.missing.append(label_file)
            continue
        except _MalformedLabel as error:
            count.labelled += 1
            count.malformed.append((label_file, str(error)))
            continue
        except (OSError, UnicodeDecodeError):
            count.labelled += 1
            count.malformed.append((label_file, "it cannot be read as text"))
            continue
        count.labelled += 1
        if rows and max(rows) >= classes:
            count.out_of_range.append((label_file, max(rows)))
        else:
            count.rows_per_class.update(rows)
    return count


def _parse_labels(text: str, keypoint_columns: int) -> list[int]:
    """Class of every row: boxes (5 columns), polygons (7 and more, odd) or boxes with keypoints.

    Raises:
        _MalformedLabel: Ultralytics would skip the image; the text says why.
    """
    rows = [line.split() for line in text.splitlines() if line.strip()]
    polygons = not keypoint_columns and any(len(row) > 6 for row in rows)
    return [_parse_row(row, keypoint_columns, polygons) for row in rows]


def _parse_row(row: list[str], keypoint_columns: int, polygons: bool) -> int:
    try:
        values = [float(cell) for cell in row]
    except ValueError as error:
        raise _MalformedLabel("a row is not made of numbers") from error
    columns = len(values)
    if polygons:
        fits = columns >= 7 and columns % 2 == 1
    else:
        fits = columns in (5, 5 + keypoint_columns)
    if not fits:
        raise _MalformedLabel(f"a row has {columns} columns")
    if values[0] < 0 or values[0] % 1:
        raise _MalformedLabel(f"{row[0]} is not a class number")
    # What follows a pose's box holds visibilities as well, which may exceed 1.
    coordinates = values[1:] if polygons else values[1:5]
    if not all(-_COORDINATE_TOLERANCE <= coordinate <= 1 + _COORDINATE_TOLERANCE for coordinate in coordinates):
        raise _MalformedLabel("a coordinate is not between 0 and 1")
    return int(values[0])


# Sentences


def _refuse_unusable(count: _SplitCount, images: int, split: str, names: dict[int, str]) -> None:
    """Raise when nearly nothing of a split could be learnt from."""
    if not count.labelled:
        raise DatasetError(
            f"None of the {images} {split} images has a label file; the first was looked for at {count.missing[0]}."
        )
    if len(count.out_of_range) > count.labelled / 2:
        worst = max(largest for _, largest in count.out_of_range)
        raise DatasetError(
            f"{len(count.out_of_range)} of {count.labelled} {split} label files use classes up to {worst}, but 'names' "
            f"has only 0 to {len(names) - 1}; add the missing names or choose the description that belongs to these "
            "labels."
        )
    if len(count.malformed) > count.labelled / 2:
        file, fault = count.malformed[0]
        raise DatasetError(
            f"{len(count.malformed)} of {count.labelled} {split} label files are not YOLO labels: in {file}, {fault}."
        )


def _describe_split(count: _SplitCount, absent: list[str], split: str, classes: int) -> list[str]:
    """What is wrong with some files of one split."""
    largest = max((index for _, index in count.out_of_range), default=0)
    faults = sorted({fault for _, fault in count.malformed})
    findings = (
        (absent, f"listed {split} image", "cannot be found and will be skipped"),
        (count.missing, f"{split} image", "without a label file will count as background"),
        (
            [file for file, _ in count.out_of_range],
            f"{split} label file",
            f"with classes up to {largest}, outside the {classes} names, will be skipped",
        ),
        (
            [file for file, _ in count.malformed],
            f"{split} label file",
            f"will be skipped ({'; '.join(faults[:_NAMED_EXAMPLES])})",
        ),
    )
    sentences = [_count_sentence(files, *words) for files, *words in findings if files]
    if not count.rows_per_class and not count.out_of_range:
        sentences.append(f"The {split} images have no boxes.")
    return sentences


def _count_sentence(files: list[str], thing: str, what: str) -> str:
    """'2 <thing>s <what>: a.txt, b.txt.'"""
    examples = ", ".join(os.path.basename(file) for file in files[:_NAMED_EXAMPLES])
    more = ", ..." if len(files) > _NAMED_EXAMPLES else ""
    return f"{len(files)} {thing}{'s' * (len(files) > 1)} {what}: {examples}{more}."


def _describe_unused_classes(boxes_per_class: dict[str, int]) -> list[str]:
    unused = [name for name, boxes in boxes_per_class.items() if not boxes]
    if not unused or not any(boxes_per_class.values()):
        return []
    more = f" and {len(unused) - _NAMED_EXAMPLES} more" if len(unused) > _NAMED_EXAMPLES else ""
    return [f"There are no boxes of {', '.join(unused[:_NAMED_EXAMPLES])}{more}."]
