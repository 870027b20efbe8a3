"""Figures of a comparison as pure functions: values in, figure out. ``dark`` picks the theme's colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.charts.palette import palette
from engine.validation.pareto import pareto_front

MOST_CLASSES = 20
MOST_MODELS = 6
"As many as there are colours to tell them apart, and as names that find room beside their points."
_NAME_LENGTH = 34
_LABEL_LENGTH = 27
"Of a name beside a point, which shares its line with others."


def accuracy_against_cost(
    names: Sequence[str], costs: Sequence[float], scores: Sequence[float], *, cost: str, score: str, dark: bool
) -> go.Figure:
    """Draw models by cost and accuracy, with the line of those that no other model beats.

    Of more than MOST_MODELS only those on the line have their names beside them; pointing at another tells its own.

    Args:
        names: Of the models.
        costs: What each costs.
        scores: How accurate each is, 0 to 1.
        cost: Title of the axis of costs.
        score: Title of the axis of scores.
        dark: Whether the theme is dark.
    """
    colours = palette(dark)
    front = pareto_front(costs, scores)
    figure = go.Figure()
    if len(front) > 1:
        figure.add_scatter(
            x=[costs[at] for at in front],
            y=[scores[at] for at in front],
            mode="lines",
            line={"color": colours.after, "width": 1.5, "dash": "dot", "shape": "hv"},
            hoverinfo="skip",
            name="Pareto front",
        )
    sides = _label_sides(costs, scores)
    named = front if len(names) > MOST_MODELS else range(len(names))
    for title, chosen, colour in (
        ("On the Pareto front", front, colours.after),
        ("Another one is better", [at for at in range(len(names)) if at not in front], colours.frozen),
    ):
        figure.add_scatter(
            x=[costs[at] for at in chosen],
            y=[scores[at] for at in chosen],
            mode="markers+text",
            name=title,
            text=[shortened(names[at], _LABEL_LENGTH) if at in named else "" for at in chosen],
            textposition=[sides[at] for at in chosen],
            textfont={"color": colours.text, "size": 13},
            marker={"size": 12, "color": colour},
            customdata=[names[at] for at in chosen],
            hovertemplate=f"%{{customdata}}<br>{cost} %{{x:,.6~g}}<br>{score} %{{y:.3f}}<extra></extra>",
            cliponaxis=False,
            showlegend=bool(chosen),
        )
    figure.update_xaxes(title=cost, range=_padded(costs, 0.12), zeroline=False, nticks=7)
    figure.update_yaxes(title=score, range=_padded(scores, 0.18), zeroline=False, nticks=6)
    return _framed(figure, 380)


def class_bars(changes: Mapping[str, Mapping[str, float]], *, score: str = "AP", dark: bool) -> go.Figure:
    """Draw the change of every class's score, a bar for each model, the classes that changed most first.

    Args:
        changes: Name of a model -> class -> change; MOST_CLASSES classes of the first MOST_MODELS models are drawn.
        score: What the number of a class is called.
        dark: Whether the theme is dark.
    """
    colours = palette(dark)
    changes = dict(list(changes.items())[:MOST_MODELS])
    classes = most_changed(changes)
    figure = go.Figure()
    for index, (name, of_model) in enumerate(changes.items()):
        figure.add_bar(
            y=classes,
            x=[of_model.get(each) for each in classes],
            name=shortened(name),
            orientation="h",
            marker={"color": colours.series[index % len(colours.series)], "line": {"width": 0}},
            customdata=[name] * len(classes),
            hovertemplate="%{customdata}<br>%{y}: %{x:+.3f}<extra></extra>",
        )
    largest = max((abs(value) for of_model in changes.values() for value in of_model.values()), default=0.0)
    end = max(1.1 * largest, 0.01)
    figure.update_layout(bargap=0.3, bargroupgap=0.08, showlegend=True)
    figure.update_xaxes(title=f"Change of {score}", range=[-end, end], tickformat=".3~f", nticks=7)
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    return _framed(figure, 110 + len(classes) * (14 + 12 * len(changes)))


def most_changed(changes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the classes whose score changed most in any model, at most MOST_CLASSES of them."""
    classes = dict.fromkeys(each for of_model in changes.values() for each in of_model)
    largest = {each: max(abs(of_model.get(each, 0.0)) for of_model in changes.values()) for each in classes}
    return sorted(classes, key=lambda each: -largest[each])[:MOST_CLASSES]


def shortened(name: str, length: int = _NAME_LENGTH) -> str:
    """Return a name that fits, with its middle left out: what tells relatives apart stands at both ends."""
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head].rstrip()}…{name[-(length - 1 - head) :].lstrip()}"


def _label_sides(costs: Sequence[float], scores: Sequence[float]) -> list[str]:
    """Return where each name stands: towards the middle of the figure, and above or below its point by turns."""
    low, high = min(costs, default=0.0), max(costs, default=0.0)
    height = (max(scores, default=0.0) - min(scores, default=0.0)) or 1.0
    width = (high - low) or 1.0
    sides = [""] * len(costs)
    order = sorted(range(len(costs)), key=lambda at: (costs[at], -scores[at]))
    for place, at in enumerate(order):
        beside = [other for other in order if other != at and abs(scores[other] - scores[at]) < 0.12 * height]
        stacked = [other for other in beside if abs(costs[other] - costs[at]) < 0.05 * width]
        if stacked:  # one above the other: turns would write the name of each over the other's point
            above = all((scores[other], -other) <= (scores[at], -at) for other in stacked)
        else:
            above = sum(other in order[:place] for other in beside) % 2 == 0
        sides[at] = f"{'top' if above else 'bottom'} {'left' if costs[at] - low > width / 2 else 'right'}"
    return sides


def _padded(values: Sequence[float], share: float) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = share * ((high - low) or abs(high) or 1.0)
    return [low - room, high + room]


def _framed(figure: go.Figure, height: int) -> go.Figure:
    return figure.update_layout(
        height=height,
        margin={"l": 56, "r": 8, "t": 30, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "title": None},
        hoverlabel={"align": "left"},
    )
