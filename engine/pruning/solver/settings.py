"""What a person asks of the solver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from engine.base.errors import PlanError
from engine.settings.fields import check_values, default_of
from engine.settings.plan import MAX_RATIO, Limits

_usual = partial(default_of, Limits)


@dataclass(frozen=True)
class SolverSettings:
    """What bounds a plan besides its ratio."""

    protect_residual: bool = _usual("protect_residual")
    "Keep every group that a residual add ties together, as the classic recipe does."
    floor: int = _usual("floor")
    "Channels that every BatchNorm layer keeps at least (all of them in a layer that has no more)."
    floor_share: float = _usual("floor_share")
    "Share of its channels that every layer keeps at least, 0 to 1; the larger of the two floors holds."
    scope: str = _usual("scope")
    "global: one threshold for all channels; uniform: the same ratio in every layer."
    round_to: int = _usual("round_to")
    "Layer widths are rounded up to a multiple of this; 8 suits most hardware."
    layer_ratios: tuple[tuple[str, float], ...] = ()
    "(BatchNorm name, ratio) pairs that overrule the ratio there; 0 locks a layer."

    def __post_init__(self) -> None:
        check_values(Limits, self, PlanError)
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
