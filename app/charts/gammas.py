"""Figures of gammas. Pure functions: values in, figure out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go

from app.charts.common import framed, layer_axis
from app.charts.palette import palette
from engine.base.numbers import percent
from engine.profile.gammas import NEAR_ZERO, LayerGammas

GAMMA_BINS = 44


def gamma_heatmap(layers: Sequence[LayerGammas], *, dark: bool) -> go.Figure:
    """Draw one column for each layer: how its channels are distributed over |gamma|."""
    colours = palette(dark)
    top = _upper_end(layers)
    edges = np.linspace(0, top, GAMMA_BINS + 1)
    counts = np.stack([np.histogram(np.minimum(layer.values, top), edges)[0] for layer in layers], axis=1)  # (bins, L)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    told = np.vectorize(percent, otypes=[object])(shares)
    hover = [[f"{layer.name}<br>|gamma| {low:.2f} to {high:.2f}" for layer in layers] for low, high in pairwise(edges)]
    figure = go.Figure(
        go.Heatmap(
            z=np.where(counts, np.sqrt(shares), np.nan),
            x=list(range(len(layers))),
            y=((edges[:-1] + edges[1:]) / 2).tolist(),
            customdata=np.dstack([np.array(hover, dtype=object), counts, told]),
            hovertemplate="%{customdata[0]}<br>%{customdata[1]} channels, %{customdata[2]} of the layer<extra></extra>",
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
    layer_axis(figure, [layer.name for layer in layers])
    figure.update_yaxes(title="|gamma|", range=[0, top], showgrid=False, zeroline=False)
    return framed(figure, 380)


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
    layer_axis(figure, [layer.name for layer in layers])
    figure.update_yaxes(title="|gamma|", rangemode="tozero")
    return framed(figure, 380)


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
    return framed(figure, 300)


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
    return framed(figure, 300)


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
    layer_axis(figure, names, room=15)
    figure.update_yaxes(title="Median |gamma|", rangemode="tozero", nticks=6)
    return framed(figure, 300)


def _upper_end(layers: Sequence[LayerGammas]) -> float:
    """Return where an axis of |gamma| ends: beyond it lie at most a few single channels, drawn at the end."""
    values = np.concatenate([layer.values for layer in layers])
    return max(float(np.percentile(values, 99.8)) * 1.05, 4 * NEAR_ZERO)
