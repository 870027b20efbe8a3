"""An image with boxes as SVG: sharp at every size, readable on any picture."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

import numpy as np

from engine.validation.detections import Boxes

BOTH, ALONE = "#22d3ee", "#fb923c"
"Boxes that both models find, and those that only one of them finds; bright enough for dark and busy pictures."
_LABEL_ALL_UP_TO = 12
"Boxes; with more of them only those that the other model lacks are labelled."
LEGEND = (
    '<div style="display:flex;flex-wrap:wrap;gap:0.2rem 1.4rem;font-size:0.875rem;align-items:center">'
    f'<span><span style="{{swatch}};border:3px solid {BOTH}"></span>Found by both</span>'
    f'<span><span style="{{swatch}};border:3px dashed {ALONE}"></span>Only this model finds it</span></div>'
).format(swatch="display:inline-block;width:1.5rem;height:0.9rem;margin-right:0.45rem;vertical-align:-0.1rem")


def boxes_on_image(
    jpeg: bytes, size: tuple[int, int], boxes: Boxes, alone: Iterable[int], names: dict[int, str]
) -> str:
    """Return an SVG of an image and its boxes.

    Args:
        jpeg: The image, of any resolution.
        size: (width, height) in pixels that the corners refer to.
        boxes: What the model finds.
        alone: Positions of the boxes that the other model lacks.
        names: Class index -> name.
    """
    width, height = size
    unit = max(width, height) / 100
    lonely = set(map(int, alone))
    marks = []
    # Those that both find go first, so that a difference is never covered.
    for at in sorted(range(len(boxes)), key=lambda at: at in lonely):
        marks.append(_box(boxes.corners[at], alone=at in lonely, unit=unit))
    for at in sorted(range(len(boxes)), key=lambda at: at in lonely):
        if at in lonely or len(boxes) <= _LABEL_ALL_UP_TO:
            name = names.get(int(boxes.classes[at]), str(int(boxes.classes[at])))
            text = f"{name} {boxes.scores[at]:.2f}"
            marks.append(_label(boxes.corners[at], text, alone=at in lonely, image_width=width, unit=unit))
    picture = base64.b64encode(jpeg).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<image href="data:image/jpeg;base64,{picture}" width="{width}" height="{height}" '
        f'preserveAspectRatio="none"/>{"".join(marks)}</svg>'
    )


def _box(corners: np.ndarray, *, alone: bool, unit: float) -> str:
    left, top, right, bottom = (float(value) for value in corners)
    place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" fill="none"'
    dashes = f' stroke-dasharray="{1.6 * unit:.1f} {unit:.1f}"' if alone else ""
    wide, thin = (0.85 * unit, 0.55 * unit) if alone else (0.5 * unit, 0.3 * unit)
    return (
        f'<rect {place} stroke="#000" stroke-opacity="0.55" stroke-width="{wide:.2f}"/>'
        f'<rect {place} stroke="{ALONE if alone else BOTH}" stroke-width="{thin:.2f}"{dashes}/>'
    )


def _label(corners: np.ndarray, text: str, *, alone: bool, image_width: float, unit: float) -> str:
    size = (2.8 if alone else 2.3) * unit
    width, height = 0.56 * size * len(text) + 0.6 * size, 1.35 * size
    left = max(0.0, min(float(corners[0]), image_width - width))
    top = float(corners[1]) - height if corners[1] >= height else float(corners[1])
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{ALONE if alone else BOTH}" fill-opacity="{1 if alone else 0.8}"/>'
        f'<text x="{left + 0.3 * size:.1f}" y="{top + size:.1f}" font-size="{size:.1f}" fill="#0b1020" '
        f'font-family="sans-serif" textLength="{width - 0.6 * size:.1f}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(text)}</text>"
    )
