"""Makes the profile of a checkpoint: of an opened one, or of a file in a child process that opens it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.base.errors import PlanError
from engine.base.imgsz import ImageSize, as_size, size_for_json
from engine.base.numbers import GFLOPS_IMGSZ
from engine.checkpoints.child import run_in_child
from engine.profile.graph import ChannelGraph
from engine.profile.profile import Profile, SizeCounts, packed, packed_size, unpacked, unpacked_size
from engine.pruning.criteria import CRITERIA, MODEL_FREE, Context, channel_scores

if TYPE_CHECKING:
    from engine.checkpoints.checkpoint import Checkpoint


def profile_of_file(path: Path) -> Profile:
    """Return the profile of a checkpoint file, which is opened in a child process.

    Raises:
        CheckpointError: It is no checkpoint that can be opened within the child's bounds.
    """
    document, arrays = run_in_child(f"{__name__}:opened_profile", {"path": str(Path(path).absolute())}, path.name)
    return unpacked(document, arrays)


def count_file(path: Path, imgsz: ImageSize) -> SizeCounts:
    """Return what a checkpoint file computes at one image size; as ``profile_of_file``."""
    arguments = {"path": str(Path(path).absolute()), "imgsz": size_for_json(imgsz)}
    document, _ = run_in_child(f"{__name__}:counted_size", arguments, path.name)
    return unpacked_size(document)


def opened_profile(scratch: Path, path: str) -> tuple[Any, Mapping[str, np.ndarray]]:
    """Open a checkpoint and return its packed profile: what the child process does."""
    from engine.checkpoints.checkpoint import open_checkpoint

    return packed(make_profile(open_checkpoint(path)))


def counted_size(scratch: Path, path: str, imgsz: Any) -> tuple[Any, Mapping[str, np.ndarray]]:
    """Open a checkpoint and count it at one image size: what the child process does."""
    from engine.checkpoints.checkpoint import open_checkpoint

    return packed_size(_counts(open_checkpoint(path).model, as_size(imgsz))), {}


def make_profile(checkpoint: Checkpoint, sizes: Iterable[ImageSize] = (GFLOPS_IMGSZ,)) -> Profile:
    """Return the profile of an opened checkpoint, counted at these image sizes.

    A model that cannot be traced, or not be counted at a size, has a profile that says why.
    """
    from engine.profile.counting import count_parameters
    from engine.profile.describing import describe
    from engine.pruning.gammas import collect_gammas
    from engine.pruning.graph import trace

    model = checkpoint.model
    counted = {size: _counts(model, size) for size in dict.fromkeys((GFLOPS_IMGSZ, *sizes))}
    graph, untraced = None, ""
    try:
        graph = trace(model)
    except PlanError as error:
        untraced = str(error)
    usual = counted[GFLOPS_IMGSZ].operations
    return Profile(
        facts=describe(checkpoint, None if usual is None else usual.gflops),
        gammas=collect_gammas(model),
        parameters=count_parameters(model),
        graph=graph,
        scores={} if graph is None else _scores(graph, model),
        sizes=tuple(counted.values()),
        untraced=untraced,
    )


def _counts(model: Any, imgsz: ImageSize) -> SizeCounts:
    from engine.profile.counting import convolutions_run, count_operations

    try:
        return SizeCounts(imgsz, count_operations(model, imgsz), convolutions_run(model, imgsz))
    except PlanError as error:
        return SizeCounts(imgsz, None, refusal=str(error))


def _scores(graph: ChannelGraph, model: Any) -> dict[str, tuple[np.ndarray, ...]]:
    """Return the scores by every criterion that needs no images."""
    scores = {}
    for name in CRITERIA:
        if name in MODEL_FREE:
            continue
        try:
            scores[name] = tuple(channel_scores(name, Context(graph, model)))
        except PlanError:  # it looks at images
            continue
    return scores
