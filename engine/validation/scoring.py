"""Scores that look at a data set, computed: once for a checkpoint, a criterion and a choice of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.base.events import Report, silent, status_event, step_event
from engine.base.files import atomic_path
from engine.checkpoints.checkpoint import Checkpoint
from engine.profile.graph import ChannelGraph
from engine.pruning.criteria import Batch, Context, ImportanceSettings, channel_scores
from engine.pruning.session import Slimming
from engine.validation.labelled import BATCH, labelled_batches
from engine.validation.scores import ScoringImages, read_scores, scores_path


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
