"""What a checkpoint file is in words and numbers: the one description of it, for pages, reports, verbs and lineage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, StringConstraints

from engine.base.documents import read_bytes
from engine.base.tasks import SHOWN, main_metric

Text = Annotated[str, StringConstraints(max_length=1000)]
"Of a file: every one has a length."
Keypoints = tuple[int, int]
"(number of keypoints, values of each)."


@dataclass(frozen=True)
class TrainingConditions:
    """What a training validated on, as far as it is recorded."""

    data: Text
    "Digest of the description, or its path where it is gone."
    imgsz: int
    "Pixels."

    def __str__(self) -> str:
        return f"by its own training at {self.imgsz} px"


@dataclass(frozen=True)
class RecordedScore:
    """The accuracy that a model's record or its file tells."""

    metrics: dict[Text, float]
    conditions: TrainingConditions | None
    "None where they are not recorded."


@dataclass(frozen=True)
class ModelFacts:
    """What a data set has to fit."""

    name: Text
    "Of the file, for sentences."
    names: tuple[Text, ...]
    "Class names in the order of their numbers; empty for a model without classes."
    channels: int = 3
    "Of the images that it takes."
    keypoints: Keypoints | None = None
    "Of a pose model."
    single_cls: bool = False
    "All classes of the data set count as one."
    pruned: bool = False
    "So that no part of it can be built anew."
    moves_classes: bool = True
    "Training puts what it knows of a class where the data set has the class of that name; not in a classifier."


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint file tells of itself."""

    digest: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    "SHA-256 of the file, hexadecimal."
    task: Text
    "detect, segment, pose, obb, classify ..."
    names: dict[NonNegativeInt, Text]
    trained_imgsz: PositiveInt
    "Pixels."
    params: NonNegativeInt
    gflops: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    "At GFLOPS_IMGSZ; None where they were not counted, since the model does not run at that size."
    size_mb: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    "1 MB is 1,000,000 bytes."
    stride: PositiveInt
    "What image sizes are multiples of, in pixels."
    fitting: ModelFacts
    "What a data set has to fit."
    told: RecordedScore
    "Its metrics are empty where the file tells no accuracy."
    made: dict[str, Any]
    "How the file says that it was made, empty where it says nothing; JSON-like values."
    training: dict[str, Any]
    "Arguments of the training that the file records; JSON-like values."
    end2end: bool
    "It has an end-to-end head beside the other one, as YOLOv10 and YOLO26 have."
    centres: bool
    "Its final boxes are centres and sizes as shares of the image, as those of RT-DETR are."


def scores_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the accuracies among metrics; empty without the one that models of the task are judged by."""
    scores = {name: float(metrics[name]) for name in SHOWN if isinstance(metrics.get(name), (int, float))}
    return scores if main_metric(scores) else {}


def data_identity(data: Any) -> str:
    """Return what tells data sets apart: every run keeps a copy of the same description in a folder of its own."""
    try:
        return hashlib.sha256(read_bytes(Path(str(data)))).hexdigest()
    except (OSError, ValueError):  # a DocumentError, or a path that cannot be
        return str(data)


def as_keypoints(shape: Any) -> Keypoints | None:
    """Return a ``kpt_shape`` as a pair, None where it is none."""
    if not isinstance(shape, (list, tuple)) or len(shape) != 2 or not all(isinstance(each, int) for each in shape):
        return None
    return int(shape[0]), int(shape[1])
