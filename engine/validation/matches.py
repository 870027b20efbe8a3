"""What a validation found in each image, kept so that its accuracy can be counted again over other draws of images.

A pair of models that is judged on the same images is judged with its doubt: see ``engine.validation.doubt``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_RECALLS = np.linspace(0, 1, 101)
"Where COCO reads precision."
_MOST_CELLS = 2_000_000
"Of a table with a row for each draw: some tens of megabytes."


class Matches(Protocol):
    """What was found in each image of a split."""

    @property
    def images(self) -> int:
        """How many there were."""

    def score(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the task is judged by, of each draw: (draws, images) counts -> (draws,), 0 to 1."""


@dataclass(frozen=True)
class MatchedBoxes:
    """Boxes that a model found, in the order of the images, and the objects that were there."""

    images: int
    image: NDArray[np.int32]
    "(boxes,) position of the image of each box."
    right: NDArray[np.bool_]
    "(boxes, 10) whether a box has found an object at IoU 0.50, 0.55, ... 0.95."
    confidence: NDArray[np.float32]
    "(boxes,)"
    label: NDArray[np.int32]
    "(boxes,) class."
    object_image: NDArray[np.int32]
    "(objects,) position of the image of each object."
    object_label: NDArray[np.int32]
    "(objects,) class."

    def score(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return mAP50-95 of each draw of images; with every image once it is Ultralytics' own.

        A box of an image that was drawn twice counts as one of weight two. The mean is over the classes that the draw
        shows.

        Args:
            drawn: (draws, images) how often each image was drawn.
        """
        order = np.argsort(-self.confidence)
        label, right, image = self.label[order], self.right[order], self.image[order]
        total, shown = np.zeros(len(drawn)), np.zeros(len(drawn))
        for name in np.unique(self.object_label):
            there, own = self.object_image[self.object_label == name], np.flatnonzero(label == name)
            hits = np.flatnonzero(right[own].any(axis=1))
            own = own[: hits[-1] + 1] if len(hits) else own[:0]  # what is less sure than the last hit changes nothing
            rows = max(_MOST_CELLS // max(len(there), len(own)), 1)
            for part in (slice(start, start + rows) for start in range(0, len(drawn), rows)):
                objects = drawn[part, there].sum(axis=1)
                precision = _average_precision(drawn[part, image[own]], right[own], objects)
                total[part] += np.where(objects > 0, precision, 0.0)
                shown[part] += objects > 0
        return total / np.maximum(shown, 1)


def _average_precision(
    weights: NDArray[np.int64], right: NDArray[np.bool_], objects: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mean over thresholds of the average precision at 101 recalls (COCO), as Ultralytics counts it.

    Args:
        weights: (draws, boxes) of one class, the most confident first.
        right: (boxes, thresholds).
        objects: (draws,) how many there were to find.

    Returns:
        (draws,)
    """
    if not weights.shape[1]:
        return np.zeros(len(weights))
    total = np.maximum(weights.cumsum(axis=1), 1)  # before the first drawn box nothing is right anyway
    precisions = [_precision(weights, total, right[:, at], objects) for at in range(right.shape[1])]
    return np.mean([np.trapezoid(precision, _RECALLS, axis=1) for precision in precisions], axis=0)


def _precision(
    weights: NDArray[np.int64], total: NDArray[np.int64], right: NDArray[np.bool_], objects: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the falling precision of each draw at the 101 recalls, none beyond the last recall that was reached.

    The curve turns where a box is right, and just before: the boxes between are left out.
    """
    hits = np.flatnonzero(right)
    turns = np.unique(np.concatenate([hits, np.maximum(hits - 1, 0), [len(right) - 1]]))
    found = (weights[:, turns] * right[turns]).cumsum(axis=1)
    envelope = np.maximum.accumulate((found / total[:, turns])[:, ::-1], axis=1)[:, ::-1]
    edge = np.ones((len(weights), 1))
    recall = found / (objects[:, None] + 1e-16)
    recall = np.concatenate([0 * edge, recall, recall[:, -1:], edge], axis=1)
    envelope = np.concatenate([edge, envelope, 0 * edge, 0 * edge], axis=1)
    return np.stack([np.interp(_RECALLS, *curve) for curve in zip(recall, envelope, strict=True)])


@dataclass(frozen=True)
class MatchedClasses:
    """Whether the class that came first was the right one, of each image."""

    right: NDArray[np.bool_]
    "(images,)"

    @property
    def images(self) -> int:
        """How many there were."""
        return len(self.right)

    def score(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the top-1 accuracy of each draw of images."""
        return (drawn * self.right).sum(axis=1) / drawn.sum(axis=1)


_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (MatchedBoxes, MatchedClasses)}


def matches_of(validator: Any) -> Matches | None:
    """Return what one of Ultralytics' validators found, after its last batch and before it counts.

    None where the task is not judged image by image (semantic segmentation and depth).
    """
    if validator.args.task == "classify":
        first = np.concatenate([batch[:, 0].numpy() for batch in validator.pred])
        return MatchedClasses(first == np.concatenate([batch.numpy() for batch in validator.targets]))
    if not hasattr(validator.metrics, "box"):
        return None
    stats = validator.metrics.stats
    found, there = ([len(part) for part in stats[name]] for name in ("conf", "target_cls"))
    return MatchedBoxes(
        images=len(found),
        image=np.repeat(np.arange(len(found), dtype=np.int32), found),
        right=np.concatenate(stats["tp"]).astype(bool),
        confidence=np.concatenate(stats["conf"]).astype(np.float32),
        label=np.concatenate(stats["pred_cls"]).astype(np.int32),
        object_image=np.repeat(np.arange(len(there), dtype=np.int32), there),
        object_label=np.concatenate(stats["target_cls"]).astype(np.int32),
    )


def to_bytes(matches: Matches) -> bytes:
    """Return matches as a compressed file of numpy."""
    arrays = {name: np.asarray(value) for name, value in vars(matches).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, kind=np.array(type(matches).__name__), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def from_bytes(content: bytes) -> Matches | None:
    """Return what ``to_bytes`` wrote, None where it is damaged; nothing in it is executed."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            values: dict[str, Any] = dict(arrays)
            kind = _KINDS[str(values.pop("kind"))]
            return kind(**{name: value if value.ndim else int(value) for name, value in values.items()})
    except Exception:  # a damaged archive raises whatever its damage leads to
        return None
