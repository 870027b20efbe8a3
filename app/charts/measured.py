"""Figures of what was measured before a cut, as pure functions. ``dark`` picks the theme's colours."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from app.charts.palette import palette


def accuracy_line(points: Sequence[tuple[float, float]], *, whole: float, score: str, dark: bool) -> go.Figure:
    """Draw a metric against the ratio, with a dotted line at what the whole model reaches.

    Args:
        points: (ratio achieved, metric from 0 to 1) pairs, ascending, the whole model first.
        whole: The metric of the whole model.
        score: The metric's name.
        dark: Whether the theme is dark.
    """
    colours = palette(dark)
    figure = go.Figure()
    figure.add_scatter(
        x=[ratio for ratio, _ in points],
        y=[value for _, value in points],
        mode="lines+markers",
        line={"color": colours.after, "width": 2},
        marker={"size": 7},
        hovertemplate=f"ratio %{{x:.2f}}<br>{score} %{{y:.3f}}<extra></extra>",
        cliponaxis=False,
    )
    figure.add_hline(y=whole, line={"color": colours.frozen, "width": 1.5, "dash": "dot"})
    highest = max(value for _, value in points)
    figure.update_xaxes(title="Ratio", range=[0, max(ratio for ratio, _ in points)], nticks=11, zeroline=False)
    figure.update_yaxes(title=score, range=[0, max(1.12 * highest, 0.05)], nticks=6, zeroline=False)
    return figure.update_layout(
        height=260, showlegend=False, margin={"l": 56, "r": 12, "t": 8, "b": 48}, hoverlabel={"align": "left"}
    )
