"""Charts of a report as shapes with coordinates; ``templates/charts.html`` writes them down as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from engine.base import numbers

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 900, 52, 12, 12, 40
COLOURS = ("s0", "s1", "s2", "s3") * 8
"Classes of the page's style sheet, in the order in which series take them."

Points = Sequence[tuple[float, float]]


class Shape(NamedTuple):
    """One element of a drawing; a ``text`` writes its words, any other shows them on hovering."""

    tag: str
    attributes: Mapping[str, object]
    words: str = ""


class Chart(NamedTuple):
    """A drawing, and the (name, colour) of each series for a legend above it."""

    shapes: Sequence[Shape]
    height: int
    legend: Sequence[tuple[str, str]] = ()
    width: int = WIDTH


def line_chart(
    series: Mapping[str, Points],
    x_label: str,
    y_label: str,
    *,
    height: int = 240,
    top: float | None = None,
    mark: float | None = None,
) -> Chart:
    """Draw lines with a legend above.

    Args:
        series: Name -> (x, y) points; all values finite.
        x_label: Below the axis.
        y_label: Beside the axis.
        height: In pixels at full width.
        top: End of the y axis, fitted to the data by default.
        mark: An x to mark with a dashed line.
    """
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    frame = _Frame(min(xs), max(xs), top or max(*ys, 1e-9) * 1.05, height)
    shapes = frame.axes(x_label, y_label)
    if mark is not None:
        at = f"{frame.x(mark):.1f}"
        shapes.append(Shape("line", {"class": "mark", "x1": at, "y1": TOP, "x2": at, "y2": height - BOTTOM}))
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        shapes.append(Shape("polyline", {"class": f"line {colour}", "points": frame.path(points)}, name))
        if len(points) <= 40:
            shapes += [frame.dot(x, y, colour, f"{name}: {numbers.score(y)} at {x:g}", 3.5) for x, y in points]
    return Chart(shapes, height, tuple(zip(series, COLOURS, strict=False)))


def channel_bars(layers: Sequence[tuple[str, int, int]], *, height: int = 250) -> Chart:
    """Draw the channels of each layer before (behind) and after (in front): (name, before, after)."""
    frame = _Frame(-0.5, len(layers) - 0.5, 1.05 * max(before for _, before, _ in layers), height)
    width = max(1.0, 0.8 * (frame.x(1) - frame.x(0)))
    bars = [
        frame.bar(frame.x(index) - width / 2, value, width, kind, f"{name}: {after} of {before} channels")
        for index, (name, before, after) in enumerate(layers)
        for kind, value in (("before", before), ("after", after))
    ]
    return Chart(frame.axes("Layer, by depth", "Channels", ticks_x=False) + bars, height)


def histogram(series: Mapping[str, np.ndarray], x_label: str, *, height: int = 240, bins: int = 60) -> Chart:
    """Draw how values of one or more models are distributed, as shares, over each other."""
    end = max(float(np.percentile(values, 99.8)) for values in series.values()) * 1.05 or 1.0
    edges = np.linspace(0, end, bins + 1)
    shares = {name: np.histogram(np.minimum(values, end), edges)[0] / len(values) for name, values in series.items()}
    frame = _Frame(0, end, 1.05 * max(float(share.max()) for share in shares.values()), height)
    width = frame.x(edges[1]) - frame.x(0)
    bars = [
        frame.bar(frame.x(low), value, width, f"bar {colour}", _told_share(name, value, low))
        for (name, share), colour in zip(shares.items(), COLOURS, strict=False)
        for low, value in zip(edges[:-1].tolist(), share.tolist(), strict=True)
        if value
    ]
    legend = tuple(zip(shares, COLOURS, strict=False)) if len(shares) > 1 else ()
    return Chart(frame.axes(x_label, "Share of the channels") + bars, height, legend)


def bands(layers: Sequence[tuple[str, np.ndarray]], y_label: str, *, height: int = 240) -> Chart:
    """Draw 10th, 50th and 90th percentile of each layer's values along the depth: (name, values)."""
    low, middle, high = ([float(np.percentile(values, q)) for _, values in layers] for q in (10, 50, 90))
    frame = _Frame(0, max(len(layers) - 1, 1), max(1.05 * max(high), 1e-9), height)
    around = [*enumerate(high), *reversed(list(enumerate(low)))]
    shapes = [
        Shape("polygon", {"class": "band", "points": frame.path(around)}),
        Shape("polyline", {"class": "line s0", "points": frame.path(enumerate(middle))}),
    ]
    for at, ((name, _), value) in enumerate(zip(layers, middle, strict=True)):
        shapes.append(frame.dot(at, value, "s0", f"{name}: median {numbers.gamma(value)}", 2.5))
    return Chart(frame.axes("Layer, by depth", y_label, ticks_x=False) + shapes, height)


def _told_share(name: str, share: float, low: float) -> str:
    return f"{name}: {numbers.percent(share)} near {numbers.gamma(low)}"


class _Frame:
    """The plot area, whose y axis starts at 0: values to pixels, and what is drawn at them."""

    def __init__(self, x0: float, x1: float, y1: float, height: int) -> None:
        self._x0, self._x1, self._y1, self._height = x0, x1 if x1 > x0 else x0 + 1, y1, height

    def x(self, value: float) -> float:
        return LEFT + (value - self._x0) / (self._x1 - self._x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self._height - BOTTOM - value / self._y1 * (self._height - BOTTOM - TOP)

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)

    def dot(self, x: float, y: float, colour: str, title: str, radius: float) -> Shape:
        place = {"cx": f"{self.x(x):.1f}", "cy": f"{self.y(y):.1f}", "r": radius}
        return Shape("circle", {"class": f"dot {colour}", **place}, title)

    def bar(self, left: float, value: float, width: float, kind: str, title: str) -> Shape:
        """Return a bar from 0 to a value; ``left`` and ``width`` are pixels."""
        top, end = self.y(value), self.y(0)
        size = {"x": f"{left:.1f}", "y": f"{top:.1f}", "width": f"{width:.1f}", "height": f"{end - top:.1f}"}
        return Shape("rect", {"class": kind, **size}, title)

    def axes(self, x_label: str, y_label: str, *, ticks_x: bool = True) -> list[Shape]:
        """Return grid lines, tick labels and titles."""
        bottom, shapes = self._height - BOTTOM, []
        for value in _ticks(0.0, self._y1):
            y = self.y(value)
            line = {"x1": LEFT, "y1": f"{y:.1f}", "x2": WIDTH - RIGHT, "y2": f"{y:.1f}"}
            shapes.append(Shape("line", {"class": "grid", **line}))
            shapes.append(_text(f"{value:g}", "end", x=LEFT - 6, y=f"{y + 4:.1f}"))
        for value in _ticks(self._x0, self._x1, 8) if ticks_x else ():
            shapes.append(_text(f"{value:g}", x=f"{self.x(value):.1f}", y=bottom + 16))
        shapes.append(_text(x_label, x=(WIDTH + LEFT) / 2, y=self._height - 6))
        shapes.append(_text(y_label, transform=f"translate(12 {(bottom + TOP) / 2:.0f}) rotate(-90)"))
        return shapes


def _text(text: str, anchor: str = "middle", **place: object) -> Shape:
    return Shape("text", {**place, "text-anchor": anchor}, text)


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between two values."""
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]
