"""The jobs of a workspace: a row each, with a small state machine.

queued -> running -> done | failed | stopped | interrupted, with ``stopping`` between running and stopped when a stop
was requested, and back to queued for one that is resumed. Each transition is one transaction that says whether it
happened.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.base.errors import JobError
from engine.workspace.store.database import Database
from engine.workspace.store.devices import devices_of
from engine.workspace.store.records import (
    ACTIVE_STATES,
    FINISHED_STATES,
    UNFINISHED_ENDS,
    ChainPlace,
    Job,
    job_from_row,
    to_json,
)
from engine.workspace.store.uses import require_model

_QUEUED = "state = 'queued'"
_AT_WORK = "state IN ('running', 'stopping')"


class PlaceTaken(JobError):
    """Another process has started this step of the chain already."""


class JobQueue(Database):
    """Queue, claim, follow and finish jobs."""

    def add_job(
        self,
        verb: str,
        spec: dict[str, Any],
        title: str,
        model_id: str | None = None,
        *,
        exclusive: bool = True,
        place: ChainPlace | None = None,
    ) -> Job:
        """Queue a job, at its ``place`` in a chain if it is a step of one, and return it.

        An exclusive job waits until no other one works on a device it needs (see ``devices_of``); one that is not
        exclusive never waits.

        Raises:
            JobError: there is no model ``model_id``, or it was deleted.
            PlaceTaken: the chain follows another job by now.
        """
        job_id = secrets.token_hex(4)
        devices = devices_of(spec) if exclusive else ()
        with self._writing() as connection:
            require_model(connection, model_id)
            if place is not None:
                _take(connection, place, job_id)
            now = self._now()
            connection.execute(
                "INSERT INTO jobs (id, verb, title, spec, devices, state, created_at, queued_at, model_id, chain_id, "
                "chain_step) VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?)",
                (
                    job_id,
                    verb,
                    title,
                    to_json(spec),
                    ",".join(devices),
                    now,
                    now,
                    model_id,
                    place and place.chain_id,
                    place and place.step,
                ),
            )
            return job_from_row(_row_of(connection, job_id))

    def jobs(self, states: Sequence[str] | None = None) -> list[Job]:
        """Return the jobs, in ``states`` only if given, the newest first."""
        where, values = (
            ("", ()) if states is None else (f"WHERE state IN ({', '.join('?' * len(states))})", tuple(states))
        )
        with self._reading() as connection:
            rows = connection.execute(f"SELECT * FROM jobs {where} ORDER BY number DESC", values).fetchall()
        return [job_from_row(row) for row in rows]

    def job(self, job_id: str) -> Job:
        """Return one job. Raises JobError when there is none of this id."""
        with self._reading() as connection:
            return job_from_row(_row_of(connection, job_id))

    def job_folder(self, job_id: str) -> Path:
        """Return the folder of a job, which need not exist yet."""
        return self.jobs_folder / job_id

    def attach_worker(
        self, job_id: str, pid: int, process_started_at: float, *, launcher_pid: int | None = None
    ) -> bool:
        """Note which process will do a queued job; return whether the job was free for it.

        A job that waits for its turn has a process as well, so that its death is noticed. ``launcher_pid`` is a
        process that may have been noted in its place: in a virtual environment on Windows, ``python`` is a launcher
        that starts the real interpreter.
        """
        with self._writing() as connection:
            changed = connection.execute(
                f"UPDATE jobs SET pid = ?, process_started_at = ? "
                f"WHERE id = ? AND {_QUEUED} AND (pid IS NULL OR pid IN (?, ?)) RETURNING id",
                (pid, process_started_at, job_id, pid, launcher_pid),
            ).fetchall()
        return bool(changed)

    def claim_job(self, job_id: str, pid: int, process_started_at: float) -> bool:
        """Turn a queued job into a running one of this process; return whether that happened.

        Refused while a job that runs, or that was queued earlier, needs one of the same devices; when another
        process is to do this job; and when the job is not queued any more.
        """
        with self._writing() as connection:
            row = _row_of(connection, job_id)
            if _ahead(connection, row):
                return False
            claimed = connection.execute(
                f"UPDATE jobs SET state = 'running', pid = ?, process_started_at = ?, started_at = ? "
                f"WHERE id = ? AND {_QUEUED} AND (pid IS NULL OR pid = ?) RETURNING id",
                (pid, process_started_at, self._now(), job_id, pid),
            ).fetchall()
        return bool(claimed)

    def finish_job(
        self,
        job_id: str,
        state: str,
        result: dict[str, Any] | None = None,
        error: str | None = None,
        *,
        seen: Job | None = None,
    ) -> bool:
        """End a job in one of FINISHED_STATES; return whether it had not ended yet.

        One exception: "stopped" also replaces "interrupted", because someone may look at a job, and find its process
        dead, while another is killing it. ``seen`` is the job as the caller saw it: nothing happens when another
        process does it by now, as after a resume.
        """
        if state not in FINISHED_STATES:
            raise ValueError(f"{state!r} does not end a job: expected one of {', '.join(FINISHED_STATES)}")
        replaceable = (*ACTIVE_STATES, "interrupted") if state == "stopped" else ACTIVE_STATES
        same, pids = ("", ()) if seen is None else (" AND pid IS ?", (seen.pid,))
        with self._writing() as connection:
            changed = connection.execute(
                f"UPDATE jobs SET state = ?, result = ?, error = ?, finished_at = ? "
                f"WHERE id = ? AND state IN ({', '.join('?' * len(replaceable))}){same} RETURNING id",
                (state, None if result is None else to_json(result), error, self._now(), job_id, *replaceable, *pids),
            ).fetchall()
        return bool(changed)

    def requeue_job(self, job_id: str) -> bool:
        """Queue a job that ended without being done again, to go on where it was; return whether that happened.

        Its specification then says ``resume``, and an event of the kind "resumed" parts its reports.
        """
        with self._writing() as connection:
            row = _row_of(connection, job_id)
            if row["state"] not in UNFINISHED_ENDS:
                return False
            now = self._now()
            connection.execute(
                "UPDATE jobs SET state = 'queued', spec = ?, queued_at = ?, pid = NULL, process_started_at = NULL, "
                "started_at = NULL, finished_at = NULL, result = NULL, error = NULL, stop_requested = 0 WHERE id = ?",
                (to_json({**json.loads(row["spec"]), "resume": True}), now, job_id),
            )
            connection.execute(
                "INSERT INTO events (job_id, time, kind, payload) VALUES (?, ?, 'resumed', '{}')", (job_id, now)
            )
        return True

    def request_stop(self, job_id: str) -> Job:
        """Ask a job to end, and return it: a queued one has stopped at once, a running one is stopping."""
        with self._writing() as connection:
            _row_of(connection, job_id)
            connection.execute(
                f"UPDATE jobs SET stop_requested = 1, state = 'stopped', finished_at = ? WHERE id = ? AND {_QUEUED}",
                (self._now(), job_id),
            )
            connection.execute(
                f"UPDATE jobs SET stop_requested = 1, state = 'stopping' WHERE id = ? AND {_AT_WORK}", (job_id,)
            )
            return job_from_row(_row_of(connection, job_id))

    def queue_position(self, job_id: str) -> int | None:
        """Return the place of a job among those waiting for its devices, 1 being next; None when it does not wait."""
        with self._reading() as connection:
            row = _row_of(connection, job_id)
            if row["state"] != "queued":
                return None
            return 1 + sum(rival["state"] == "queued" for rival in _ahead(connection, row))

    def delete_job(self, job_id: str) -> None:
        """Forget a finished job and its events; its folder is the caller's. Raises JobError while it has not ended."""
        with self._writing() as connection:
            row = _row_of(connection, job_id)
            if row["state"] not in FINISHED_STATES:
                raise JobError(f"The job {row['title']} has not ended: stop it before deleting it.")
            if row["state"] == "done":
                # Without its job, the chain would not know any more that this step is behind it.
                connection.execute("UPDATE chains SET step = step + 1 WHERE job_id = ?", (job_id,))
            connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))


def _ahead(connection: sqlite3.Connection, row: sqlite3.Row) -> list[sqlite3.Row]:
    """Return the jobs that this one waits for: they run, or were queued earlier, and need a device that it needs."""
    needed = set(filter(None, row["devices"].split(",")))
    rivals = connection.execute(
        f"SELECT state, devices FROM jobs "
        f"WHERE id <> ? AND ({_AT_WORK} OR ({_QUEUED} AND (queued_at, number) < (?, ?)))",
        (row["id"], row["queued_at"], row["number"]),
    )
    return [rival for rival in rivals if needed & set(rival["devices"].split(","))]


def _take(connection: sqlite3.Connection, place: ChainPlace, job_id: str) -> None:
    """Let the chain follow this job, unless it has moved on from the one that the caller saw it follow."""
    taken = connection.execute(
        "UPDATE chains SET step = ?, job_id = ? WHERE id = ? AND job_id IS ? RETURNING id",
        (place.step, job_id, place.chain_id, place.after),
    ).fetchall()
    if not taken:
        raise PlaceTaken("This step of the recipe has been started already: wait for its job.")


def _row_of(connection: sqlite3.Connection, job_id: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobError(f"There is no job {job_id} in this workspace: it may have been deleted; choose another.")
    return row
