"""Image files as a model takes them: with its number of channels, and read as Ultralytics reads a data set.

A model of three channels takes colour, one of a single channel grey values, and one of any other number every band of
a file: the pages of a TIFF, or what it holds beside the colours. 16-bit values count by their high byte.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.base import numbers
from engine.base.errors import DatasetError

COLOUR = 3
_SHOWN_BANDS = 3
_DARK, _BRIGHT = 2, 98
"Percentiles of a band that are shown as black and as full brightness."


def read_pixels(path: str | Path, channels: int) -> np.ndarray:
    """Return an image file's pixels, (H, W, channels); colours are in the order blue, green, red.

    Args:
        path: The file.
        channels: How many a model takes, see ``engine.checkpoints.inputs.image_channels``.

    Raises:
        DatasetError: The file is no image that can be read, or has another number of channels.
    """
    import cv2
    from ultralytics.utils.patches import imread

    path = Path(path)
    how = {1: cv2.IMREAD_GRAYSCALE, COLOUR: cv2.IMREAD_COLOR}.get(channels, cv2.IMREAD_UNCHANGED)
    try:
        pixels = imread(path, how)
    except Exception:  # decoders raise whatever a damaged file provokes
        pixels = None
    if pixels is None:
        raise DatasetError(f"{path} is gone or no image that can be read; convert it, remove it, or choose another.")
    if pixels.shape[2] != channels:
        found, taken = map(numbers.image_channels, (pixels.shape[2], channels))
        raise DatasetError(
            f"{path} has {found}, but the model takes images of {taken}; choose images like those that it was trained "
            "on."
        )
    return pixels


def to_input(pixels: np.ndarray, height: int, width: int, task: str = "detect") -> np.ndarray:
    """Return pixels as a task's validator shows them to a model: (1, C, height, width), float32 from 0 to 1.

    A classifier sees the middle, a model for depth the whole stretched to size, any other the whole with grey borders.
    """
    from ultralytics.data.augment import LetterBox

    if task == "classify":
        return _middle(pixels, height, width)
    padded = LetterBox(new_shape=(height, width), auto=False, scale_fill=task == "depth")(image=pixels)
    padded = padded.reshape(height, width, -1)  # OpenCV drops the last dimension where it is 1
    if padded.shape[2] == COLOUR:
        padded = padded[..., ::-1]
    return np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32) / 255


def _middle(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the middle of an image, whose shorter side is first scaled to size."""
    from PIL import Image
    from ultralytics.data.augment import classify_transforms

    transforms = classify_transforms(size=height if height == width else (height, width))
    shown = np.ascontiguousarray(pixels[..., ::-1]) if pixels.shape[2] == COLOUR else pixels[..., 0]
    return transforms(Image.fromarray(shown))[None].numpy()


def read_input(path: str | Path, channels: int, height: int, width: int, task: str = "detect") -> np.ndarray:
    """Return an image file as ``to_input`` does; raises as ``read_pixels``."""
    return to_input(read_pixels(path, channels), height, width, task)


def viewable(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as a person can look at them: (H, W, 3), uint8, in the order blue, green, red.

    Grey becomes colour. Of more bands the first three are shown, each stretched over its own range, since what a
    sensor records seldom fills eight bits.
    """
    bands = pixels[..., [min(band, pixels.shape[2] - 1) for band in range(_SHOWN_BANDS)]]
    if pixels.shape[2] in (1, COLOUR) and pixels.dtype == np.uint8:
        return np.ascontiguousarray(bands)
    low, high = np.nanpercentile(bands, [_DARK, _BRIGHT], axis=(0, 1))
    stretched = (bands - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return np.ascontiguousarray(np.nan_to_num(np.clip(stretched, 0, 1)) * 255).astype(np.uint8)


def to_jpeg(shown: np.ndarray, longest: int, quality: int) -> bytes:
    """Return what ``viewable`` gave as JPEG, made smaller where a side has more than ``longest`` pixels."""
    import cv2

    scale = longest / max(shown.shape[:2])
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in shown.shape[1::-1])
        shown = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def told_jpeg(
    scratch: Path, path: str, channels: int, longest: int, quality: int
) -> tuple[list[int], dict[str, np.ndarray]]:
    """Read an image file and return it as JPEG, as a child process answers: its width and height, and the bytes.

    Args:
        scratch: Nothing is written.
        path: The image file.
        channels: How many the model takes that it is read for.
        longest: Most pixels of a side of the JPEG.
        quality: Of the JPEG, 0 to 100.

    Raises:
        DatasetError: As ``read_pixels``.
    """
    pixels = read_pixels(path, channels)
    jpeg = to_jpeg(viewable(pixels), longest, quality)
    return [pixels.shape[1], pixels.shape[0]], {"jpeg": np.frombuffer(jpeg, dtype=np.uint8)}
