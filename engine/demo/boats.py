"""Draw boats of three kinds from above: motorboats, sailboats and barges.

Outlines are written in the boat's own frame: length 1 from stern (-0.5) to bow (+0.5) along the first axis, port to
starboard along the second. A beam is the hull's width in the same unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from engine.demo.brushes import (
    PLANKS,
    Colour,
    Light,
    Pose,
    Sprite,
    Veil,
    box,
    choose,
    claim,
    paste_shadow,
    random_pose,
    shade,
    vary,
)

CLASS_NAMES = ("motorboat", "sailboat", "barge")

_MOTORBOAT, _SAILBOAT, _BARGE = range(3)
_CLASS_SHARES = (0.42, 0.33, 0.25)
_LENGTHS = {  # pixels at an image side of 320
    _MOTORBOAT: (20, 56),
    _SAILBOAT: (24, 70),
    _BARGE: (36, 100),
}
_BEAMS = {_MOTORBOAT: (0.34, 0.44), _SAILBOAT: (0.24, 0.32), _BARGE: (0.26, 0.38)}

# Half widths along the hull, as (station from stern to bow, share of half the beam).
_MOTORBOAT_HULL = ((-0.5, 0.82), (-0.25, 1.0), (0.05, 0.97), (0.25, 0.8), (0.38, 0.52), (0.46, 0.24), (0.5, 0.0))
_SAILBOAT_HULL = ((-0.5, 0.5), (-0.32, 0.82), (-0.05, 1.0), (0.2, 0.84), (0.36, 0.5), (0.45, 0.22), (0.5, 0.0))
_BARGE_HULL = ((-0.5, 0.86), (-0.46, 1.0), (0.4, 1.0), (0.47, 0.8), (0.5, 0.55))

_HULLS: tuple[Colour, ...] = (
    (240, 240, 236),
    (228, 230, 232),
    (232, 224, 206),
    (176, 40, 38),
    (34, 70, 128),
    (46, 52, 60),
    (214, 160, 44),
    (60, 120, 116),
)
_CANVASES: tuple[Colour, ...] = ((246, 244, 238), (236, 226, 200), (250, 250, 250), (196, 70, 60), (60, 92, 148))
_STEELS: tuple[Colour, ...] = ((104, 58, 46), (66, 72, 78), (40, 58, 88), (96, 98, 92), (64, 84, 70))
_CARGOES: tuple[Colour, ...] = (
    (184, 92, 52),
    (70, 112, 148),
    (196, 178, 120),
    (58, 56, 54),
    (92, 128, 84),
    (150, 60, 56),
)


@dataclass(frozen=True)
class Boat:
    """One boat: class index and tight box (left, top, right, bottom) in pixels, clipped to the picture."""

    class_index: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class _Drawing:
    """How to draw one boat, in its own frame.

    ``outline`` (N, 2) casts the shadow and takes the room; ``extent`` (M, 2) also holds what reaches over the hull;
    ``layers`` are filled one after the other; ``height`` (for the shadow) and ``wake`` (how far white water reaches
    astern, 0 for a boat at rest) are in hull lengths.
    """

    outline: np.ndarray
    extent: np.ndarray
    layers: tuple[tuple[np.ndarray, Colour], ...]
    height: float
    wake: float = 0.0


def draw_boats(
    picture: Image.Image, occupied: np.ndarray, light: Light, rng: np.random.Generator, scale: float
) -> tuple[Boat, ...]:
    """Place boats where there is room, a few of them moored side by side, and draw them.

    Args:
        picture: drawn upon.
        occupied: where no boat may lie, bool (H, W); the new boats are added to it.
        light: casts their shadows.
        rng: the only source of chance.
        scale: image side as a multiple of the 320 pixels that lengths are meant at.
    """
    size = picture.width
    boats: list[Boat] = []
    neighbour: Pose | None = None
    for _ in range(int(rng.integers(4, 13))):
        class_index = int(rng.choice(len(CLASS_NAMES), p=_CLASS_SHARES))
        shortest, longest = _LENGTHS[class_index]
        length = (shortest + (longest - shortest) * float(rng.random()) ** 1.4) * scale
        beam = float(rng.uniform(*_BEAMS[class_index]))
        beside = neighbour if neighbour is not None and rng.random() < 0.3 else None
        for _ in range(6):
            pose = _moor_beside(beside, length, beam, rng, scale) if beside else random_pose(rng, size, length)
            drawing = _DRAWINGS[class_index](beam, rng)
            if claim(occupied, pose.place(drawing.outline), visible_share=0.55):
                _paste_boat(picture, pose, drawing, light, scale)
                boats.append(Boat(class_index, _clipped_box(pose.place(drawing.extent), size)))
                neighbour = pose
                break
    return tuple(boats)


def _moor_beside(neighbour: Pose, length: float, beam: float, rng: np.random.Generator, scale: float) -> Pose:
    """A pose alongside another boat, nearly parallel to it; ``length`` in pixels."""
    distance = 0.2 * neighbour.length + 0.5 * beam * length + float(rng.uniform(0, 6)) * scale
    side = -1 if rng.random() < 0.5 else 1
    x = neighbour.x - math.sin(neighbour.heading) * distance * side
    y = neighbour.y + math.cos(neighbour.heading) * distance * side
    turn = math.pi if rng.random() < 0.3 else 0.0
    return Pose(x, y, length, neighbour.heading + turn + float(rng.uniform(-0.12, 0.12)))


def _clipped_box(outline: np.ndarray, size: int) -> tuple[float, float, float, float]:
    left, top = outline.min(axis=0).clip(0, size).tolist()
    right, bottom = outline.max(axis=0).clip(0, size).tolist()
    return left, top, right, bottom


def _hull(profile: tuple[tuple[float, float], ...], beam: float) -> np.ndarray:
    """Both sides of a hull, (2 * stations, 2) in the own frame."""
    stations = np.array(profile) * (1, beam / 2)
    return np.concatenate([stations, stations[::-1] * (1, -1)])


def _motorboat(beam: float, rng: np.random.Generator) -> _Drawing:
    hull = _hull(_MOTORBOAT_HULL, beam)
    paint, deck = choose(_HULLS, rng), choose(PLANKS, rng)
    windscreen = float(rng.uniform(0.02, 0.16))
    half = beam / 2
    aft, fore = windscreen, windscreen + 0.09
    glass = np.array([(aft, -half * 0.7), (fore, -half * 0.45), (fore, half * 0.45), (aft, half * 0.7)])
    layers = [
        (hull, paint),
        (hull * (0.9, 0.8) + (-0.005, 0), shade(paint, 1.1)),
        (box(-0.42, windscreen, half * 0.68), deck),
        (glass, (38, 52, 66)),
    ]
    if rng.random() < 0.5:
        layers.append((box(windscreen - 0.2, windscreen - 0.02, half * 0.62), shade(paint, 0.97)))
    else:
        layers.append((box(-0.36, -0.24, half * 0.55), choose(_CANVASES, rng)))
    engine = box(-0.57, -0.46, half * 0.2)
    layers.append((engine, (44, 46, 50)))
    wake = float(rng.uniform(0.8, 2.2)) if rng.random() < 0.45 else 0.0
    return _Drawing(hull, np.concatenate([hull, engine]), tuple(layers), height=0.5, wake=wake)


def _sailboat(beam: float, rng: np.random.Generator) -> _Drawing:
    hull = _hull(_SAILBOAT_HULL, beam)
    paint, deck, canvas = choose(_HULLS, rng), choose(PLANKS, rng), choose(_CANVASES, rng)
    mast = (float(rng.uniform(0.02, 0.12)), 0.0)
    angle = float(rng.uniform(-0.6, 0.6))
    boom = np.array([mast, (mast[0] - 0.5 * math.cos(angle), 0.5 * math.sin(angle))])
    across = np.array([(math.sin(angle), math.cos(angle))])
    layers = [(hull, paint), (hull * (0.88, 0.74), deck), (box(-0.24, 0.0, beam * 0.2), shade(paint, 1.05))]
    extent = [hull]
    if rng.random() < 0.72:
        belly = 0.09 if angle > 0 else -0.09
        main = np.concatenate([boom, (boom[1] + boom[0]) / 2 + across * belly * 1.6])
        jib = np.array([(0.48, 0.0), mast, (mast[0] - 0.04, belly * 1.7), (0.26, belly)])
        layers += [(main, canvas), (jib, shade(canvas, 0.93))]
        extent += [main, jib]
    furled = np.concatenate([boom + across * 0.022, boom[::-1] - across * 0.022])
    layers.append((furled, shade(canvas, 0.8)))
    layers.append((box(mast[0] - 0.02, mast[0] + 0.02, 0.02), (52, 46, 42)))
    extent.append(furled)
    return _Drawing(hull, np.concatenate(extent), tuple(layers), height=0.9)


def _barge(beam: float, rng: np.random.Generator) -> _Drawing:
    hull = _hull(_BARGE_HULL, beam)
    steel, cargo = choose(_STEELS, rng), choose(_CARGOES, rng)
    half = beam / 2
    layers = [(hull, steel), (hull * (0.96, 0.88), shade(steel, 1.25)), (box(-0.24, 0.42, half * 0.72), (34, 32, 32))]
    holds = int(rng.integers(2, 6))
    for hold in range(holds):
        left = -0.22 + hold * 0.62 / holds
        if rng.random() < 0.85:
            paint = vary(cargo, rng, 26) if rng.random() < 0.6 else choose(_CARGOES, rng)
            layers.append((box(left, left + 0.56 / holds, half * 0.64), paint))
    layers.append((box(-0.44, -0.29, half * 0.6), (232, 230, 224)))
    layers.append((box(-0.33, -0.3, half * 0.52), (50, 62, 72)))
    wake = float(rng.uniform(0.2, 0.5)) if rng.random() < 0.3 else 0.0
    return _Drawing(hull, hull, tuple(layers), height=0.3, wake=wake)


_DRAWINGS = {_MOTORBOAT: _motorboat, _SAILBOAT: _sailboat, _BARGE: _barge}


def _paste_boat(picture: Image.Image, pose: Pose, drawing: _Drawing, light: Light, scale: float) -> None:
    if drawing.wake:
        _paste_wake(picture, pose, drawing, scale)
    paste_shadow(picture, pose, drawing.outline, light, drawing.height * min(pose.length, 40 * scale))
    sprite = Sprite(pose, 0.65)
    for outline, colour in drawing.layers:
        sprite.polygon(outline, colour)
    sprite.paste(picture)


def _paste_wake(picture: Image.Image, pose: Pose, drawing: _Drawing, scale: float) -> None:
    """White water: a wedge astern and a thin rim along the hull."""
    beam = float(drawing.outline[:, 1].max())
    astern = -0.45 - drawing.wake
    wedge = np.array([(-0.3, beam), (astern, beam * 1.9), (astern - 0.1, 0.0), (astern, -beam * 1.9), (-0.3, -beam)])
    core = np.array([(-0.4, beam * 0.7), (astern * 0.8, beam * 0.5), (astern * 0.8, -beam * 0.5), (-0.4, -beam * 0.7)])
    veil = Veil(pose, 0.6 + drawing.wake, (248, 250, 250))
    veil.polygon(wedge, 70)
    veil.polygon(core, 150)
    veil.polygon(drawing.outline * (1.04, 1.2), 170)
    veil.paste(picture, 1.2 * scale)
