"""Scores that look at a data set: computed once for a checkpoint, a criterion and a choice of images, and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.base.events import Report, silent, status_event, step_event
from engine.base.files import atomic_path
from engine.base.tasks import TASKS
from engine.checkpoints.checkpoint import Checkpoint
from engine.datasets import DatasetInfo, image_files
from engine.datasets.facts import measuring_fit
from engine.datasets.fit import REFUSED
from engine.profile.gammas import summarise_gammas
from engine.profile.graph import ChannelGraph
from engine.pruning.criteria import Batch, Context, ImportanceSettings, channel_scores
from engine.pruning.gammas import collect_gammas
from engine.pruning.session import Slimming
from engine.settings.choices import DATA_CRITERION, USUAL_CRITERION
from engine.validation.impact.subset import content_digest
from engine.validation.labelled import BATCH, labelled_batches

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


def usual_criterion(checkpoint: Checkpoint, info: DatasetInfo | None) -> str:
    """Return the criterion that a model is pruned by where nothing is said of it.

    ``DATA_CRITERION`` for one that was never sparse-trained where a data set with labels of its own is known:
    docs/criteria.md has the numbers. Else gamma, which is what sparse training drives.

    Args:
        checkpoint: The model.
        info: The data set, checked for the model's task; None where there is none that could be.
    """
    if info is None or not info.labels.get("train") or checkpoint.task not in TASKS:
        return USUAL_CRITERION
    if summarise_gammas(collect_gammas(checkpoint.model)).sparse:
        return USUAL_CRITERION
    return USUAL_CRITERION if measuring_fit(checkpoint, info).verdict == REFUSED else DATA_CRITERION


def learn_scores(
    slimming: Slimming,
    importance: ImportanceSettings,
    images: ScoringImages,
    folder: Path | None = None,
    report: Report = silent,
) -> ImportanceSettings:
    """Have an opened checkpoint score its channels on images, and return the settings that name these.

    Args and errors as ``compute_scores``.
    """
    found = compute_scores(slimming.checkpoint, slimming.graph, importance.criterion, images, folder, report)
    named = replace(importance, images=images.digest)
    slimming.learn(named, found)
    return named


def compute_scores(
    checkpoint: Checkpoint,
    graph: ChannelGraph,
    criterion: str,
    images: ScoringImages,
    folder: Path | None = None,
    report: Report = silent,
) -> list[np.ndarray]:
    """Return for each layer of the graph the (C,) scores of its channels.

    Args:
        checkpoint: The model.
        graph: Its channel graph.
        criterion: One that looks at images.
        images: Those.
        folder: Where scores are kept, and looked for first; None keeps nothing.
        report: Receives a ``status`` and ``step`` events that count batches; may raise StopRequested.

    Raises:
        PlanError, TrainingError, DatasetError: The criterion cannot score this model on these images.
        StorageError: The folder cannot be written.
    """
    path = None if folder is None else scores_path(folder, checkpoint.digest, criterion, images.digest)
    widths = [layer.channels for layer in graph.layers]
    if path is not None and (kept := read_scores(path, widths)) is not None:
        return kept
    report(status_event(f"Scoring channels by {criterion} on {len(images.files)} training images"))
    batches, count = labelled_batches(checkpoint, images.info, images.files), -(-len(images.files) // BATCH)

    def counted() -> Iterator[Batch]:
        for number, batch in enumerate(batches()):
            report(step_event(number, count))
            yield batch
        report(step_event(count, count))

    scores = channel_scores(criterion, Context(graph, checkpoint.model, batches=counted))
    if path is not None:
        with atomic_path(path) as aside:
            np.save(aside, np.concatenate(scores), allow_pickle=False)
    return scores
