"""What was measured of a model before a cut: accuracy by ratio, and by block. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.base.tasks import main_score, score_difference, score_heading
from engine.validation.study import Study, interpolated


@dataclass(frozen=True)
class MeasuredCurve:
    """The metric that judges a model against the ratio, as measured."""

    score: str
    "What the metric is called, such as mAP50-95."

    dense: float
    "Of the whole model, 0 to 1."
    points: tuple[tuple[float, float], ...]
    "(ratio achieved, metric) pairs, ascending, the whole model first."
    about: str
    "What it was measured on, in a sentence."

    def at(self, ratio: float) -> float | None:
        """Return the metric at a ratio, between the measured ones; None beyond them."""
        return interpolated(self.points, ratio)

    def relative(self) -> list[tuple[float, float]]:
        """Return (ratio achieved, percent of the whole model's metric) pairs."""
        return [(ratio, 100 * value / self.dense) for ratio, value in self.points] if self.dense else []


@dataclass(frozen=True)
class MeasuredBlocks:
    """The loss of the metric that judges a model with one block pruned alone, as measured."""

    score: str
    "What the metric is called."

    names: tuple[str, ...]
    "Such as model.4."
    kinds: tuple[str, ...]
    "Such as C2f."
    shares: tuple[float, ...]
    changes: tuple[tuple[float | None, ...], ...]
    "By block, then share: change of the metric; None where a floor forbids the share."
    about: str


def measured_curve(study: Study) -> MeasuredCurve | None:
    """Return the curve of a study of accuracy, None while only the whole model was measured."""
    metrics = study.metrics("dense")
    dense = main_score(metrics)
    pairs = sorted(
        (at["ratio_achieved"], score) for at in study.cuts() if (score := main_score(at["metrics"])) is not None
    )
    if dense is None or not pairs:
        return None
    return MeasuredCurve(score_heading([metrics]), dense, ((0.0, dense), *pairs), about_study(study))


def measured_blocks(study: Study) -> MeasuredBlocks | None:
    """Return the heat map of a study of sensitivity, None before the first block was measured."""
    repaired = study.metrics("repaired")
    cut = {(at["block"], at["share"]): score_difference(at["metrics"], repaired) for at in study.cuts()}
    if not cut:
        return None
    shares = tuple(sorted({share for _, share in cut}))
    names = tuple(block["block"] for block in study.blocks)
    return MeasuredBlocks(
        score=score_heading([repaired]),
        names=names,
        kinds=tuple(block["kind"] for block in study.blocks),
        shares=shares,
        changes=tuple(tuple(cut.get((name, share)) for share in shares) for name in names),
        about=about_study(study),
    )


def about_study(study: Study) -> str:
    """Say on which images, and after which repair, a study was measured."""
    measure = study.settings["measure"]
    repairs = ["compensated"] if measure["compensate"] else []
    if measure["recalibrate"]:
        where = "" if measure.get("recalibrate_free", True) else ", unless all removed gammas are zero"
        repairs.append(f"recalibrated on {measure['recalibrate']} images{where}")
    repaired = f" ({', '.join(repairs)})" if repairs else ""
    data = Path(study.data)
    return (
        f"On {study.images} images of {data.parent.name}/{data.name} at {measure['imgsz']} px, "
        f"right after the cut{repaired}, before fine-tuning."
    )
