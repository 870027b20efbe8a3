"""Figures as pure functions: values in, figure out. ``dark`` picks the theme's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go

from app.palette import Palette, palette
from engine.cost import Cost
from engine.gammas import NEAR_ZERO, LayerGammas
from engine.slimming import LayerPreview

GAMMA_BINS = 44
CONFIG = {"displayModeBar": False}
"Plotly's own settings on every page."
SURVIVORS_LEGEND = (
    "Grey: channels before. Coloured: channels that survive, amber where a floor holds, slate where nothing may go."
)


def block_ticks(names: Sequence[str], room: int = 30) -> tuple[list[int], list[str]]:
    """Return positions and labels for an axis of layers: the number of a block where its first layer stands.

    Two hundred layer names cannot be read along an axis; two dozen block numbers can. ``room`` is how many labels fit
    along the axis: blocks that begin too close to the label before them go without.
    """
    positions: list[int] = []
    labels: list[str] = []
    seen = ""
    for index, name in enumerate(names):
        parts = name.split(".")
        block = next((part for part in parts if part.isdigit()), parts[0])
        if block != seen and (not positions or index - positions[-1] >= len(names) / room):
            positions.append(index)
            labels.append(block)
        seen = block
    return positions, labels


def short_name(name: str) -> str:
    """Return a layer's name without what all of them share: 'model.2.cv1.bn' -> '2.cv1'."""
    return name.removeprefix("model.").removesuffix(".bn")


def gamma_heatmap(layers: Sequence[LayerGammas], *, dark: bool) -> go.Figure:
    """Draw one column for each layer: how its channels are distributed over |gamma|."""
    colours = palette(dark)
    top = _upper_end(layers)
    edges = np.linspace(0, top, GAMMA_BINS + 1)
    counts = np.stack([np.histogram(np.minimum(layer.values, top), edges)[0] for layer in layers], axis=1)  # (bins, L)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    hover = [[f"{layer.name}<br>|gamma| {low:.2f} to {high:.2f}" for layer in layers] for low, high in pairwise(edges)]
    figure = go.Figure(
        go.Heatmap(
            z=np.where(counts, np.sqrt(shares), np.nan),
            x=list(range(len(layers))),
            y=((edges[:-1] + edges[1:]) / 2).tolist(),
            customdata=np.dstack([np.array(hover, dtype=object), counts, shares]),
            hovertemplate="%{customdata[0]}<br>%{customdata[1]} channels, %{customdata[2]:.0%} of the layer"
            "<extra></extra>",
            hoverongaps=False,
            colorscale=colours.density,
            zmin=0,
            zmax=1,
            colorbar={
                "title": {"text": "Share of the layer", "side": "right"},
                "tickvals": [0.1**0.5, 0.5, 0.5**0.5, 1],
                "ticktext": ["10 %", "25 %", "50 %", "100 %"],
                "thickness": 10,
                "outlinewidth": 0,
            },
        )
    )
    _layer_axis(figure, [layer.name for layer in layers])
    figure.update_yaxes(title="|gamma|", range=[0, top], showgrid=False, zeroline=False)
    return _framed(figure, 380)


def gamma_bands(layers: Sequence[LayerGammas], *, dark: bool) -> go.Figure:
    """Draw minimum, 10th, 50th and 90th percentile and maximum of |gamma| along the depth of the model."""
    colours = palette(dark)
    low, p10, median, p90, high = (
        np.array([np.percentile(layer.values, q) for layer in layers]) for q in (0, 10, 50, 90, 100)
    )
    x = list(range(len(layers)))
    table = np.column_stack([low, p10, median, p90, high])
    figure = go.Figure()
    for name, lower, upper, opacity in (
        ("Minimum to maximum", low, high, 0.14),
        ("10th to 90th percentile", p10, p90, 0.3),
    ):
        figure.add_scatter(x=x, y=lower, mode="lines", line={"width": 0}, showlegend=False, hoverinfo="skip")
        figure.add_scatter(
            x=x,
            y=upper,
            mode="lines",
            line={"width": 0},
            fill="tonexty",
            name=name,
            fillcolor=colours.faded(opacity),
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=x,
        y=median,
        mode="lines",
        name="Median",
        line={"color": colours.after, "width": 2},
        customdata=np.column_stack([np.array([layer.name for layer in layers], dtype=object), table]),
        hovertemplate="%{customdata[0]}<br>min %{customdata[1]:.3f}, p10 %{customdata[2]:.3f}, "
        "median %{customdata[3]:.3f}, p90 %{customdata[4]:.3f}, max %{customdata[5]:.3f}<extra></extra>",
    )
    _layer_axis(figure, [layer.name for layer in layers])
    figure.update_yaxes(title="|gamma|", rangemode="tozero")
    return _framed(figure, 380)


def gamma_histograms(models: Sequence[tuple[str, Sequence[LayerGammas]]], *, dark: bool) -> go.Figure:
    """Draw the distribution of all gammas of one model, or of several over each other; the first one is filled."""
    colours = palette(dark)
    top = max(_upper_end(layers) for _, layers in models)
    edges = np.linspace(0, top, 61)
    figure = go.Figure()
    for index, (name, layers) in enumerate(models):
        values = np.minimum(np.concatenate([layer.values for layer in layers]), top)
        counts, _ = np.histogram(values, edges)
        figure.add_bar(
            x=((edges[:-1] + edges[1:]) / 2).tolist(),
            y=counts.tolist(),
            width=float(edges[1]),
            name=name,
            marker={"color": colours.series[index], "line": {"width": 0}},
            opacity=0.85 if index == 0 else 0.6,
            customdata=np.column_stack([edges[:-1], edges[1:]]),
            hovertemplate="%{y} channels with |gamma| %{customdata[0]:.3f} to %{customdata[1]:.3f}<extra></extra>",
        )
    figure.update_layout(barmode="overlay", bargap=0, showlegend=len(models) > 1)
    figure.update_xaxes(title="|gamma|", range=[-edges[1] / 2, top])
    figure.update_yaxes(title="Channels", nticks=5)
    return _framed(figure, 300)


def layer_ranks(values: np.ndarray, kept: np.ndarray, threshold: float | None, *, dark: bool) -> go.Figure:
    """Draw the gammas of one layer from the largest to the smallest, coloured by what a plan does with them.

    Args:
        values: (C,) |gamma|.
        kept: (C,) bool, whether the channel survives the plan.
        threshold: Largest score that the plan removes, None when it removes nothing.
        dark: Whether the theme is dark.
    """
    colours = palette(dark)
    order = np.argsort(-values, kind="stable")
    figure = go.Figure()
    for name, mask, colour in (("Survives", kept, colours.after), ("Removed", ~kept, colours.floor)):
        ranks = np.flatnonzero(mask[order])
        figure.add_bar(
            x=(ranks + 1).tolist(),
            y=values[order][ranks].tolist(),
            customdata=order[ranks],
            name=f"{name} ({len(ranks)})",
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate="channel %{customdata}, rank %{x}<br>|gamma| %{y:.4f}<extra></extra>",
        )
    if threshold is not None:
        figure.add_hline(
            y=threshold,
            line={"color": colours.text, "dash": "dot", "width": 1},
            annotation={"text": f"threshold {threshold:.3g}", "xanchor": "right", "yanchor": "bottom"},
        )
    figure.update_layout(bargap=0.1 if len(values) <= 128 else 0, showlegend=True)
    figure.update_xaxes(title="Channels, largest gamma first", range=[0.4, len(values) + 0.6])
    figure.update_yaxes(title="|gamma|", rangemode="tozero", nticks=5)
    return _framed(figure, 300)


def median_lines(models: Sequence[tuple[str, Sequence[LayerGammas]]], *, dark: bool) -> go.Figure:
    """Draw the median |gamma| of every layer for several models; layers are matched by name."""
    colours = palette(dark)
    names = list(dict.fromkeys(layer.name for _, layers in models for layer in layers))
    figure = go.Figure()
    for index, (label, layers) in enumerate(models):
        medians = {layer.name: float(np.median(layer.values)) for layer in layers}
        figure.add_scatter(
            x=list(range(len(names))),
            y=[medians.get(name) for name in names],
            name=label,
            mode="lines",
            line={"color": colours.series[index], "width": 2},
            customdata=names,
            hovertemplate="%{customdata}<br>median |gamma| %{y:.3f}<extra></extra>",
        )
    _layer_axis(figure, names, room=15)
    figure.update_yaxes(title="Median |gamma|", rangemode="tozero", nticks=6)
    return _framed(figure, 300)


def survivors(layers: Sequence[LayerPreview], *, dark: bool) -> dict[str, Any]:
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
    dark: bool,
) -> dict[str, Any]:
    """Return the ECharts option for what is left at every ratio, in percent, with one ratio marked.

    Args:
        ratios: Where costs are drawn.
        costs: At each of them.
        achieved: The ratio to mark.
        accuracy: Measured (ratio, percent of the whole model's mAP) pairs.
        accuracy_now: Percent at the marked ratio, None where nothing was measured.
        dark: Whether the theme is dark.
    """
    colours = palette(dark)
    before = costs[0]
    lines = {
        "Parameters": [100 * cost.params / before.params for cost in costs],
        "GFLOPs": [100 * cost.gflops / before.gflops for cost in costs],
    }
    mark = {
        "silent": True,
        "symbol": "none",
        "label": {"show": False},
        "lineStyle": {"color": colours.text, "type": "dashed", "width": 1},
        "data": [{"xAxis": achieved}],
    }
    series = [
        {
            "type": "line",
            "name": name,
            "showSymbol": False,
            "animation": False,
            "lineStyle": {"width": 2},
            "itemStyle": {"color": colour},
            "data": [[ratio, round(value, 1)] for ratio, value in zip(ratios, values, strict=True)],
            **({"markLine": mark} if name == "Parameters" else {}),
        }
        for (name, values), colour in zip(lines.items(), colours.series, strict=False)
    ]
    if accuracy:
        series += _accuracy_series(accuracy, achieved, accuracy_now, colours)
    highest = max([100.0, *(percent for _, percent in accuracy)])
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
        "yAxis": {
            "type": "value",
            "min": 0,
            "max": 100 if highest <= 100 else 20 * math.ceil(highest / 20),
            "splitNumber": 2,
            "axisLabel": {"formatter": "{value} %", "inside": True, "showMinLabel": False, "verticalAlign": "bottom"},
        },
        "series": series,
    }


def _accuracy_series(
    measured: Sequence[tuple[float, float]], achieved: float, now: float | None, colours: Palette
) -> list[dict[str, Any]]:
    """Return the measured points with straight lines between them, and the marker that rides on them."""
    line = {
        "type": "line",
        "name": "mAP50-95",
        "animation": False,
        "symbol": "circle",
        "symbolSize": 5,
        "lineStyle": {"width": 2},
        "itemStyle": {"color": colours.series[2]},
        "data": [[round(ratio, 4), round(percent, 1)] for ratio, percent in measured],
    }
    if now is not None:
        line["markPoint"] = {
            "silent": True,
            "symbol": "circle",
            "symbolSize": 11,
            "itemStyle": {"color": colours.series[2], "borderColor": colours.text, "borderWidth": 1.5},
            "label": {"show": False},
            "animation": False,
            "data": [{"coord": [achieved, round(now, 1)]}],
        }
    return [line]


def sensitivity_map(
    names: Sequence[str],
    kinds: Sequence[str],
    shares: Sequence[float],
    changes: Sequence[Sequence[float | None]],
    *,
    dark: bool,
) -> go.Figure:
    """Draw how much mAP each block costs when it alone is pruned: a row for each block, a column for each share.

    Args:
        names: Blocks by depth, such as model.4.
        kinds: Their classes, such as C2f.
        shares: Removed shares, ascending.
        changes: By block, then share: change of mAP; None where it was not measured.
        dark: Whether the theme is dark.
    """
    hover = [
        [
            f"{name} ({kind}) without {share:.0%}<br>"
            + ("a floor forbids it, or it was not measured yet" if change is None else f"mAP50-95 {change:+.3f}")
            for share, change in zip(shares, row, strict=True)
        ]
        for name, kind, row in zip(names, kinds, changes, strict=True)
    ]
    losses = [[None if change is None else max(-change, 0.0) for change in row] for row in changes]
    figure = go.Figure(
        go.Heatmap(
            z=losses,
            x=[f"{share:.0%} removed".replace("%", " %") for share in shares],
            y=[f"{name.removeprefix('model.')}  {kind} " for name, kind in zip(names, kinds, strict=True)],
            text=[["–" if change is None else _signed(change) for change in row] for row in changes],
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
    return _framed(figure, 40 + 24 * len(names)).update_layout(margin={"l": 84, "t": 32, "b": 8})


def _signed(change: float) -> str:
    return "0" if abs(change) < 0.0005 else f"{change:+.3f}".replace("-", "−")


Points = dict[str, list[tuple[int, float]]]
"Name -> (epoch, value) pairs."


def score_curves(series: Points, epochs: int, *, dark: bool) -> go.Figure:
    """Draw metrics from 0 to 1 by epoch, on an axis as long as the whole run."""
    figure = _curves(series, epochs, dark=dark)
    largest = max((value for points in series.values() for _, value in points), default=0.0)
    return figure.update_yaxes(title="mAP", range=[0, min(1.02, max(0.1, 1.15 * largest))])


def loss_curves(series: Points, epochs: int, *, dark: bool) -> go.Figure:
    """Draw losses by epoch: one colour for each loss, solid in training and dotted in validation."""
    figure = _curves(series, epochs, dark=dark)
    kinds = list(dict.fromkeys(name.rpartition("/")[2] for name in series))
    shown: set[str] = set()
    for trace, name in zip(figure.data, series, strict=True):
        kind, validation = name.rpartition("/")[2], name.startswith("val/")
        trace.line.color = palette(dark).series[kinds.index(kind) % len(palette(dark).series)]
        trace.line.dash = "dot" if validation else "solid"
        trace.update(legendgroup=kind, showlegend=kind not in shown, name=kind.removesuffix("_loss"))
        trace.hovertemplate = f"epoch %{{x}}<br>{name} %{{y:.4f}}<extra></extra>"
        shown.add(kind)
    return figure.update_yaxes(title="Loss (dotted: validation)", rangemode="tozero")


def _curves(series: Points, epochs: int, *, dark: bool) -> go.Figure:
    colours = palette(dark)
    figure = go.Figure()
    for index, (name, points) in enumerate(series.items()):
        figure.add_scatter(
            x=[epoch for epoch, _ in points],
            y=[value for _, value in points],
            name=name,
            mode="lines+markers" if len(points) < 30 else "lines",
            line={"color": colours.series[index % len(colours.series)], "width": 2},
            marker={"size": 5},
            hovertemplate=f"epoch %{{x}}<br>{name} %{{y:.4f}}<extra></extra>",
        )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title="Epoch", range=[0.5, epochs + 0.5], nticks=min(epochs + 1, 8), tickformat="d")
    figure.update_yaxes(nticks=5)
    return _framed(figure, 280)


def moving_histogram(
    edges: Sequence[float], now: Sequence[int], first: Sequence[int] | None, *, dark: bool
) -> go.Figure:
    """Draw the histogram of gammas after the latest epoch, over that after the first one."""
    colours = palette(dark)
    centres = [(low + high) / 2 for low, high in pairwise(edges)]
    width = edges[1] - edges[0]
    figure = go.Figure()
    for name, counts, colour in (("First epoch", first, colours.before), ("Now", now, colours.after)):
        if counts is not None and len(counts) == len(centres):
            figure.add_bar(
                x=centres,
                y=list(counts),
                width=width,
                name=name,
                marker={"color": colour, "line": {"width": 0}},
                opacity=0.8,
                hovertemplate="%{y} channels near |gamma| %{x:.2f}<extra></extra>",
            )
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(title="|gamma|", range=[-width / 2, edges[-1]])
    figure.update_yaxes(title="Channels", nticks=5)
    return _framed(figure, 280)


def gamma_course(epochs: Sequence[int], gammas: Sequence[dict[str, Any]], total: int, *, dark: bool) -> go.Figure:
    """Draw the median |gamma| by epoch, in the band from the 10th to the 90th percentile.

    Args:
        epochs: Epochs that reported gammas, ascending.
        gammas: What each of them reported, with median, p10 and p90.
        total: Epochs of the whole run, the length of the axis.
        dark: Whether the theme is dark.
    """
    colours = palette(dark)
    x = list(epochs)
    low, median, high = ([at[name] for at in gammas] for name in ("p10", "median", "p90"))
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure = go.Figure()
    figure.add_scatter(x=x, y=low, showlegend=False, **edge)
    figure.add_scatter(
        x=x, y=high, name="10th to 90th percentile", fill="tonexty", fillcolor=colours.faded(0.25), **edge
    )
    figure.add_scatter(
        x=x,
        y=median,
        name="Median",
        mode="lines+markers" if len(x) < 30 else "lines",
        line={"color": colours.after, "width": 2},
        marker={"size": 5},
        customdata=list(zip(low, high, strict=True)),
        hovertemplate="epoch %{x}<br>median %{y:.3f}, p10 %{customdata[0]:.3f}, p90 %{customdata[1]:.3f}"
        "<extra></extra>",
    )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title="Epoch", range=[0.5, total + 0.5], nticks=min(total + 1, 8), tickformat="d")
    figure.update_yaxes(title="|gamma|", rangemode="tozero", nticks=5)
    return _framed(figure, 280)


def reach_line(distance: float, p10: float, median: float, p90: float, *, dark: bool) -> go.Figure:
    """Draw on one line where the gammas are (10th to 90th percentile, median) and how far one can fall in a run."""
    colours = palette(dark)
    end = max(1.15 * p90, min(1.05 * distance, 4 * p90))
    figure = go.Figure()
    rows = ("Gammas now", "Can fall by")
    figure.add_bar(
        y=rows,
        x=[p90 - p10, min(distance, end)],
        base=[p10, 0],
        orientation="h",
        marker={"color": [colours.before, colours.after if distance >= median else colours.floor]},
        customdata=[f"nine in ten above {p10:.2g}, one in ten above {p90:.2g}", f"{distance:.2g} over the whole run"],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure.add_vline(
        x=median,
        line={"color": colours.text, "dash": "dot", "width": 1},
        annotation={"text": f"median {median:.2f}", "yanchor": "bottom", "y": 1},
    )
    figure.update_layout(bargap=0.35, showlegend=False)
    figure.update_xaxes(title="|gamma|", range=[0, end], nticks=6)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return _framed(figure, 150).update_layout(margin={"l": 84, "t": 24, "b": 40})


def _survivor_colour(layer: LayerPreview, colours: Palette) -> str:
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


def _upper_end(layers: Sequence[LayerGammas]) -> float:
    """Return where an axis of |gamma| ends: beyond it lie at most a few single channels, drawn at the end."""
    values = np.concatenate([layer.values for layer in layers])
    return max(float(np.percentile(values, 99.8)) * 1.05, 4 * NEAR_ZERO)


def _layer_axis(figure: go.Figure, names: Sequence[str], room: int = 30) -> None:
    positions, labels = block_ticks(names, room)
    figure.update_xaxes(
        title="Layer, by depth (numbers are blocks)",
        tickvals=positions,
        ticktext=labels,
        tickangle=0,
        range=[-0.5, len(names) - 0.5],
        showgrid=False,
        zeroline=False,
    )


def _framed(figure: go.Figure, height: int) -> go.Figure:
    legend_above = figure.layout.showlegend is not False and len(figure.data) > 1
    return figure.update_layout(
        height=height,
        margin={"l": 56, "r": 8, "t": 30 if legend_above else 8, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "title": None},
        hoverlabel={"align": "left"},
    )
