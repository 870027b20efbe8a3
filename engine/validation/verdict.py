"""What a step did to the accuracy of a model, in one sentence: better, the same within the doubt, or worse."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from engine.base import numbers
from engine.base.tasks import METRICS, TASKS, metric_label
from engine.settings.results import Verdict
from engine.validation.doubt import CONFIDENCE, Difference, difference
from engine.validation.matches import Matches

Role = Literal["parent", "reference"]
AGAINST: tuple[Role, ...] = ("parent", "reference")
WHO = {"parent": "the model it started from", "reference": "the dense original"}
"Whom a model is held against, in words."
_OPENING = {"better": "Better than", "same": "As good as", "worse": "Worse than"}
_NEXT = {
    ("parent", "better"): "Export it, or prune further.",
    ("parent", "same"): "Export it; more epochs, or more images to train with, may bring it further.",
    ("parent", "worse"): "Keep the model it started from, or train again with a lower learning rate or for longer.",
    ("reference", "better"): "Export it, or prune further.",
    ("reference", "same"): "Nothing was lost by making it smaller: export it, or prune further.",
    ("reference", "worse"): "Fine-tune for longer, distil from the dense original, or prune less.",
}


def verdict(
    task: str,
    against: Role,
    other: tuple[str, float, Matches | None],
    own: tuple[float, Matches | None],
) -> Verdict:
    """Return how a model stands against another one, measured on the same images.

    Args:
        task: Of both.
        against: Whom the other one is to the model.
        other: Path of the other one, what it scores, and what it found image by image.
        own: What the model scores, and what it found; None where it was not kept or the task has none.

    Returns:
        With the interval of ``engine.validation.doubt`` where both matches are there; without, a difference that
        rounds to nothing counts as the same.
    """
    metric = TASKS[task].metric
    weights, other_score, other_matches = other
    score, matches = own
    pair = _paired(matches, other_matches)
    judgement = pair.judgement if pair else _judged(metric, score - other_score)
    told = Verdict(
        against=against,
        weights=weights,
        metric=metric,
        value=score,
        other=other_score,
        low=pair.low if pair else None,
        high=pair.high if pair else None,
        images=pair.images if pair else None,
        judgement=judgement,
        sentence="",
    )
    return told.model_copy(update={"sentence": f"{opening(told)} {_NEXT[against, judgement]}"})


def opening(told: Verdict) -> str:
    """Return a verdict without what to do next: 'As good as ..., within the doubt: mAP50-95 0.708 against ...'."""
    within = ", within the doubt" if told.judgement == "same" and told.low is not None else ""
    change = numbers.score_change(told.value - told.other)
    return (
        f"{_OPENING[told.judgement]} {WHO.get(told.against, Path(told.weights).name)}{within}: "
        f"{metric_label(told.metric)} {numbers.score(told.value)} against {numbers.score(told.other)} "
        f"({change}{_interval(told)})."
    )


def _interval(told: Verdict) -> str:
    if told.low is None or told.high is None:
        return "; how sure this is cannot be told for this task"
    low, high = (numbers.score_change(bound) for bound in (told.low, told.high))
    return f"; between {low} and {high} at {numbers.percent(CONFIDENCE, 0)} on {told.images} images"


def _paired(own: Matches | None, other: Matches | None) -> Difference | None:
    """Return the difference with its interval, None where the two are no pair."""
    if own is None or other is None or own.images != other.images:
        return None
    return difference(own, other)


def _judged(metric: str, change: float) -> Literal["better", "same", "worse"]:
    if abs(change) < numbers.NO_CHANGE:
        return "same"
    return "better" if (change > 0) == METRICS[metric].larger_is_better else "worse"
