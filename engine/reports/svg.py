"""Charts as SVG text: a few kilobytes each, sharp on paper, in the colours of the page that they stand in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from engine.base import numbers

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 900, 52, 12, 12, 40
SERIES = ("s0", "s1", "s2", "s3")
"Classes of the page's style sheet."

Points = Sequence[tuple[float, float]]


def line_chart(
    series: Mapping[str, Points],
    x_label: str,
    y_label: str,
    *,
    height: int = 240,
    top: float | None = None,
    mark: float | None = None,
) -> str:
    """Draw lines with a legend above.

    Args:
        series: Name -> (x, y) points; all values finite.
        x_label: Below the axis.
        y_label: In the tooltip of the axis.
        height: In pixels at full width.
        top: End of the y axis, fitted to the data by default.
        mark: An x to mark with a dashed line.
    """
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    frame = _Frame(min(xs), max(xs), 0.0, top or max(*ys, 1e-9) * 1.05, height)
    body = [frame.axes(x_label, y_label)]
    if mark is not None:
        x = frame.x(mark)
        body.append(f'<line class="mark" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - BOTTOM}"/>')
    for (name, points), colour in zip(series.items(), _cycle(), strict=False):
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
        body.append(f'<polyline class="line {colour}" points="{path}"><title>{escape(name)}</title></polyline>')
        if len(points) <= 40:
            body += [
                f'<circle class="dot {colour}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3.5">'
                f"<title>{escape(name)}: {numbers.score(y)} at {x:g}</title></circle>"
                for x, y in points
            ]
    return _legend(series) + _svg("".join(body), height)


def channel_bars(layers: Sequence[tuple[str, int, int]], *, height: int = 250) -> str:
    """Draw the channels of each layer before (behind) and after (in front): (name, before, after)."""
    frame = _Frame(-0.5, len(layers) - 0.5, 0.0, 1.05 * max(before for _, before, _ in layers), height)
    width = max(1.0, 0.8 * (frame.x(1) - frame.x(0)))
    body = [frame.axes("Layer, by depth", "Channels", ticks_x=False)]
    for index, (name, before, after) in enumerate(layers):
        left = frame.x(index) - width / 2
        bars = "".join(
            f'<rect class="{kind}" x="{left:.1f}" y="{frame.y(value):.1f}" width="{width:.1f}" '
            f'height="{frame.y(0) - frame.y(value):.1f}"/>'
            for kind, value in (("before", before), ("after", after))
        )
        body.append(f"<g>{bars}<title>{escape(name)}: {after} of {before} channels</title></g>")
    return _svg("".join(body), height)


def histogram(series: Mapping[str, np.ndarray], x_label: str, *, height: int = 240, bins: int = 60) -> str:
    """Draw how values of one or more models are distributed, as shares, over each other."""
    end = max(float(np.percentile(values, 99.8)) for values in series.values()) * 1.05 or 1.0
    edges = np.linspace(0, end, bins + 1)
    shares = {name: np.histogram(np.minimum(values, end), edges)[0] / len(values) for name, values in series.items()}
    frame = _Frame(0, end, 0.0, 1.05 * max(float(share.max()) for share in shares.values()), height)
    body = [frame.axes(x_label, "Share of the channels")]
    width = frame.x(edges[1]) - frame.x(0)
    for (name, share), colour in zip(shares.items(), _cycle(), strict=False):
        body += [
            f'<rect class="bar {colour}" x="{frame.x(low):.1f}" y="{frame.y(value):.1f}" width="{width:.1f}" '
            f'height="{frame.y(0) - frame.y(value):.1f}">'
            f"<title>{escape(name)}: {numbers.percent(value)} near {numbers.gamma(low)}</title></rect>"
            for low, value in zip(edges[:-1].tolist(), share.tolist(), strict=True)
            if value
        ]
    return (_legend(shares) if len(shares) > 1 else "") + _svg("".join(body), height)


def bands(layers: Sequence[tuple[str, np.ndarray]], y_label: str, *, height: int = 240) -> str:
    """Draw 10th, 50th and 90th percentile of each layer's values along the depth: (name, values)."""
    low, middle, high = (np.array([np.percentile(values, q) for _, values in layers]) for q in (10, 50, 90))
    frame = _Frame(0, max(len(layers) - 1, 1), 0.0, max(1.05 * float(high.max()), 1e-9), height)
    there = [f"{frame.x(at):.1f},{frame.y(value):.1f}" for at, value in enumerate(high.tolist())]
    back = [f"{frame.x(at):.1f},{frame.y(value):.1f}" for at, value in reversed(list(enumerate(low.tolist())))]
    median = " ".join(f"{frame.x(at):.1f},{frame.y(value):.1f}" for at, value in enumerate(middle.tolist()))
    dots = "".join(
        f'<circle class="dot s0" cx="{frame.x(at):.1f}" cy="{frame.y(value):.1f}" r="2.5">'
        f"<title>{escape(name)}: median {numbers.gamma(value)}</title></circle>"
        for at, ((name, _), value) in enumerate(zip(layers, middle.tolist(), strict=True))
    )
    axes = frame.axes("Layer, by depth", y_label, ticks_x=False)
    band = f'<polygon class="band" points="{" ".join(there + back)}"/>'
    return _svg(f'{axes}{band}<polyline class="line s0" points="{median}"/>{dots}', height)


class _Frame:
    """The plot area: values to pixels."""

    def __init__(self, x0: float, x1: float, y0: float, y1: float, height: int) -> None:
        self._x0, self._x1, self._y0, self._y1, self._height = x0, x1 if x1 > x0 else x0 + 1, y0, y1, height

    def x(self, value: float) -> float:
        return LEFT + (value - self._x0) / (self._x1 - self._x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self._height - BOTTOM - (value - self._y0) / (self._y1 - self._y0) * (self._height - BOTTOM - TOP)

    def axes(self, x_label: str, y_label: str, *, ticks_x: bool = True) -> str:
        """Return grid lines, tick labels and titles."""
        parts = []
        for value in _ticks(self._y0, self._y1):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for value in _ticks(self._x0, self._x1, 8) if ticks_x else ():
            place = f'x="{self.x(value):.1f}" y="{self._height - BOTTOM + 16}"'
            parts.append(f'<text {place} text-anchor="middle">{value:g}</text>')
        middle = (self._height - BOTTOM + TOP) / 2
        parts.append(
            f'<text x="{(WIDTH + LEFT) / 2}" y="{self._height - 6}" text-anchor="middle">{escape(x_label)}</text>'
            f'<text transform="translate(12 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
        )
        return "".join(parts)


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between two values."""
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _cycle() -> Sequence[str]:
    return SERIES * 8


def _legend(series: Mapping[str, object]) -> str:
    entries = (
        f'<span><i class="{colour}"></i>{escape(name)}</span>' for name, colour in zip(series, _cycle(), strict=False)
    )
    return f'<p class="legend">{"".join(entries)}</p>'


def _svg(body: str, height: int) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{body}</svg>'
