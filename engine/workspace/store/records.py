"""What the registry holds, as values: frozen, read from one row each, with times in UTC."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.settings.results import Result, kept_result

MODEL_KINDS = ("imported", "trained", "sparse", "pruned", "finetuned", "demo")
# "queued" waits for its turn; "stopping" runs until its next report.
ACTIVE_STATES = ("queued", "running", "stopping")
FINISHED_STATES = ("done", "stopped", "failed", "interrupted")
# Ends after which there may be something left to do.
UNFINISHED_ENDS = ("stopped", "failed", "interrupted")


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint of the workspace. ``made`` is the verb and the settings that made it, ``params`` a count."""

    id: str
    name: str
    path: Path
    digest: str  # SHA-256, hexadecimal
    parent_id: str | None
    made: dict[str, Any]
    kind: str  # one of MODEL_KINDS
    params: int | None
    metrics: dict[str, Any]
    created_at: datetime
    deleted_at: datetime | None = None  # its file was deleted, and its record kept because others descend from it

    @property
    def deleted(self) -> bool:
        """Whether only the record is left, as a placeholder in the tree of its family."""
        return self.deleted_at is not None


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of a file that was to be registered."""

    model: Model
    outcome: str  # "new"; "known": its content was here already; "revived": here already, but its file was not

    @property
    def sentence(self) -> str:
        """What to tell a person who gave the file, empty for a new one."""
        if self.outcome == "known":
            return f"The same file as {self.model.name}, already here."
        return f"The same file as {self.model.name}, which is back with it." if self.outcome == "revived" else ""


@dataclass(frozen=True, slots=True)
class Dependants:
    """Names of what would miss a model that is deleted."""

    children: tuple[str, ...]  # models that were made from it
    commands: tuple[str, ...]  # models whose recorded command names its file
    guided: tuple[str, ...]  # models that were trained with it as teacher, or measured beside it as reference
    ended_early: tuple[str, ...]  # jobs that cannot go on without it
    exports: int  # exported files that stand below it in the tree
    needed: str | None  # the sentence that says who needs it now, which forbids deleting it


@dataclass(frozen=True, slots=True)
class Job:
    """A verb, its specification, and what became of it.

    ``devices`` is what the job needs for itself alone ("cpu", "cuda:0", ...); a job that needs none has no turn to
    wait for. ``error`` starts with one sentence; for an interrupted job the last lines of its log follow.
    """

    id: str
    verb: str
    title: str
    spec: dict[str, Any]
    state: str  # one of ACTIVE_STATES or FINISHED_STATES
    pid: int | None
    process_started_at: float | None  # seconds since the epoch, as the system reports it; tells a reused pid apart
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    told: str | None  # its result as JSON; see ``result``
    error: str | None
    model_id: str | None  # the model it works on
    stop_requested: bool
    devices: tuple[str, ...] = ()
    queued_at: datetime | None = None  # when it last took its place in the queue: made, or resumed
    chain_id: str | None = None  # the chain it is a step of
    chain_step: int | None = None  # which step, counted from 1

    @property
    def finished(self) -> bool:
        """Whether the job has ended, in whichever way."""
        return self.state in FINISHED_STATES

    @property
    def result(self) -> Result | None:
        """What its verb returned; None while it runs, and where it left nothing."""
        return None if self.told is None else kept_result(self.verb, self.told)

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Ids of the models that it made."""
        return (self.result and self.result.model_ids) or ()

    @property
    def reason(self) -> str:
        """The sentence that says why the job ended, without the log lines that may follow; empty when all is well."""
        return (self.error or "").partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Chain:
    """A recipe that runs as one job after the other, each working on the model that the one before it made.

    ``job_id`` is the job that the chain follows: the newest one of the step it is at. It may have been deleted.
    """

    id: str
    title: str
    recipe: dict[str, Any]  # {"name", "steps": [{"verb", "settings"}, ...]}
    base: dict[str, Any]  # what every step is told: "weights" of the base model, "data", "device"
    base_model_id: str | None
    step: int  # the one it is at, counted from 1; one more than there are once the job of the last was deleted
    job_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ChainPlace:
    """Where a new job stands in a chain: at ``step``, counted from 1, if the chain still follows the job ``after``."""

    chain_id: str
    step: int
    after: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a job reported. ``seq`` grows within the workspace; ``payload`` is the event without its kind."""

    seq: int
    time: datetime
    kind: str
    payload: dict[str, Any]


def model_from_row(row: sqlite3.Row, folder: Path) -> Model:
    """Return the model of a row; paths inside the workspace are stored relative, so that it can be moved."""
    return Model(
        id=row["id"],
        name=row["name"],
        path=folder / row["path"],
        digest=row["digest"],
        parent_id=row["parent_id"],
        made=json.loads(row["made"]),
        kind=row["kind"],
        params=row["params"],
        metrics=json.loads(row["metrics"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        deleted_at=_time_or_none(row["deleted_at"]),
    )


def job_from_row(row: sqlite3.Row) -> Job:
    """Return the job of a row."""
    return Job(
        id=row["id"],
        verb=row["verb"],
        title=row["title"],
        spec=json.loads(row["spec"]),
        state=row["state"],
        pid=row["pid"],
        process_started_at=row["process_started_at"],
        created_at=datetime.fromisoformat(row["created_at"]),
        started_at=_time_or_none(row["started_at"]),
        finished_at=_time_or_none(row["finished_at"]),
        told=row["result"],
        error=row["error"],
        model_id=row["model_id"],
        stop_requested=bool(row["stop_requested"]),
        devices=tuple(filter(None, row["devices"].split(","))),
        queued_at=_time_or_none(row["queued_at"]),
        chain_id=row["chain_id"],
        chain_step=row["chain_step"],
    )


def chain_from_row(row: sqlite3.Row) -> Chain:
    """Return the chain of a row."""
    return Chain(
        id=row["id"],
        title=row["title"],
        recipe=json.loads(row["recipe"]),
        base=json.loads(row["base"]),
        base_model_id=row["base_model_id"],
        step=row["step"],
        job_id=row["job_id"],
        created_at=datetime.fromisoformat(row["created_at"]),
    )


def event_from_row(row: sqlite3.Row) -> Event:
    """Return the event of a row."""
    return Event(row["seq"], datetime.fromisoformat(row["time"]), row["kind"], json.loads(row["payload"]))


def to_json(value: Any) -> str:
    """Return ``value`` as JSON; paths become text and NumPy or torch scalars plain numbers."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def utc_now() -> datetime:
    """Return the present time, aware of being UTC."""
    return datetime.now(UTC)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")


def _time_or_none(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
