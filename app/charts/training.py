"""Figures of a run as it goes on. Pure functions: values in, figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from app.charts.common import framed
from app.charts.palette import palette

Points = dict[str, list[tuple[int, float]]]
"Name -> (epoch, value) pairs."


def score_curves(
    series: Points, epochs: int, *, start: Mapping[str, float] | None = None, title: str = "mAP", dark: bool
) -> go.Figure:
    """Draw metrics from 0 to 1 by epoch, on an axis as long as the whole run.

    Args:
        series: What was measured.
        epochs: Of the whole run.
        start: Name -> what the model measured before the first epoch: a dashed line to beat, in the curve's colour.
        title: Of the axis.
        dark: Whether the theme is dark.
    """
    figure = _curves(series, epochs, dark=dark)
    begun = start or {}
    for trace in figure.data:
        if trace.name in begun:
            line = {"dash": "dash", "width": 1, "color": trace.line.color}
            figure.add_hline(begun[trace.name], line=line, opacity=0.7)
    values = [value for points in series.values() for _, value in points]
    largest = max([*values, *begun.values()], default=0.0)
    return figure.update_yaxes(title=title, range=[0, min(1.02, max(0.1, 1.15 * largest))])


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
        trace.hovertemplate = f"epoch %{{x}}<br>{name} %{{y:.3f}}<extra></extra>"
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
            hovertemplate=f"epoch %{{x}}<br>{name} %{{y:.3f}}<extra></extra>",
        )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title="Epoch", range=[0.5, epochs + 0.5], nticks=min(epochs + 1, 8), tickformat="d")
    figure.update_yaxes(nticks=5)
    return framed(figure, 280)


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
    return framed(figure, 280)


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
    return framed(figure, 280)


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
    return framed(figure, 150).update_layout(margin={"l": 84, "t": 24, "b": 40})
