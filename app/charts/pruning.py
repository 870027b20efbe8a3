"""Figures of a plan: what survives, what it costs, where cutting hurts. Pure functions: values in, figure out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from app.charts.common import block_ticks, framed
from app.charts.palette import Palette, palette
from engine.base import numbers
from engine.profile.cost import Cost
from engine.settings.results import PlannedLayer

_NOT_MEASURED = "a floor forbids it, or it was not measured yet"

SURVIVORS_LEGEND = (
    "Grey: channels before. Coloured: channels that survive, amber where a floor holds, slate where nothing may go."
)


def survivors(layers: Sequence[PlannedLayer], *, dark: bool) -> dict[str, Any]:
    """Return the ECharts option for channels per layer before and after; ECharts moves its bars with the slider."""
    colours = palette(dark)
    names = [layer.name for layer in layers]
    numbers = dict(zip(*block_ticks(names), strict=True))
    labels = [numbers.get(index, "") for index in range(len(names))]
    bar = {"type": "bar", "barGap": "-100%", "barCategoryGap": "18%", "animationDuration": 0}
    after = [{"value": layer.after, "itemStyle": {"color": _survivor_colour(layer, colours)}} for layer in layers]
    return {
        "animationDurationUpdate": 180,
        "grid": {"left": 56, "right": 4, "top": 12, "bottom": 46, "outerBoundsMode": "none", "containLabel": False},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": [{"type": "category", "data": names, "show": False}, _block_axis(labels)],
        "yAxis": {"type": "value", "name": "Channels", "nameLocation": "middle", "nameGap": 40, "splitNumber": 4},
        "series": [
            {
                **bar,
                "name": "Before",
                "data": [layer.before for layer in layers],
                "itemStyle": {"color": colours.before},
            },
            {**bar, "name": "After", "data": after, "z": 3, "itemStyle": {"color": colours.after}},
        ],
    }


def cost_curve(
    ratios: Sequence[float],
    costs: Sequence[Cost],
    achieved: float,
    accuracy: Sequence[tuple[float, float]] = (),
    accuracy_now: float | None = None,
    *,
    score: str = "mAP50-95",
    dark: bool,
) -> dict[str, Any]:
    """Return the ECharts option for what is left at every ratio, in percent, with one ratio marked.

    Args:
        ratios: Where costs are drawn.
        costs: At each of them.
        achieved: The ratio to mark.
        accuracy: Measured (ratio, percent of the whole model's metric) pairs.
        accuracy_now: Percent at the marked ratio, None where nothing was measured.
        score: The metric's name.
        dark: Whether the theme is dark.
    """
    colours = palette(dark)
    lines = _left_of_costs(costs)
    series = [
        _line(name, zip(ratios, values, strict=True), colour)
        for (name, values), colour in zip(lines.items(), [*colours.series[:2], colours.series[3]], strict=False)
    ]
    series[0]["markLine"] = _ratio_mark(achieved, colours)
    if accuracy:
        dots = {"showSymbol": True, "symbol": "circle", "symbolSize": 5}
        series.append(_line(score, accuracy, colours.series[2]) | dots)
    if accuracy and accuracy_now is not None:
        series[-1]["markPoint"] = _accuracy_mark(achieved, accuracy_now, colours)
    highest = max([100.0, *(percent for _, percent in accuracy), *(value for line in lines.values() for value in line)])
    return {
        "grid": {"left": 8, "right": 8, "top": 24, "bottom": 20, "outerBoundsMode": "none", "containLabel": False},
        "legend": {"top": 0, "right": 0, "textStyle": {"color": colours.text}, "itemHeight": 2, "icon": "rect"},
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "value",
            "min": 0,
            "max": ratios[-1],
            "splitLine": {"show": False},
            "axisLabel": {"showMinLabel": False, "showMaxLabel": False},
        },
        "yAxis": _percent_axis(highest),
        "series": series,
    }


def _left_of_costs(costs: Sequence[Cost]) -> dict[str, list[float]]:
    """Return name -> percent of the first cost; latency only where all of them tell it."""
    left = {
        "Parameters": [100 * cost.params / costs[0].params for cost in costs],
        "GFLOPs": [100 * cost.gflops / costs[0].gflops for cost in costs],
    }
    timed = [cost.latency_ms for cost in costs if cost.latency_ms is not None]
    return left | ({"Latency": [100 * time_ms / timed[0] for time_ms in timed]} if len(timed) == len(costs) else {})


def _line(name: str, points: Iterable[tuple[float, float]], colour: str) -> dict[str, Any]:
    """Return a straight line from point to point: (ratio, percent)."""
    return {
        "type": "line",
        "name": name,
        "animation": False,
        "showSymbol": False,
        "lineStyle": {"width": 2},
        "itemStyle": {"color": colour},
        "data": [[round(ratio, 4), round(percent, 1)] for ratio, percent in points],
    }


def _percent_axis(highest: float) -> dict[str, Any]:
    return {
        "type": "value",
        "min": 0,
        "max": 100 if highest <= 100.5 else 20 * math.ceil(highest / 20),
        "splitNumber": 2,
        # Most lines fall to the right, so that is where there is room for labels.
        "position": "right",
        "axisLabel": {"formatter": "{value} %", "inside": True, "showMinLabel": False, "verticalAlign": "top"},
    }


def _ratio_mark(ratio: float, colours: Palette) -> dict[str, Any]:
    return {
        "silent": True,
        "symbol": "none",
        "label": {"show": False},
        "lineStyle": {"color": colours.text, "type": "dashed", "width": 1},
        "data": [{"xAxis": ratio}],
    }


def _accuracy_mark(ratio: float, percent: float, colours: Palette) -> dict[str, Any]:
    """Return the marker that rides on the line of accuracy."""
    return {
        "silent": True,
        "symbol": "circle",
        "symbolSize": 11,
        "itemStyle": {"color": colours.series[2], "borderColor": colours.text, "borderWidth": 1.5},
        "label": {"show": False},
        "animation": False,
        "data": [{"coord": [ratio, round(percent, 1)]}],
    }


def sensitivity_map(
    names: Sequence[str],
    kinds: Sequence[str],
    shares: Sequence[float],
    changes: Sequence[Sequence[float | None]],
    *,
    score: str = "mAP50-95",
    dark: bool,
) -> go.Figure:
    """Draw how much accuracy each block costs when it alone is pruned: a row for each block, a column for each share.

    Args:
        names: Blocks by depth, such as model.4.
        kinds: Their classes, such as C2f.
        shares: Removed shares, ascending.
        changes: By block, then share: change of the metric; None where it was not measured.
        score: The metric's name.
        dark: Whether the theme is dark.
    """
    hover = [
        [
            f"{name} ({kind}) without {numbers.percent(share, 0)}<br>"
            + (_NOT_MEASURED if change is None else f"{score} {numbers.score_change(change)}")
            for share, change in zip(shares, row, strict=True)
        ]
        for name, kind, row in zip(names, kinds, changes, strict=True)
    ]
    losses = [[None if change is None else max(-change, 0.0) for change in row] for row in changes]
    figure = go.Figure(
        go.Heatmap(
            z=losses,
            x=[f"{numbers.percent(share, 0)} removed" for share in shares],
            y=[f"{name.removeprefix('model.')}  {kind} " for name, kind in zip(names, kinds, strict=True)],
            text=[[numbers.score_change(change) for change in row] for row in changes],
            texttemplate="%{text}",
            textfont={"size": 12},
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            colorscale=palette(dark).density,
            zmin=0,
            zmax=max([0.02, *(loss for row in losses for loss in row if loss is not None)]),
            xgap=2,
            ygap=2,
            showscale=False,
        )
    )
    figure.update_xaxes(side="top", type="category", showgrid=False)
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False, ticks="", tickmode="linear")
    return framed(figure, 40 + 24 * len(names)).update_layout(margin={"l": 84, "t": 32, "b": 8})


def _survivor_colour(layer: PlannedLayer, colours: Palette) -> str:
    if layer.prunable == 0:
        return colours.frozen
    return colours.floor if layer.at_floor else colours.after


def _block_axis(labels: list[str]) -> dict[str, Any]:
    return {
        "type": "category",
        "data": labels,
        "position": "bottom",
        "name": "Layer, by depth (numbers are blocks)",
        "nameLocation": "middle",
        "nameGap": 28,
        "axisTick": {"show": False},
        "axisLabel": {"interval": 0, "hideOverlap": True},
        "axisPointer": {"show": False},
    }
