"""What verbs report while they work: four kinds of events, and the one type of whoever receives them.

See ``engine.jobs.reporting`` for what becomes of them in a job, and ``engine.base.log`` for the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict


class StatusEvent(TypedDict):
    """A sentence that says what is being done, or what was found."""

    kind: Literal["status"]
    text: str


class StepEvent(TypedDict):
    """How far a verb is, at most about twice a second; all numbers count from 1."""

    kind: Literal["step"]
    epoch: int
    epochs: int
    step: int
    steps: int
    losses: dict[str, float]


GammaStatistics = TypedDict(
    "GammaStatistics",
    {
        "median": float,
        "p10": float,
        "p90": float,
        "below_1e-2": float,
        "zero": float,
        "free_ratio": float,
        "histogram": list[Sequence[float]],
    },
)
"""What sparse training tells of |gamma| after an epoch: quantiles, shares of channels (0 to 1), (edges, counts)."""


class StartEvent(TypedDict):
    """What the model of a training measures before the first step: the line that every epoch has to beat."""

    kind: Literal["start"]
    metrics: dict[str, float]


class EpochEvent(TypedDict):
    """What an epoch of training ended with; ``gammas`` in sparse training alone."""

    kind: Literal["epoch"]
    epoch: int
    epochs: int
    seconds: float
    metrics: dict[str, float]
    losses: dict[str, float]
    lr: float
    gammas: NotRequired[GammaStatistics]


AnyEvent = StatusEvent | StepEvent | StartEvent | EpochEvent
Report = Callable[[AnyEvent], None]
"""Receives events; may raise ``StopRequested``, which a verb lets pass, or catches to return what it has."""


def status_event(text: str) -> StatusEvent:
    """Return the event that tells a person this sentence."""
    return {"kind": "status", "text": text}


def step_event(
    step: int, steps: int, *, epoch: int = 1, epochs: int = 1, losses: Mapping[str, float] | None = None
) -> StepEvent:
    """Return the event of a verb that has done so many of the steps of an epoch; without epochs, of all there is."""
    return {
        "kind": "step",
        "epoch": epoch,
        "epochs": epochs,
        "step": step,
        "steps": steps,
        "losses": dict(losses or {}),
    }


def silent(event: AnyEvent) -> None:
    """Report to nobody."""


def only(kind: str, report: Report) -> Report:
    """Return a report that passes on events of one kind."""
    return lambda event: report(event) if event["kind"] == kind else None
