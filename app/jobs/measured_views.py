"""Results of the jobs that measure a model without changing it: latency, accuracy by ratio, sensitivity of blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from app import charts
from app.charts.measured import accuracy_line
from app.frame.session import PAGES, dark, store
from app.words import format
from app.words.measured import about_study
from engine.base import numbers
from engine.base.errors import StorageError
from engine.base.imgsz import pixels
from engine.base.tasks import SHOWN, main_score, metric_label, score_difference, score_heading, telling_metrics
from engine.settings.choices import RUNTIMES
from engine.settings.results import (
    AccuracyCurve,
    AccuracyResult,
    LatencyResult,
    Prediction,
    Sensitivity,
    SensitivityResult,
    Timing,
)
from engine.validation.study import read_study
from engine.workspace.store import Job

_CHART_WIDTH = 620
"Pixels at most: a few numbers."
_LABELS = frozenset(map(metric_label, SHOWN))


def show_latency(result: LatencyResult, names: Mapping[str, str]) -> None:
    """Show the models' times side by side, and why a speed-up falls short of what GFLOPs promise.

    Args:
        result: Of the verb ``latency``.
        names: Path of a checkpoint -> its name in the workspace.
    """
    for predicted in result.predicted or ():
        _show_whole_model(predicted, names)
    results = result.results
    if not results:
        return
    st.markdown("**Latency**")
    gflops = gflops_at_size(results)
    two, factor = (st.column_config.NumberColumn(format=shape) for shape in (numbers.TWO_DECIMALS, numbers.FACTOR))
    st.dataframe(
        latency_table(results, names),
        hide_index=True,
        column_config={
            "Model": st.column_config.TextColumn(width=150),
            "p50, ms": two,
            "p95, ms": two,
            "Speed-up": factor,
            "Ideal": st.column_config.NumberColumn(format=numbers.FACTOR, help="The ratio of GFLOPs."),
            gflops: two,
        },
        key="latencies",
    )
    first = results[0]
    st.caption(
        f"{pixels(first.imgsz)}, one image at a time, inference alone, {first.repeats} runs of each model in "
        "turns. "
        f"Speed-ups are against {format.plain(_named(first.weights, names))}."
    )
    for entry in results:
        if entry.explanation:
            told = f"{_named(entry.weights, names)}, {RUNTIMES.get(entry.runtime, entry.runtime)}"
            st.markdown(f"**{format.plain(told)}:** {format.plain(entry.explanation)}")


def gflops_at_size(results: Sequence[Timing]) -> str:
    """Name the column of GFLOPs with the image size that was timed, which they are counted at for the ideal."""
    return f"GFLOPs at {pixels(results[0].imgsz)}"


def _show_whole_model(entry: Prediction, names: Mapping[str, str]) -> None:
    """Show what the whole model takes, from which the latency of its plans is now predicted."""
    parts = {
        "Latency": entry.latency_ms,
        "Convolutions": entry.convolutions_ms,
        "Moving data": entry.moving_ms,
        "Rest": entry.rest_ms,
    }
    with st.grid(4, min_column_width=180):
        for label, time_ms in parts.items():
            st.metric(label, numbers.milliseconds(time_ms), border=True)
    st.caption(
        f"{format.plain(_named(entry.weights, names))} at {pixels(entry.imgsz)}, {entry.threads} threads of "
        "ONNX Runtime. The Prune page now predicts what this machine takes for any plan of it."
    )


def latency_table(results: Sequence[Timing], names: Mapping[str, str]) -> pd.DataFrame:
    """Return one line for each model and runtime."""
    return pd.DataFrame(
        {
            "Model": [_named(entry.weights, names) for entry in results],
            "p50, ms": [entry.p50_ms for entry in results],
            "p95, ms": [entry.p95_ms for entry in results],
            "Speed-up": [entry.speedup for entry in results],
            "Ideal": [entry.ideal_speedup for entry in results],
            gflops_at_size(results): [entry.gflops for entry in results],
            "Runtime": [RUNTIMES.get(entry.runtime, entry.runtime) for entry in results],
            "Threads": [entry.threads for entry in results],
        }
    )


def show_accuracy(job: Job, result: AccuracyResult) -> None:
    """Show accuracy by ratio as a line and a table, and lead to the page where it serves."""
    whole, score = main_score(result.dense), score_heading([result.dense])
    if whole is None:
        return
    st.markdown("**Accuracy right after the cut**")
    if result.points:
        pairs = sorted(
            (point.ratio_achieved, at) for point in result.points if (at := main_score(point.metrics)) is not None
        )
        figure = accuracy_line([(0.0, whole), *pairs], whole=whole, score=score, dark=dark())
        with st.container(width=_CHART_WIDTH):
            st.plotly_chart(figure, config=charts.CONFIG, key="measured accuracy")
    ratio, number = (
        st.column_config.NumberColumn(format=shape) for shape in (numbers.TWO_DECIMALS, numbers.THREE_DECIMALS)
    )
    table = accuracy_table(result)
    st.dataframe(
        table,
        hide_index=True,
        column_config={"Ratio": ratio, **{name: number for name in table if name in _LABELS}},
        key="accuracy points",
    )
    study = read_study(result.file)
    forbidden = ", ".join(f"{ratio:g}" for ratio in result.beyond)
    _say(about_study(study) if study else "", f"Floors forbid {forbidden}." if forbidden else "")
    _lead_to_pruning(job)


def accuracy_table(result: AccuracyCurve) -> pd.DataFrame:
    """Return one line for each ratio, the whole model first."""
    points, whole = result.points, result.dense
    scores = [whole, *(point.metrics for point in points)]
    name, *others = telling_metrics(whole)
    return pd.DataFrame(
        {
            "Ratio": [0.0, *(point.ratio_achieved for point in points)],
            metric_label(name): [metrics[name] for metrics in scores],
            "Change": ["–", *(numbers.score_change(metrics[name] - whole[name]) for metrics in scores[1:])],
            **{metric_label(other): [metrics.get(other) for metrics in scores] for other in others},
            "Parameters": ["–", *(numbers.count(point.params) for point in points)],
            _gflops_heading(result): ["–", *(numbers.gflops(point.gflops) for point in points)],
            "Recalibrated": ["–", *(_images(point.recalibrated) for point in points)],
        }
    )


def _gflops_heading(result: AccuracyCurve) -> str:
    """Name the size that GFLOPs are of; what was measured before they were told at one size does not say it."""
    return "GFLOPs" if result.gflops_imgsz is None else f"GFLOPs at {pixels(result.gflops_imgsz)}"


def _images(count: int | None) -> str:
    """Say on how many images; measurements of before did not say it."""
    return "–" if count is None else f"on {count} images" if count else "no"


def show_sensitivity(job: Job, result: SensitivityResult) -> None:
    """Show the heat map of blocks, and lead to the page where it serves."""
    changes = block_changes(result)
    if not any(value is not None for row in changes for value in row):
        return
    blocks = result.blocks
    st.markdown("**Sensitivity of each block**")
    figure = charts.sensitivity_map(
        [block.block for block in blocks],
        [block.kind for block in blocks],
        result.shares,
        changes,
        score=score_heading([result.repaired]),
        dark=dark(),
    )
    with st.container(width=_CHART_WIDTH):
        st.plotly_chart(figure, config=charts.CONFIG, key="measured sensitivity")
    study = read_study(result.file)
    _say(
        f"Change of {score_heading([result.repaired])} with one block alone pruned.",
        about_study(study) if study else "",
    )
    _lead_to_pruning(job)


def block_changes(result: Sensitivity) -> list[list[float | None]]:
    """Return by block, then share, the change of the metric that judges; None where a floor forbids it or it is not
    known."""
    if main_score(result.repaired) is None:
        return []
    measured = [[block.metrics.get(f"{share:g}") for share in result.shares] for block in result.blocks]
    return [[score_difference(metrics or {}, result.repaired) for metrics in row] for row in measured]


def _say(*sentences: str) -> None:
    if said := " ".join(filter(None, sentences)):
        st.caption(format.plain(said))


def _lead_to_pruning(job: Job) -> None:
    """Link to the Prune page with the measured model opened, as long as the workspace has it."""
    try:
        model = store().model(job.model_id or "")
    except StorageError:
        return
    st.page_link(
        PAGES / "prune.py",
        label=f"Prune {format.plain(model.name)}",
        icon=":material/content_cut:",
        query_params={"model": model.id},
        help="Opens the Prune page with this model; what was measured is shown there beside the slider.",
    )


def _named(path: str, names: Mapping[str, str]) -> str:
    return names.get(path) or Path(path).name
