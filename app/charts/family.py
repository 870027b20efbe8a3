"""The family tree of a model as a figure: one card a line, indented by generation. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from app.charts.comparison import shortened
from app.charts.palette import Palette, palette
from app.words import format
from engine.base import numbers
from engine.base.tasks import metric_label
from engine.workspace.lineage import EXPORTED, Member

KINDS = {**format.KINDS, EXPORTED: "Exported"}
_LINE_PX = 58
_HEIGHT = 0.78
"Of a card, in lines."
_WIDTH = 24.0
"Of the figure, in generations: what a card loses by standing one further to the right."
_NAME_LENGTH = 52


def family_tree(members: Sequence[Member], shown: str, *, dark: bool) -> go.Figure:
    """Draw a family, each member below its parent; the bars are the members in their order.

    Args:
        members: As ``engine.workspace.lineage.family`` gives them.
        shown: Key of the member to set apart.
        dark: Whether the theme is dark.
    """
    colours = palette(dark)
    figure = go.Figure([*_branches(members, colours), _cards(members, shown, colours), _texts(members, colours)])
    figure.update_xaxes(visible=False, range=[-0.1, _WIDTH + 0.1], fixedrange=True)
    figure.update_yaxes(visible=False, range=[len(members) - 0.5, -0.5], fixedrange=True)
    return figure.update_layout(
        height=_LINE_PX * len(members) + 8,
        margin={"l": 0, "r": 0, "t": 4, "b": 4},
        showlegend=False,
        dragmode=False,
        clickmode="event+select",
        hoverlabel={"align": "left"},
    )


def _branches(members: Sequence[Member], colours: Palette) -> Iterator[go.Scatter]:
    """Yield the line from every parent on show down and across to its child."""
    lines = {member.key: line for line, member in enumerate(members)}
    for member in members:
        if member.parent in lines:
            x = member.depth - 0.5
            yield go.Scatter(
                x=[x, x, member.depth],
                y=[lines[member.parent] + _HEIGHT / 2, lines[member.key], lines[member.key]],
                mode="lines",
                line={"color": colours.frozen, "width": 1.5},
                hoverinfo="skip",
            )


def _cards(members: Sequence[Member], shown: str, colours: Palette) -> go.Bar:
    edges = [colours.after if member.key == shown else _edge(member, colours) for member in members]
    return go.Bar(
        y=list(range(len(members))),
        x=[_WIDTH - member.depth for member in members],
        base=[member.depth for member in members],
        orientation="h",
        width=_HEIGHT,
        marker={
            "color": [_fill(member, shown, colours) for member in members],
            "line": {"color": edges, "width": [2 if member.key == shown else 1 for member in members]},
            "cornerradius": 6,
        },
        customdata=[[member.key, member.name] for member in members],
        hovertemplate="%{customdata[1]}<br>Click to show<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )


def _texts(members: Sequence[Member], colours: Palette) -> go.Scatter:
    """Return what stands on the cards, as points: text of a bar would be centred line by line."""
    return go.Scatter(
        x=[member.depth + 0.3 for member in members],
        y=list(range(len(members))),
        mode="text",
        text=[card_text(member) for member in members],
        textposition="middle right",
        textfont={"color": [colours.frozen if member.deleted else colours.text for member in members], "size": 13},
        hoverinfo="skip",
    )


def card_text(member: Member) -> str:
    """Return name and numbers of a member on two lines."""
    name = shortened(member.name, _NAME_LENGTH).replace("<", "&lt;")
    return f"<b>{name}</b><br>{facts(member)}"


def facts(member: Member) -> str:
    """Return 'Pruned · ratio 0.50 · 922 k parameters · mAP50-95 0.716', as far as it is known."""
    told = [KINDS.get(member.kind, member.kind)]
    if member.deleted:
        told.append("deleted")
    if member.ratio is not None:
        told.append(f"ratio {numbers.ratio(member.ratio)}")
    if member.params is not None:
        told.append(f"{numbers.count(member.params)} parameters")
    if member.kind == EXPORTED and member.size_mb is not None:
        told.append(numbers.megabytes(member.size_mb))
    if member.score is not None:
        score = f"{metric_label(member.metric)} {numbers.score(member.score)}"
        told.append(f"{score}{' *' if member.conditions else ''}")
    if member.change is not None:
        told.append(f"{metric_label(member.metric)} {numbers.score_change(member.change)} by export")
    return " · ".join(told)


def _fill(member: Member, shown: str, colours: Palette) -> str:
    """Return the colour of a card: none for a placeholder, stronger for the one on show."""
    if member.deleted and member.key != shown:
        return "rgba(0, 0, 0, 0)"
    return colours.faded(0.26 if member.key == shown else 0.08)


def _edge(member: Member, colours: Palette) -> str:
    """Return the colour of a card's edge: amber where something was cut off, teal for what leaves the workbench."""
    if member.deleted:
        return colours.frozen
    return {"pruned": colours.floor, EXPORTED: colours.series[2]}.get(member.kind, colours.frozen)
