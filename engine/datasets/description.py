"""The YAML description of a data set: where it lies, what it says, and what is wrong with it in one sentence.

The rules are those of Ultralytics' ``check_det_dataset``; a relative ``path`` is looked for beside the file first.
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.base.documents import DocumentError, read_yaml
from engine.base.errors import DatasetError
from engine.datasets.info import SPLITS
from engine.datasets.shipped import (
    MissingImages,
    dataset_folders,
    has_images,
    is_shipped,
    offer_of,
    shipped_description,
)

YAML_SUFFIXES = (".yaml", ".yml")
MOST_CLASSES = 100_000
"More than any published set has; ImageNet has 21,841 at most."


def find_yaml(data: Path) -> Path:
    # os.path, unlike pathlib, also answers for names that no file can have.
    if os.path.isdir(data):
        return Path(os.path.abspath(_find_yaml_in(data)))
    if not os.path.exists(data) and (shipped := shipped_description(data)):
        return shipped
    if not os.path.exists(data):
        raise DatasetError(f"The data set file {data} does not exist; give the path of a data.yaml.")
    if data.suffix.lower() not in YAML_SUFFIXES:
        raise DatasetError(f"{data.name} is not a .yaml file; give the data.yaml that describes the data set.")
    return Path(os.path.abspath(data))


def _find_yaml_in(folder: Path) -> Path:
    """The one YAML file at the top of a folder, or the one that has the folder's name."""
    found = next((files for suffix in YAML_SUFFIXES if (files := sorted(folder.glob(f"*{suffix}")))), [])
    if len(found) > 1:
        found = [file for file in found if file.stem == folder.resolve().name] or found
    if len(found) != 1:
        number = "no" if not found else f"{len(found)}"
        raise DatasetError(f"The folder {folder} holds {number} .yaml files; give the path of the right data.yaml.")
    return found[0]


def read_description(yaml_path: Path) -> dict:
    """Parse the file; 'validation' becomes 'val', as in Ultralytics."""
    try:
        description = read_yaml(yaml_path)
    except DocumentError as error:
        raise DatasetError(f"{yaml_path.name} {error}; correct the file.") from error
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
        raise DatasetError(f"'path' in {yaml_path.name} is {_told(path)}; it must be the path of a folder.")
    for split in SPLITS:
        value = description.get(split)
        entries = value if isinstance(value, list) else [value]
        if value and not all(isinstance(entry, str) and "\0" not in entry for entry in entries):
            raise DatasetError(
                f"'{split}' in {yaml_path.name} is {_told(value)}; it must be a path or a list of paths."
            )


def read_names(description: dict, yaml_path: Path) -> dict[int, str]:
    """Class index -> name; without names, Ultralytics invents them from 'nc'."""
    names, declared = description.get("names"), description.get("nc")
    if declared is not None:
        try:
            declared = int(declared) if float(declared) == int(float(declared)) else None
        except (TypeError, ValueError, OverflowError):
            declared = None
        if declared is None or declared < 1:
            raise DatasetError(
                f"'nc' in {yaml_path.name} is {_told(description['nc'])}; it must be the number of classes."
            )
        if declared > MOST_CLASSES:
            raise DatasetError(
                f"'nc' in {yaml_path.name} is {_told(declared)}; correct it, {MOST_CLASSES:,} is the most."
            )
    if names is None:
        if declared is None:
            raise DatasetError(f"{yaml_path.name} has no 'names'; add the list of class names.")
        return {index: f"class_{index}" for index in range(declared)}
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DatasetError(
            f"'names' in {yaml_path.name} is {_told(names)}; it must be a list with at least one class name."
        )
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


def read_channels(description: dict, yaml_path: Path) -> int:
    """Channels of the images; three where nothing is said, as in Ultralytics."""
    channels = description.get("channels", 3)
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
        raise DatasetError(
            f"'channels' in {yaml_path.name} is {_told(channels)}; it must be the number of channels of the images."
        )
    return channels


def find_root(description: dict, yaml_path: Path) -> Path:
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


def read_keypoints(description: dict) -> tuple[int, int] | None:
    """(number of keypoints, values of each); None unless this is a pose set."""
    shape = description.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(extent, int) for extent in shape):
        return shape[0], shape[1]
    return None


def _told(value: object) -> str:
    """Return a value as a sentence can hold it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
