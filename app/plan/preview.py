"""What a plan would give, on the page: figures, layers, and what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from app import charts
from app.frame.session import dark
from app.plan.latency import PredictedLatency
from app.plan.tables import layer_table, limit_sentence, max_ratio_sentence
from app.words import format
from app.words.measured import MeasuredCurve
from engine.base import numbers
from engine.base.imgsz import pixels
from engine.profile.cost import Cost
from engine.settings.results import Preview
from engine.validation.study import interpolated

RATIOS = tuple(step / 100 for step in range(96))
"Where the curve behind the slider is drawn."


def show_curve(preview: Preview, costs: Sequence[Cost], accuracy: MeasuredCurve | None = None) -> None:
    """Show what every ratio would leave of parameters, GFLOPs and measured accuracy, with the present one marked."""
    measured = accuracy.relative() if accuracy else []
    now = interpolated(measured, preview.ratio_achieved)
    named = {"score": accuracy.score} if accuracy else {}
    option = charts.cost_curve(RATIOS, costs, preview.ratio_achieved, measured, now, **named, dark=dark())
    st.echarts_chart(option, height=160 if measured else 120, key="curve")


def show_numbers(
    preview: Preview,
    accuracy: MeasuredCurve | None = None,
    latency: PredictedLatency | None = None,
    *,
    by_ratio: bool = True,
) -> None:
    """Show parameters, GFLOPs, channels, ratio and what is known besides, each with its change against the original.

    Args:
        preview: What the plan gives.
        accuracy: Measured, where it was.
        latency: Predicted, where it can be.
        by_ratio: Whether a ratio was asked for, and not a budget.
    """
    count, gflops = numbers.count, numbers.gflops
    size = f"GFLOPs at {pixels(preview.imgsz)}"
    rows: list[tuple[str, Callable[[float | None], str], float, float, str]] = [
        ("Parameters", count, preview.params_before, preview.params, f"{numbers.exact(preview.params)} exactly."),
        (size, gflops, preview.gflops_before, preview.gflops, "As Ultralytics counts them."),
        ("Channels", numbers.exact, preview.channels_before, preview.channels, "Of all BatchNorm layers."),
    ]
    if latency:
        rows.insert(2, ("Latency", numbers.milliseconds, latency.before_ms, latency.after_ms, latency.about))
    tiles = 4 + bool(accuracy) + bool(latency)
    with st.grid(3 if tiles == 6 else tiles, min_column_width=180 if tiles == 4 else 160):
        for label, shown, before, after, note in rows:
            st.metric(
                label,
                shown(after),
                **_cost_change(before, after),
                delta_description=f"of {shown(before)}",
                help=note,
                border=True,
            )
        st.metric(
            "Ratio achieved",
            numbers.ratio(preview.ratio_achieved),
            delta=f"{numbers.ratio(preview.ratio_requested)} asked" if by_ratio else "as the budget needs",
            delta_color="off",
            delta_arrow="off",
            help="Removed share of the channels that may be removed.",
            border=True,
        )
        if accuracy:
            _show_accuracy(preview, accuracy)


def _cost_change(before: float, after: float) -> format.Delta:
    change = numbers.relative(before, after) or 0.0
    return format.delta(numbers.percent_change(change), change, less_is_better=True)


def _show_accuracy(preview: Preview, accuracy: MeasuredCurve) -> None:
    now = accuracy.at(preview.ratio_achieved)
    change = 0.0 if now is None else now - accuracy.dense
    text = "not measured so far out" if now is None else numbers.score_change(change)
    st.metric(
        accuracy.score,
        numbers.score(now),
        **format.delta(text, change),
        delta_description=None if now is None else f"of {numbers.score(accuracy.dense)}",
        help=f"Read from the measured curve, between its points. {format.plain(accuracy.about)}",
        border=True,
    )


def show_layers(preview: Preview) -> None:
    """Show channels before and after for every layer, as bars and as a table."""
    st.echarts_chart(charts.survivors(preview.layers, dark=dark()), height=300, key="survivors")
    st.caption(charts.SURVIVORS_LEGEND)
    table = layer_table(preview.layers)
    with st.expander(f"Table of {len(table)} layers", icon=":material/table_rows:"):
        share = st.column_config.ProgressColumn("Kept", format="percent", min_value=0, max_value=1)
        st.dataframe(table, hide_index=True, height=380, column_config={"Kept": share}, key="layer table")
        st.download_button(
            "Download CSV",
            data=lambda: table.to_csv(index=False),
            file_name="layers.csv",
            mime="text/csv",
            on_click="ignore",
            icon=":material/download:",
            key="layers csv",
            help="The table above.",
        )


def show_limit(preview: Preview, floor: int) -> None:
    """Say which layer stands in the way, as a warning where the ratio is beyond that."""
    if preview.ratio_requested > preview.max_ratio:
        st.warning(format.plain(limit_sentence(preview, floor)), icon=":material/warning:")
    else:
        st.caption(format.plain(max_ratio_sentence(preview)))
