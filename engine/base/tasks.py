"""The tasks that Ultralytics trains, in one table: who trains them, what judges them, what their labels are.

Light to import: pages read it without loading PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.base.numbers import score


@dataclass(frozen=True)
class Metric:
    """One number that a validation tells, under its short name."""

    label: str
    "As a person reads it."
    help: str
    larger_is_better: bool = True
    share: bool = True
    "From 0 to 1."


METRICS = {
    "mAP50-95": Metric("mAP50-95", "Mean average precision over IoU 0.50 to 0.95, 0 to 1."),
    "mAP50": Metric("mAP50", "Mean average precision at IoU 0.50, 0 to 1."),
    "precision": Metric("Precision", "Share of the boxes that are right, at the confidence of the best F1."),
    "recall": Metric("Recall", "Share of the objects that are found, at the confidence of the best F1."),
    "accuracy_top1": Metric("Top-1 accuracy", "Share of the images whose class comes first."),
    "accuracy_top5": Metric("Top-5 accuracy", "Share of the images whose class is among the first five."),
    "mIoU": Metric("mIoU", "Mean over the classes of intersection over union of their pixels, 0 to 1."),
    "pixel_acc": Metric("Pixel accuracy", "Share of the pixels whose class is right."),
    "delta1": Metric("Delta 1", "Share of the pixels whose depth is within a factor of 1.25, scaled by the median."),
    "delta2": Metric("Delta 2", "Share of the pixels whose depth is within a factor of 1.25 squared."),
    "delta3": Metric("Delta 3", "Share of the pixels whose depth is within a factor of 1.25 cubed."),
    "abs_rel": Metric("Relative error", "Mean of the error as a share of the depth.", False, False),
    "rmse": Metric("RMSE", "Root of the mean squared error, in metres.", False, False),
    "silog": Metric("SILog", "Scale-invariant logarithmic error, times 100.", False, False),
}
"Short name -> what it is; masks and keypoints add their own under names such as mAP50-95(M)."

BOXES, POLYGONS, MASKS, DEPTH, FOLDERS = "boxes", "polygons", "masks", "depth", "folders"
"Kinds of label: text files of boxes, text files of polygons, pictures of classes, maps of metres, folders of a class."


@dataclass(frozen=True)
class Task:
    """One task of Ultralytics."""

    name: str
    words: str
    "As in 'models for ...'."
    trainer: str
    "Class in ``engine.training.trainers``."
    metrics: tuple[str, ...]
    "Short names of what is shown; the first is what models are judged by."
    labels: tuple[str, ...]
    "Kinds of label that it learns from."
    per_class: str
    "What the number of one class is called; empty where classes have none."
    seen: str
    "What a data set shows, as in '96 boxes'."
    boxes: bool = True
    "Its models find boxes, which can be suppressed, compared one by one, and learnt from a teacher."
    imgsz: int = 640
    "Pixels, where nothing else is said."

    @property
    def metric(self) -> str:
        """The short name of what models are judged by."""
        return self.metrics[0]


_BOX_METRICS = ("mAP50-95", "mAP50", "precision", "recall")


def _box_task(name: str, words: str, trainer: str) -> Task:
    return Task(name, words, trainer, _BOX_METRICS, (BOXES,), "AP (IoU 0.50 to 0.95)", "boxes")


_TABLE = (
    _box_task("detect", "detection", "DetectionTrainer"),
    _box_task("segment", "instance segmentation", "SegmentationTrainer"),
    _box_task("pose", "poses", "PoseTrainer"),
    _box_task("obb", "oriented boxes", "OBBTrainer"),
    Task(
        name="classify",
        words="classification",
        trainer="ClassificationTrainer",
        metrics=("accuracy_top1", "accuracy_top5"),
        labels=(FOLDERS,),
        per_class="Top-1 accuracy",
        seen="labelled images",
        boxes=False,
        imgsz=224,
    ),
    Task(
        name="semantic",
        words="semantic segmentation",
        trainer="SemanticTrainer",
        metrics=("mIoU", "pixel_acc"),
        labels=(MASKS, POLYGONS),
        per_class="IoU",
        seen="masks",
        boxes=False,
    ),
    Task(
        name="depth",
        words="depth",
        trainer="DepthTrainer",
        metrics=("delta1", "delta2", "delta3", "abs_rel", "rmse", "silog"),
        labels=(DEPTH,),
        per_class="",
        seen="depth maps",
        boxes=False,
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _TABLE}
"Name of a task that can be trained and validated here -> what is known of it."
_MAIN = tuple(dict.fromkeys(task.metric for task in _TABLE))
SHOWN = tuple(dict.fromkeys(name for task in _TABLE for name in task.metrics))
"Short names of all metrics that are shown, those of one task together, the one that judges first."


def main_metric(metrics: Mapping[str, Any]) -> str | None:
    """Return the short name of the metric that judges a model, given any of what was measured; None without one."""
    return next((name for name in _MAIN if isinstance(metrics.get(name), (int, float))), None)


def main_score(metrics: Mapping[str, Any]) -> float | None:
    """Return the value of ``main_metric``, None where nothing was measured."""
    name = main_metric(metrics)
    return None if name is None else float(metrics[name])


def score_difference(metrics: Mapping[str, Any], whole: Mapping[str, Any]) -> float | None:
    """Return what ``main_score`` gained against that of the whole model, None where either was not measured."""
    now, before = main_score(metrics), main_score(whole)
    return None if now is None or before is None else now - before


def score_words(metrics: Mapping[str, Any]) -> str:
    """Return the metric that judges in words, such as 'mAP50-95 0.716'."""
    name = main_metric(metrics)
    return "not measured" if name is None else f"{metric_label(name)} {score(metrics[name])}"


def task_of(metrics: Mapping[str, Any]) -> Task | None:
    """Return a task that measures these metrics; of those judged alike, the first."""
    name = main_metric(metrics)
    return next((task for task in _TABLE if task.metric == name), None)


def telling_metrics(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the short names of the two metrics that tell most, the one that judges first."""
    return (task_of(metrics) or _TABLE[0]).metrics[:2]


def metric_label(name: str) -> str:
    """Return a metric's short name as a person reads it: ``accuracy_top1`` -> Top-1 accuracy."""
    return METRICS[name].label if name in METRICS else name


def metric_help(name: str) -> str | None:
    """Return what a metric means in a sentence, None where it is not in the table."""
    return METRICS[name].help if name in METRICS else None


def score_heading(many: Iterable[Mapping[str, Any]]) -> str:
    """Return the heading of a column of scores: the label of the metric where one judges all, else 'Accuracy'."""
    names = {name for metrics in many if (name := main_metric(metrics)) is not None}
    return metric_label(names.pop()) if len(names) == 1 else "Accuracy" if names else metric_label(_MAIN[0])


def short_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """Return Ultralytics' metrics under short names: ``metrics/mAP50(B)`` -> ``mAP50``; losses are left out."""
    return {
        name.removeprefix("metrics/").removesuffix("(B)"): float(value)
        for name, value in metrics.items()
        if name.startswith("metrics/")
    }
