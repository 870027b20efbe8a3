"""What a person asks of the solver."""

from __future__ import annotations

from dataclasses import dataclass

from engine.base.errors import PlanError

MAX_RATIO = 0.95
DEFAULT_FLOOR = 4
SCOPES = ("global", "uniform")


@dataclass(frozen=True)
class SolverSettings:
    """What bounds a plan besides its ratio."""

    protect_residual: bool = False
    "Keep every group that a residual add ties together, as the classic recipe does."
    floor: int = DEFAULT_FLOOR
    "Channels that every BatchNorm layer keeps at least (all of them in a layer that has no more)."
    floor_share: float = 0.0
    "Share of its channels that every layer keeps at least, 0 to 1; the larger of the two floors holds."
    scope: str = "global"
    "global: one threshold for all channels; uniform: the same ratio in every layer."
    round_to: int = 1
    "Layer widths are rounded up to a multiple of this; 8 suits most hardware."
    layer_ratios: tuple[tuple[str, float], ...] = ()
    "(BatchNorm name, ratio) pairs that overrule the ratio there; 0 locks a layer."

    def __post_init__(self) -> None:
        if self.floor < 1:
            raise PlanError(f"A floor of {self.floor} channels would empty layers; use 1 or more.")
        if not 0 <= self.floor_share <= 1:
            raise PlanError(f"A floor share of {self.floor_share:g} is out of range; use 0 to 1.")
        if self.scope not in SCOPES:
            raise PlanError(f"There is no scope {self.scope!r}; use {' or '.join(SCOPES)}.")
        if self.round_to < 1:
            raise PlanError(f"Widths cannot be rounded to a multiple of {self.round_to}; use 1, 8, 16 or 32.")
        for name, ratio in self.layer_ratios:
            check_ratio(ratio, f" of {name}")


def check_ratio(ratio: float, where: str = "") -> None:
    """Refuse a ratio outside 0 .. 0.95.

    Raises:
        PlanError: The ratio is not a number in that range.
    """
    if not 0 <= ratio <= MAX_RATIO:  # also refuses nan
        raise PlanError(
            f"A prune ratio of {ratio:g}{where} is out of range: 0 removes nothing, and beyond {MAX_RATIO} layers "
            f"would be left empty. Choose a ratio from 0 to {MAX_RATIO}."
        )
