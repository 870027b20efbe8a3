"""Draw a small bay seen from above, with its boats, and say where the boats are.

The scenes exist to be trained on. Water, light, shores, clouds and blur vary from scene to scene; boats vary in
length, heading, paint and fittings, lie half under a cloud or half outside the picture, and share the water with
things that only look like them: pontoons (like barges), roofs on land, foam streaks, rocks and buoys.

Every choice comes from one NumPy generator, and pixels are made by plain multiply-adds and Pillow's own resampling,
which do not depend on the machine's vector units or threads: equal seeds draw equal pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from engine.demo.boats import Boat, draw_boats
from engine.demo.brushes import (
    PLANKS,
    Colour,
    Light,
    Pose,
    Sprite,
    blob,
    box,
    choose,
    claim,
    paste_shadow,
    paste_veil,
    random_pose,
    shade,
)

_REFERENCE_SIZE = 320  # pixel lengths below are meant at this image size and scale with it

_WATERS: tuple[tuple[Colour, Colour], ...] = (  # deep, shallow
    ((16, 62, 104), (44, 128, 158)),
    ((10, 44, 74), (26, 92, 122)),
    ((24, 104, 128), (92, 186, 182)),
    ((36, 74, 78), (84, 126, 112)),
    ((62, 80, 92), (118, 138, 146)),
    ((58, 76, 62), (120, 128, 92)),
)
_SANDS: tuple[Colour, ...] = ((206, 188, 148), (176, 158, 126), (150, 146, 138))
_GREENS: tuple[Colour, ...] = ((82, 110, 62), (104, 124, 74), (66, 92, 60))
_ROOFS: tuple[Colour, ...] = ((168, 86, 64), (122, 116, 112), (196, 190, 180), (92, 72, 64))


@dataclass(frozen=True)
class Scene:
    """One picture and the boats in it."""

    image: Image.Image
    boats: tuple[Boat, ...]


def draw_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw one square scene and find its boats.

    Args:
        rng: the only source of chance.
        size: side of the picture in pixels.
    """
    scale = size / _REFERENCE_SIZE
    shadow_x, shadow_y = rng.uniform(-0.12, 0.12, 2).tolist()
    light = Light(shadow_x, shadow_y, float(rng.uniform(0.2, 0.45)))
    picture, land = _draw_bay(rng, size)
    _draw_water_clutter(picture, land, rng, scale)
    _draw_land_clutter(picture, land, light, rng, scale)
    occupied = land.copy()
    _draw_pontoons(picture, occupied, light, rng, scale)
    boats = draw_boats(picture, occupied, light, rng, scale)
    picture = _draw_clouds(picture, rng)
    return Scene(_photograph(picture, rng), boats)


# The bay


def _noise(rng: np.random.Generator, size: int, cells_x: int, cells_y: int) -> np.ndarray:
    """Smooth noise, (size, size) float32 in about -1 to 1, with features of size / cells pixels."""
    grid = rng.integers(0, 256, (cells_y + 3, cells_x + 3), dtype=np.uint8)
    smooth = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32) / np.float32(127.5) - 1


def _fractal(rng: np.random.Generator, size: int, cells: int, octaves: int) -> np.ndarray:
    """Sum of ever finer noise, (size, size) float32 in about -1 to 1."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        total += _noise(rng, size, cells << octave, cells << octave) * np.float32(0.5**octave)
    return total / np.float32(1.5)


def _waves(rng: np.random.Generator, size: int) -> np.ndarray:
    """Ripples along one direction, (size, size) float32 in about -1 to 1."""
    wide = math.ceil(size * 1.45)
    length = int(rng.integers(22, 60))
    ripples = _noise(rng, wide, length, length * int(rng.integers(2, 5)))
    tile = Image.fromarray(ripples).rotate(float(rng.uniform(0, 180)), Image.Resampling.BILINEAR)
    margin = (wide - size) // 2
    return np.asarray(tile, dtype=np.float32)[margin : margin + size, margin : margin + size]


def _ramp(rng: np.random.Generator, size: int) -> np.ndarray:
    """A plane rising in a random direction, (size, size) float32 in -1 to 1."""
    angle = float(rng.uniform(0, 2 * math.pi))
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    plane = axis[None, :] * np.float32(math.cos(angle)) + axis[:, None] * np.float32(math.sin(angle))
    return plane / np.float32(abs(math.cos(angle)) + abs(math.sin(angle)))


def _blend(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mix two pictures (3, H, W); ``share`` (H, W) says how much of ``above`` shows."""
    return below + (above - below) * share


def _plain(colour: Colour) -> np.ndarray:
    """One colour everywhere, (3, 1, 1) float32."""
    return np.array(colour, np.float32)[:, None, None]


def _to_planes(picture: Image.Image) -> np.ndarray:
    """Picture -> (3, H, W) float32."""
    return np.stack([np.asarray(channel, np.float32) for channel in picture.split()])


def _to_picture(planes: np.ndarray) -> Image.Image:
    """(3, H, W) in any range -> picture."""
    levels = np.clip(planes, 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(channel) for channel in levels])


def _draw_bay(rng: np.random.Generator, size: int) -> tuple[Image.Image, np.ndarray]:
    """Water and, in about half of the scenes, a shore.

    Returns:
        the picture, and where land is as bool (size, size).
    """
    deep, shallow = _WATERS[rng.integers(len(_WATERS))]
    ramp, relief = _ramp(rng, size), _fractal(rng, size, 3, 3)
    depth = np.clip(0.5 + 0.45 * ramp + 0.4 * relief, 0, 1).astype(np.float32)
    bay = _blend(_plain(deep), _plain(shallow), depth)
    ripples = _waves(rng, size)
    bay += ripples * np.float32(rng.uniform(3, 15))
    glint = np.clip(ripples * 2 - np.float32(rng.uniform(0.6, 1.6)), 0, 1)
    bay = _blend(bay, _plain((250, 250, 245)), glint * np.float32(rng.uniform(0.1, 0.6)))

    if rng.random() < 0.5:
        bay, land = _add_shore(bay, ramp, rng)
    else:
        land = np.zeros((size, size), bool)
    return _to_picture(bay), land


def _add_shore(bay: np.ndarray, ramp: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Let the high end of the ramp rise out of the water: surf, sand, then grass."""
    size = ramp.shape[0]
    height = ramp + np.float32(0.35) * _fractal(rng, size, 3, 4) - np.float32(rng.uniform(0.3, 0.75))
    texture = _fractal(rng, size, 24, 3)
    foam = np.clip(1 - np.abs(height + 0.035) * 30, 0, 1) * np.clip(0.6 + texture, 0, 1)
    bay = _blend(bay, _plain((244, 246, 244)), foam * np.float32(0.75))
    ground = _plain(_SANDS[rng.integers(len(_SANDS))]) + texture * 12
    green = _plain(_GREENS[rng.integers(len(_GREENS))]) + texture * 26
    ground = _blend(ground, green, np.clip((height - np.float32(0.16) + texture * np.float32(0.05)) * 14, 0, 1))
    return _blend(bay, ground, np.clip(height * 40, 0, 1)), height > -0.03


# Things that are not boats


def _lies_on(land: np.ndarray, pose: Pose) -> bool:
    limit = land.shape[0] - 1
    return bool(land[min(limit, int(pose.y)), min(limit, int(pose.x))])


def _draw_water_clutter(picture: Image.Image, land: np.ndarray, rng: np.random.Generator, scale: float) -> None:
    """Weed, foam streaks, rocks and buoys."""
    kinds = rng.choice(4, int(rng.integers(3, 12)), p=(0.2, 0.35, 0.25, 0.2)).tolist()
    for kind in kinds:
        longest = (60, 46, 26, 5)[kind] * scale
        pose = random_pose(rng, picture.width, float(rng.uniform(0.45, 1)) * longest)
        outline, paint = blob(rng), int(rng.integers(60, 100))
        if _lies_on(land, pose):
            continue
        if kind == 0:
            paste_veil(picture, pose, outline, (20, 52, 54), 90, 3 * scale)
        elif kind == 1:
            paste_veil(picture, pose, outline * (1, 0.22), (246, 248, 248), 200, 0.7 * scale)
        elif kind == 2:
            paste_veil(picture, pose, outline * 1.3, (226, 234, 232), 130, 1.2 * scale)
            sprite = Sprite(pose, 0.6)
            sprite.polygon(outline, (paint, paint, paint - 6))
            sprite.polygon(outline * 0.6 + (-0.06, 0.05), (paint + 34, paint + 32, paint + 24))
            sprite.paste(picture)
        else:
            sprite = Sprite(pose, 0.6)
            sprite.disc(0.5, (226, 84, 40) if paint % 2 else (240, 206, 60))
            sprite.disc(0.2, (250, 240, 220))
            sprite.paste(picture)


def _draw_land_clutter(
    picture: Image.Image, land: np.ndarray, light: Light, rng: np.random.Generator, scale: float
) -> None:
    """Roofs, which look like barges on land, and trees."""
    for _ in range(int(rng.integers(5, 16))):
        is_roof = rng.random() < 0.35
        pose = random_pose(rng, picture.width, float(rng.uniform(26, 52) if is_roof else rng.uniform(9, 22)) * scale)
        outline, colour, width = blob(rng, 11), choose(_ROOFS if is_roof else _GREENS, rng), rng.uniform(0.18, 0.34)
        if not _lies_on(land, pose):
            continue
        if is_roof:
            roof = box(-0.5, 0.5, width)
            paste_shadow(picture, pose, roof, light, 8 * scale)
            sprite = Sprite(pose, 0.65)
            sprite.polygon(roof, colour)
            sprite.polygon(box(-0.5, 0.5, width / 2, width / 2), shade(colour, 0.8))
        else:
            paste_shadow(picture, pose, outline, light, 6 * scale)
            sprite = Sprite(pose, 0.6)
            sprite.polygon(outline, shade(colour, 0.72))
            sprite.polygon(outline * 0.62 + (-0.07, -0.07), shade(colour, 0.95))
        sprite.paste(picture)


def _draw_pontoons(
    picture: Image.Image, occupied: np.ndarray, light: Light, rng: np.random.Generator, scale: float
) -> None:
    """Floating planks and rafts: long and rectangular like a barge, but without hold and wheelhouse."""
    for _ in range(int(rng.integers(0, 4))):
        pose = random_pose(rng, picture.width, float(rng.uniform(24, 96)) * scale)
        half_width = float(rng.uniform(3.5, 8)) * scale / pose.length
        colour, outline = choose(PLANKS, rng), box(-0.5, 0.5, half_width)
        if not claim(occupied, pose.place(outline), visible_share=0.3):
            continue
        paste_shadow(picture, pose, outline, light, 4 * scale)
        sprite = Sprite(pose, 0.6)
        sprite.polygon(outline, shade(colour, 0.85))
        planks = max(3, round(pose.length / (5 * scale)))
        for plank in range(planks):
            left = -0.5 + plank / planks
            sprite.polygon(box(left, left + 0.75 / planks, half_width * 0.9), colour)
        sprite.paste(picture)


# Air and camera


def _draw_clouds(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cloud shadows, and drifting haze that half hides what is below."""
    size = picture.width
    planes = _to_planes(picture)
    shadow = np.clip(_fractal(rng, size, 2, 3) * 2, 0, 1) * np.float32(rng.uniform(0, 0.4))
    planes *= 1 - shadow
    if rng.random() < 0.35:
        haze = np.clip(_fractal(rng, size, 3, 4) * np.float32(1.8) - np.float32(0.35), 0, 1)
        planes = _blend(planes, _plain((236, 240, 244)), haze * np.float32(rng.uniform(0.35, 0.75)))
    return _to_picture(planes)


def _photograph(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Focus, exposure, white balance, contrast and sensor noise of one shot."""
    blur = float(rng.uniform(0.3, 1.0))
    if rng.random() < 0.6:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    gain = rng.uniform(0.9, 1.1, 3) * rng.uniform(0.65, 1.2)
    contrast = float(rng.uniform(0.75, 1.15))
    grain = int(rng.integers(1, 9))
    exposed = (np.arange(256) * gain[:, None] - 118) * contrast + 118  # (3, 256)
    table = np.clip(exposed, 0, 255).round().astype(int).ravel().tolist()
    pixels = np.asarray(picture.point(table), dtype=np.int16)
    noise = rng.integers(-grain, grain + 1, pixels.shape, dtype=np.int16)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))
