"""How much of its accuracy a model loses when one block alone is pruned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.base import numbers
from engine.base.errors import PlanError
from engine.base.events import Report, silent
from engine.pruning.criteria import ImportanceSettings
from engine.pruning.session import Slimming
from engine.pruning.solver import Ranking, SolverSettings
from engine.settings.fields import default_of
from engine.settings.requests import SensitivityRequest
from engine.settings.results import BlockSensitivity, Sensitivity
from engine.validation.impact.blocks import Block, blocks_of, cut_block
from engine.validation.impact.point import DENSE, Bench, Cut, fill
from engine.validation.impact.settings import MeasureSettings
from engine.validation.study import Study, StudyFile

SHARES: tuple[float, ...] = default_of(SensitivityRequest, "shares")


def sensitivity(
    slimming: Slimming,
    data: Path,
    measure: MeasureSettings,
    folder: Path,
    shares: Sequence[float] = SHARES,
    *,
    settings: SolverSettings | None = None,
    importance: ImportanceSettings | None = None,
    device: str = "cpu",
    report: Report = silent,
) -> Sensitivity:
    """Measure a model with each block pruned alone, at several shares of the block's channels.

    Of the solver's settings, only the floors and the protection of residual channels matter here.

    Args:
        slimming: The opened checkpoint.
        data: The data set's YAML description.
        measure: Images and repair.
        folder: Where measured points are kept, and looked for first.
        shares: Of a block's channels, between 0 and 1.
        settings: Limits of the solver.
        importance: How channels are scored.
        device: As Ultralytics writes it.
        report: Receives ``step`` events that count measurements, and a ``status`` for each; may raise StopRequested.

    Raises:
        PlanError: A share is out of range, or nothing can be removed.
        DatasetError, TrainingError, StorageError: As ``engine.validation.validator.validate``.
    """
    shares = _checked(shares)
    limits, importance = block_settings(settings), plain_importance(importance)
    ranking = slimming.ranking(limits, importance)
    blocks = blocks_of(ranking)
    kinds = {block.name: type(slimming.checkpoint.model.get_submodule(block.name)).__name__ for block in blocks}
    bench = Bench(slimming, data, measure, device)
    named = [{"block": name, "kind": kind} for name, kind in kinds.items()]
    file = StudyFile(folder, bench.study("sensitivity", solver=limits, importance=importance, blocks=named))
    whole = Cut("repaired", "Whole, recalibrated", np.ones(slimming.graph.group_count, dtype=bool))
    complete = fill(file, [DENSE, whole, *_cuts(ranking, blocks, shares)], bench, report)
    measured = file.study
    return Sensitivity(
        file=str(file.path),
        dense=measured.metrics(DENSE.name),
        repaired=measured.metrics(whole.name),
        shares=shares,
        blocks=tuple(_told(block, kinds[block.name], shares, measured) for block in blocks),
        images=measured.images,
        stopped=not complete,
    )


def _checked(shares: Sequence[float]) -> tuple[float, ...]:
    for share in shares:
        if not 0 < share < 1:
            raise PlanError(f"A share of {share:g} is out of range; use more than 0 and less than 1.")
    return tuple(sorted({round(float(share), 4) for share in shares}))


def _told(block: Block, kind: str, shares: Sequence[float], measured: Study) -> BlockSensitivity:
    """Return what a study says of one block: metrics by share, of those that were measured."""
    metrics = {f"{share:g}": found for share in shares if (found := measured.metrics(_name(block.name, share)))}
    return BlockSensitivity(block=block.name, kind=kind, channels=block.channels, metrics=metrics)


def _cuts(ranking: Ranking, blocks: Sequence[Block], shares: Sequence[float]) -> Iterator[Cut]:
    """Yield every block cut alone to every share that floors allow."""
    for block in blocks:
        for share in shares:
            if (keep := cut_block(ranking, block, share)) is not None:
                told = f"{block.name} without {numbers.percent(share, 0)}"
                yield Cut(_name(block.name, share), told, keep, {"block": block.name, "share": share})


def block_settings(settings: SolverSettings | None) -> SolverSettings:
    """Return the limits that count where one block is pruned alone."""
    settings = settings or SolverSettings()
    return SolverSettings(
        protect_residual=settings.protect_residual, floor=settings.floor, floor_share=settings.floor_share
    )


def plain_importance(importance: ImportanceSettings | None) -> ImportanceSettings:
    """Return the scores without what earlier measurements say of blocks, which changes no order within a block."""
    return replace(importance or ImportanceSettings(), sensitivity=())


def _name(block: str, share: float) -> str:
    return f"{block} {share:g}"
