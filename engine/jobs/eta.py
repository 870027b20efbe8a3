"""How far a job is, from its latest events alone: a few indexed look-ups, however long it has run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.workspace.store import Event, Job, Store
from engine.workspace.store.records import utc_now

# Enough epochs to even out a slow one, few enough to follow a change of pace.
_RECENT_EPOCHS = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands. What its verb has not reported yet is None or empty."""

    percent: float | None = None  # 0 to 100
    epoch: int | None = None  # counted from 1
    epochs: int | None = None
    step: int | None = None  # within the epoch, counted from 1
    steps: int | None = None
    seconds_left: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)  # of the latest epoch
    losses: dict[str, Any] = field(default_factory=dict)  # of the latest step, else of the latest epoch
    status: str = ""  # the latest status text


def progress(store: Store, job: Job, now: datetime | None = None) -> Progress:
    """Return the progress of a job. ``now`` (UTC) serves the time left, which only a running job has.

    A job that was resumed stands at the last epoch it did before, until it reports again; its pace is that since.
    """
    resumed_seq = max((event.seq for event in store.latest_events(job.id, "resumed")), default=0)
    epochs = store.latest_events(job.id, "epoch", _RECENT_EPOCHS)
    step = _latest_after(store, job, "step", max(resumed_seq, epochs[0].seq if epochs else 0))
    status = _latest_after(store, job, "status", resumed_seq)
    latest = step or next(iter(epochs), None)
    at = latest.payload if latest else {}
    done = 1.0 if job.state == "done" else _share_done(step, epochs)
    running = job.state == "running"
    return Progress(
        percent=None if done is None else 100 * done,
        epoch=at.get("epoch"),
        epochs=at.get("epochs"),
        step=at.get("step"),
        steps=at.get("steps"),
        seconds_left=_seconds_left(store, job, done, latest, epochs, resumed_seq, now or utc_now())
        if running
        else None,
        metrics=dict(epochs[0].payload.get("metrics") or {}) if epochs else {},
        losses=dict(at.get("losses") or {}),
        status=status.payload.get("text", "") if status else "",
    )


def _latest_after(store: Store, job: Job, kind: str, seq: int) -> Event | None:
    return next((event for event in store.latest_events(job.id, kind) if event.seq > seq), None)


def _share_done(step: Event | None, epochs: list[Event]) -> float | None:
    """Return the share of the work that is done, 0 to 1, from the latest step or, if that is later, epoch."""
    if step:
        at = step.payload
        within = at["step"] / at["steps"] if at.get("step") is not None and at.get("steps") else 0.0
        if not at.get("epochs"):
            return _bounded(within) if at.get("steps") else None
        return _bounded((at.get("epoch", 1) - 1 + within) / at["epochs"])
    if epochs and epochs[0].payload.get("epochs"):
        return _bounded(epochs[0].payload.get("epoch", 0) / epochs[0].payload["epochs"])
    return None


def _seconds_left(
    store: Store,
    job: Job,
    done: float | None,
    latest: Event | None,
    epochs: list[Event],
    resumed_seq: int,
    now: datetime,
) -> float | None:
    """Return the seconds left at the pace of the last epochs, or, in the first one, of its steps so far."""
    if done is None or latest is None or latest.seq < resumed_seq:
        return None
    recent = [epoch.payload for epoch in epochs if epoch.seq > resumed_seq]
    durations = [payload["seconds"] for payload in recent if payload.get("seconds")]
    if durations and (total := latest.payload.get("epochs")):
        left = (1 - done) * total * sum(durations) / len(durations)
    else:
        first = store.events(job.id, after_seq=resumed_seq, kinds=("step",), limit=1)
        begun = _share_done(first[0], []) if first else None
        if begun is None or done <= begun:
            return None
        left = (1 - done) * (latest.time - first[0].time).total_seconds() / (done - begun)
    return max(0.0, left - (now - latest.time).total_seconds())


def _bounded(share: float) -> float:
    return min(1.0, max(0.0, share))
