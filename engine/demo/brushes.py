"""Brushes for scenes seen from above: where a thing lies, its shadow, its paint, and how it is laid over a picture.

Coordinates are pixels, x to the right and y downwards, unless a name says otherwise. Outlines are written in a thing's
own frame: length 1 from stern (-0.5) to bow (+0.5) along the first axis, port to starboard along the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

PLANKS: tuple[Colour, ...] = ((186, 150, 104), (206, 196, 178), (150, 158, 164), (222, 222, 218))

_SPRITE_SUPERSAMPLING = 3
_VEIL_SUPERSAMPLING = 2  # veils are blurred afterwards


@dataclass(frozen=True)
class Pose:
    """Where a thing lies: centre and length in pixels, heading in radians."""

    x: float
    y: float
    length: float
    heading: float

    def place(self, points: np.ndarray) -> np.ndarray:
        """Own frame -> picture, both (N, 2)."""
        cosine, sine = math.cos(self.heading), math.sin(self.heading)
        rotation = np.array([[cosine, sine], [-sine, cosine]])
        return points @ rotation * self.length + (self.x, self.y)


@dataclass(frozen=True)
class Light:
    """The sun of one scene: shadow offset per unit of height, and how dark shadows are (0 to 1)."""

    shadow_x: float
    shadow_y: float
    darkness: float


class _Tile:
    """A transparent square around one thing, drawn at a higher resolution and then reduced."""

    def __init__(self, pose: Pose, reach: float, mode: str, supersampling: int):
        """``reach``: half the tile's side, in units of the thing's length."""
        half = math.ceil(pose.length * reach) + 4
        self._pose = pose
        self._supersampling = supersampling
        self._corner = (math.floor(pose.x) - half, math.floor(pose.y) - half)
        side = 2 * half * supersampling
        self._tile = Image.new(mode, (side, side))
        self._draw = ImageDraw.Draw(self._tile)

    def _fill(self, points: np.ndarray, ink: int | tuple[int, ...]) -> None:
        placed = (self._pose.place(points) - self._corner) * self._supersampling
        self._draw.polygon([(round(x), round(y)) for x, y in placed.tolist()], fill=ink)


class Sprite(_Tile):
    """A thing of several opaque colours."""

    def __init__(self, pose: Pose, reach: float):
        super().__init__(pose, reach, "RGBA", _SPRITE_SUPERSAMPLING)

    def polygon(self, points: np.ndarray, colour: Colour) -> None:
        """Fill an outline (N, 2) that is given in the thing's own frame."""
        self._fill(points, (*colour, 255))

    def disc(self, radius: float, colour: Colour) -> None:
        """Fill a circle around the thing's centre; radius in its own frame."""
        angles = np.arange(12) * (math.pi / 6)
        self.polygon(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius, colour)

    def paste(self, picture: Image.Image) -> None:
        """Lay the thing over the picture."""
        tile = self._tile.reduce(self._supersampling)
        picture.paste(tile.convert("RGB"), self._corner, tile.getchannel("A"))


class Veil(_Tile):
    """One translucent colour with soft edges: shadow, foam, weed."""

    def __init__(self, pose: Pose, reach: float, colour: Colour):
        super().__init__(pose, reach, "L", _VEIL_SUPERSAMPLING)
        self._colour = colour

    def polygon(self, points: np.ndarray, opacity: int) -> None:
        """Set the opacity (0 to 255) inside an outline (N, 2) that is given in the thing's own frame."""
        self._fill(points, opacity)

    def paste(self, picture: Image.Image, blur: float) -> None:
        """Lay the veil over the picture; ``blur`` in pixels."""
        mask = self._tile.reduce(self._supersampling).filter(ImageFilter.GaussianBlur(blur))
        picture.paste(self._colour, (*self._corner, self._corner[0] + mask.width, self._corner[1] + mask.height), mask)


def blob(rng: np.random.Generator, points: int = 9) -> np.ndarray:
    """An irregular outline of about unit length, (points, 2)."""
    angles = np.arange(points) * (2 * math.pi / points)
    radii = rng.uniform(0.3, 0.55, points)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]


def box(left: float, right: float, half_width: float, offset: float = 0.0) -> np.ndarray:
    """A rectangle in the own frame, (4, 2)."""
    low, high = offset - half_width, offset + half_width
    return np.array([(left, low), (right, low), (right, high), (left, high)])


def vary(colour: Colour, rng: np.random.Generator, spread: int = 12) -> Colour:
    """The same paint, weathered."""
    red, green, blue = (np.asarray(colour) + rng.integers(-spread, spread + 1, 3)).clip(0, 255).tolist()
    return red, green, blue


def choose(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return vary(colours[rng.integers(len(colours))], rng)


def shade(colour: Colour, factor: float) -> Colour:
    """Lighter (factor above 1) or darker."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


def random_pose(rng: np.random.Generator, size: int, length: float) -> Pose:
    x, y = rng.uniform(0, size, 2).tolist()
    return Pose(x, y, length, float(rng.uniform(0, 2 * math.pi)))


def claim(occupied: np.ndarray, outline: np.ndarray, visible_share: float) -> bool:
    """Mark an outline (N, 2) as taken, unless too much lies outside the picture, ashore or over something else."""
    size = occupied.shape[0]
    low, high = np.floor(outline.min(axis=0)).astype(int) - 1, np.ceil(outline.max(axis=0)).astype(int) + 1
    width, height = (high - low).tolist()
    mask = Image.new("1", (width, height))
    ImageDraw.Draw(mask).polygon([(round(x), round(y)) for x, y in (outline - low).tolist()], fill=1)
    covered = np.asarray(mask)
    left, top = np.maximum(low, 0).tolist()
    right, bottom = np.minimum(high, size).tolist()
    if right <= left or bottom <= top:
        return False
    inside = covered[top - low[1] : bottom - low[1], left - low[0] : right - low[0]]
    window = occupied[top:bottom, left:right]
    collision = np.count_nonzero(inside & window) > 0.06 * np.count_nonzero(covered)
    if collision or np.count_nonzero(inside) < visible_share * np.count_nonzero(covered):
        return False
    window |= inside
    return True


def paste_veil(
    picture: Image.Image, pose: Pose, outline: np.ndarray, colour: Colour, opacity: int, blur: float
) -> None:
    veil = Veil(pose, 0.75, colour)
    veil.polygon(outline, opacity)
    veil.paste(picture, blur)


def paste_shadow(picture: Image.Image, pose: Pose, outline: np.ndarray, light: Light, height: float) -> None:
    """Darken where the thing keeps the sun away; ``height`` in pixels."""
    offset = Pose(pose.x + light.shadow_x * 2 * height, pose.y + light.shadow_y * 2 * height, pose.length, pose.heading)
    paste_veil(picture, offset, outline, (6, 16, 24), round(255 * light.darkness), 1.0)
