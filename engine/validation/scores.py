"""Scores that look at a data set: of which images, by which criterion, and where a workspace keeps them.

Imports no PyTorch: pages read here what a job computed by ``engine.validation.scoring``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.base.tasks import TASKS
from engine.datasets import DatasetInfo, image_files
from engine.datasets.contents import content_digest
from engine.settings.choices import DATA_CRITERION, USUAL_CRITERION

FOLDER = "scores"
"Where a workspace keeps them."


@dataclass(frozen=True)
class ScoringImages:
    """The training images that a criterion looks at."""

    info: DatasetInfo
    files: tuple[Path, ...]
    digest: str
    "SHA-256 over them, their labels and the names of the classes."


def choose_images(info: DatasetInfo, count: int, seed: int = 0) -> ScoringImages:
    """Return up to ``count`` training images, drawn by a seed, in the order of their names.

    Raises:
        DatasetError: The data set has no training images any more.
    """
    images = image_files(info, "train")
    drawn = np.random.default_rng(seed).permutation(len(images))[:count]
    files = tuple(images[number] for number in sorted(drawn))
    return ScoringImages(info, files, content_digest(info, files))


def scores_path(folder: Path, weights: str, criterion: str, images: str) -> Path:
    """Return where the scores of a checkpoint on images lie below a folder, by their digests."""
    return Path(folder) / f"{criterion}-{weights[:16]}-{images[:16]}.npy"


def read_scores(path: Path, widths: Sequence[int]) -> list[np.ndarray] | None:
    """Return the scores in a file, layer by layer; None where there are none of layers of these widths."""
    try:
        flat = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if flat.shape != (sum(widths),) or flat.dtype != np.float64 or (flat < 0).any():
        return None
    return np.split(flat, np.cumsum(widths)[:-1])


def usual_criterion(task: str, info: DatasetInfo | None, *, sparse: bool, fits: bool) -> str:
    """Return the criterion that a model is pruned by where nothing is said of it.

    ``DATA_CRITERION`` for one that was never sparse-trained where a data set with labels of its own is known:
    docs/criteria.md has the numbers. Else gamma, which is what sparse training drives.

    Args:
        task: Of the model.
        info: The data set, checked for this task; None where there is none that could be.
        sparse: Whether the model's gammas tell channels apart (``engine.profile.gammas.summarise_gammas``).
        fits: Whether the model can be measured on the data set.
    """
    labelled = info is not None and bool(info.labels.get("train"))
    return DATA_CRITERION if labelled and fits and not sparse and task in TASKS else USUAL_CRITERION
