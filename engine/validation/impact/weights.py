"""Measured sensitivity as weights of the solver: scores of a sensitive block count more.

For block b, with L(b, s) = max(0, mAP of the whole model - mAP with the share s of b removed),

    D(b) = mean over measured s of L(b, s) / s          the loss for each removed share
    f(b) = (D(b) + d) / (mean of D + d),   d = mean of D / 10

A score is multiplied by f of its layer's block. f grows with D, averages 1, is 1 for every block where all are equally
sensitive, and never falls below 1/11, so that a block without any measured loss is not emptied first of all. A block
without a measurement has the factor 1.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from engine.base.errors import PlanError
from engine.base.files import expanded
from engine.base.tasks import score_difference
from engine.validation.study import Study, read_study

DAMPING = 0.1

Factors = tuple[tuple[str, float], ...]
"(block, factor) pairs."


def sensitivity_factors(losses: Mapping[str, Mapping[float, float]]) -> Factors:
    """Return the factor of each block.

    Args:
        losses: Block -> removed share -> loss of mAP; a negative loss counts as none.
    """
    per_share = {
        block: sum(max(loss, 0.0) / share for share, loss in by_share.items()) / len(by_share)
        for block, by_share in losses.items()
        if by_share
    }
    mean = sum(per_share.values()) / max(len(per_share), 1)
    if mean <= 0:
        return tuple((block, 1.0) for block in per_share)
    return tuple((block, (loss + DAMPING * mean) / (mean + DAMPING * mean)) for block, loss in per_share.items())


def losses_of(study: Study) -> dict[str, dict[float, float]]:
    """Return block -> removed share -> loss of mAP, from a study of sensitivity."""
    whole = study.metrics("repaired") or study.metrics("dense")
    losses: dict[str, dict[float, float]] = {}
    for point in study.cuts():
        change = score_difference(point["metrics"], whole)
        if change is not None:
            losses.setdefault(point["block"], {})[float(point["share"])] = -change
    return losses


def read_factors(path: str | Path) -> Factors:
    """Return the factors that a sensitivity file stands for.

    Raises:
        PlanError: It is no such file, or holds no measurement of a block.
    """
    path = expanded(path)
    try:
        return _factors(path, path.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise PlanError(f"There is no sensitivity file {path}; 'python -m engine sensitivity' writes one.") from error


@functools.lru_cache(maxsize=16)
def _factors(path: Path, _changed: int) -> Factors:
    study = read_study(path)
    try:
        factors = sensitivity_factors(losses_of(study)) if study and study.kind == "sensitivity" else ()
    except (KeyError, TypeError, ValueError):  # a file that a person changed
        factors = ()
    if not factors:
        raise PlanError(f"{path.name} holds no sensitivity of blocks; 'python -m engine sensitivity' writes one.")
    return factors
