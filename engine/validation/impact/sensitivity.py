"""How much of its accuracy a model loses when one block alone is pruned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.base import numbers
from engine.base.errors import PlanError, StopRequested
from engine.base.events import Report, silent, status_event, step_event
from engine.base.tasks import score_words
from engine.pruning.criteria import ImportanceSettings
from engine.pruning.session import Slimming
from engine.pruning.solver import SolverSettings
from engine.validation.impact.blocks import Block, blocks_of, cut_block
from engine.validation.impact.point import Bench, counting
from engine.validation.impact.point_cache import Kept, Key
from engine.validation.impact.settings import MeasureSettings
from engine.validation.impact.subset import choose_subset

SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class BlockSensitivity:
    """One block, pruned alone."""

    block: str
    "Such as model.4."
    kind: str
    "Class of the module, such as C2f."
    channels: int
    metrics: dict[str, dict[str, float]]
    "Share of its channels, such as '0.25' -> short name -> 0 to 1; shares that floors forbid are missing."


@dataclass(frozen=True)
class Sensitivity:
    """All blocks of a model."""

    file: str
    "Where it is kept."
    dense: dict[str, float]
    "Metrics of the checkpoint as it is."
    repaired: dict[str, float]
    "Metrics of the whole model, recalibrated as the pruned ones are: what losses are counted from."
    shares: tuple[float, ...]
    blocks: tuple[BlockSensitivity, ...]
    images: int
    stopped: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the sensitivity as JSON-able values."""
        return asdict(self)


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
    for share in shares:
        if not 0 < share < 1:
            raise PlanError(f"A share of {share:g} is out of range; use more than 0 and less than 1.")
    shares = tuple(sorted({round(float(share), 4) for share in shares}))
    limits, importance = block_settings(settings), plain_importance(importance)
    ranking = slimming.ranking(limits, importance)
    blocks = blocks_of(ranking)
    cuts = [
        (block, share, keep)
        for block in blocks
        for share in shares
        if (keep := cut_block(ranking, block, share)) is not None
    ]
    subset = choose_subset(data, measure, slimming.checkpoint.task)
    kept = _kept(slimming, subset, measure, limits, importance, blocks, folder, device)
    steps, stopped = len(cuts) + 2, False
    try:
        with Bench(slimming, subset, measure, device) as bench:
            if kept.get("dense") is None:
                kept.put("dense", {"metrics": bench.original(counting(report, 0, steps))})
            if kept.get("repaired") is None:
                whole = np.ones(slimming.graph.group_count, dtype=bool)
                kept.put("repaired", {"metrics": bench.cut(whole, counting(report, 1, steps))})
            for done, (block, share, keep) in enumerate(cuts, start=2):
                report(step_event(done, steps))
                if (point := kept.get(_name(block.name, share))) is None:
                    point = {"block": block.name, "share": share}
                    point["metrics"] = bench.cut(keep, counting(report, done, steps))
                    kept.put(_name(block.name, share), point)
                text = f"{block.name} without {numbers.percent(share, 0)}: {score_words(point['metrics'])}"
                report(status_event(text))
            report(step_event(steps, steps))
    except StopRequested:
        stopped = True
    return Sensitivity(
        file=str(kept.path),
        dense=(kept.get("dense") or {}).get("metrics", {}),
        repaired=(kept.get("repaired") or {}).get("metrics", {}),
        shares=shares,
        blocks=tuple(
            BlockSensitivity(
                block.name,
                _kind(slimming, block.name),
                block.channels,
                {
                    f"{share:g}": point["metrics"]
                    for share in shares
                    if (point := kept.get(_name(block.name, share))) is not None
                },
            )
            for block in blocks
        ),
        images=len(subset.validation),
        stopped=stopped,
    )


def block_settings(settings: SolverSettings | None) -> SolverSettings:
    """Return the limits that count where one block is pruned alone."""
    settings = settings or SolverSettings()
    return SolverSettings(
        protect_residual=settings.protect_residual, floor=settings.floor, floor_share=settings.floor_share
    )


def plain_importance(importance: ImportanceSettings | None) -> ImportanceSettings:
    """Return the scores without what earlier measurements say of blocks, which changes no order within a block."""
    return replace(importance or ImportanceSettings(), sensitivity=())


def _kept(
    slimming: Slimming,
    subset: Any,
    measure: MeasureSettings,
    limits: SolverSettings,
    importance: ImportanceSettings,
    blocks: Sequence[Block],
    folder: Path,
    device: str,
) -> Kept:
    wanted = {"measure": asdict(measure), "solver": asdict(limits), "importance": asdict(importance)}
    about = {
        "data": str(subset.info.yaml_path),
        "images": len(subset.validation),
        "name": slimming.checkpoint.path.name,
        "blocks": [{"block": block.name, "kind": _kind(slimming, block.name)} for block in blocks],
    }
    return Kept(folder, Key("sensitivity", slimming.checkpoint.digest, subset.digest, wanted, device), about)


def _kind(slimming: Slimming, block: str) -> str:
    return type(slimming.checkpoint.model.get_submodule(block)).__name__


def _name(block: str, share: float) -> str:
    return f"{block} {share:g}"
