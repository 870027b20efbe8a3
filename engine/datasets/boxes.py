"""Text files of labels: a box, a polygon, or a box with keypoints a row.

A file that Ultralytics would skip is counted with its fault; a split of which nearly nothing is left is refused.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

from engine.base.documents import DocumentError, read_bytes
from engine.base.errors import DatasetError
from engine.datasets.info import NAMED_EXAMPLES, count_sentence

_MOST_BYTES = 16 << 20
"Of the labels of one image."
_COORDINATE_TOLERANCE = 0.01  # share of the image side by which Ultralytics lets a box leave the picture


@dataclass
class SplitCount:
    """Running counts over the label files of one split."""

    rows_per_class: Counter[int] = field(default_factory=Counter)
    labelled: int = 0  # images with a label file
    missing: list[str] = field(default_factory=list)  # label files
    out_of_range: list[tuple[str, int]] = field(default_factory=list)  # label file, its largest class
    malformed: list[tuple[str, str]] = field(default_factory=list)  # label file, what is wrong


class _MalformedLabel(ValueError):
    """A label file that Ultralytics would skip together with its image."""


def label_file(image: str) -> str:
    """The label file of an image: the last 'images' folder becomes 'labels'."""
    return f"{os.sep}labels{os.sep}".join(image.rsplit(f"{os.sep}images{os.sep}", 1)).rsplit(".", 1)[0] + ".txt"


def count_labels(images: list[str], classes: int, keypoint_columns: int) -> SplitCount:
    """Read the label files of all images of one split."""
    count = SplitCount()
    for path in map(label_file, images):
        try:
            text = read_bytes(path, _MOST_BYTES).decode("utf-8-sig")
            rows = _parse_labels(text, keypoint_columns)
        except (FileNotFoundError, NotADirectoryError):
            count.missing.append(path)
            continue
        except _MalformedLabel as error:
            count.labelled += 1
            count.malformed.append((path, str(error)))
            continue
        except (OSError, UnicodeDecodeError, DocumentError):
            count.labelled += 1
            count.malformed.append((path, "it cannot be read as text"))
            continue
        count.labelled += 1
        if rows and max(rows) >= classes:
            count.out_of_range.append((path, max(rows)))
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


def refuse_unusable(count: SplitCount, images: int, split: str, names: dict[int, str]) -> None:
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


def describe_split(count: SplitCount, absent: list[str], split: str, classes: int) -> list[str]:
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
            f"will be skipped ({'; '.join(faults[:NAMED_EXAMPLES])})",
        ),
    )
    sentences = [count_sentence(files, *words) for files, *words in findings if files]
    if not count.rows_per_class and not count.out_of_range:
        sentences.append(f"The {split} images have no boxes.")
    return sentences


def describe_unused_classes(boxes_per_class: dict[str, int]) -> list[str]:
    unused = [name for name, boxes in boxes_per_class.items() if not boxes]
    if not unused or not any(boxes_per_class.values()):
        return []
    more = f" and {len(unused) - NAMED_EXAMPLES} more" if len(unused) > NAMED_EXAMPLES else ""
    return [f"There are no boxes of {', '.join(unused[:NAMED_EXAMPLES])}{more}."]
