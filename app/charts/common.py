"""What all figures share: axes of layers, margins, legends."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

CONFIG = {"displayModeBar": False}
"Plotly's own settings on every page."


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


def layer_axis(figure: go.Figure, names: Sequence[str], room: int = 30) -> None:
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


def framed(figure: go.Figure, height: int) -> go.Figure:
    legend_above = figure.layout.showlegend is not False and len(figure.data) > 1
    return figure.update_layout(
        height=height,
        margin={"l": 56, "r": 8, "t": 30 if legend_above else 8, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "title": None},
        hoverlabel={"align": "left"},
    )
