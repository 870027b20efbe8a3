"""What jobs report: rows that are only ever appended, and read from where the reader left off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.workspace.store.database import Database
from engine.workspace.store.records import Event, event_from_row, to_json


class EventLog(Database):
    """Append events and read them, each by an index."""

    def append_events(self, job_id: str, events: Sequence[Mapping[str, Any]], pid: int | None = None) -> str | None:
        """Append events of a job, each a dictionary with a "kind", in one transaction.

        Args:
            job_id: Id of the job.
            events: In their order.
            pid: The process that does the job; any if None.

        Returns:
            State of the job at that moment; None, and nothing is written, where it is gone or another process has it.
        """
        now = self._now()
        rows = [
            (job_id, now, event["kind"], to_json({key: value for key, value in event.items() if key != "kind"}))
            for event in events
        ]
        with self._writing() as connection:
            job = connection.execute("SELECT state, pid FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if job is None or pid not in (None, job["pid"]):
                return None
            connection.executemany("INSERT INTO events (job_id, time, kind, payload) VALUES (?, ?, ?, ?)", rows)
            return job["state"]

    def events(
        self, job_id: str, after_seq: int = 0, kinds: Sequence[str] | None = None, limit: int | None = None
    ) -> list[Event]:
        """Return at most ``limit`` events of a job after ``after_seq``, oldest first, of ``kinds`` only if given."""
        where, values = _selection(job_id, kinds)
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT * FROM events WHERE {where} AND seq > ? ORDER BY seq LIMIT ?",
                (*values, after_seq, -1 if limit is None else limit),
            ).fetchall()
        return [event_from_row(row) for row in rows]

    def latest_events(self, job_id: str, kind: str, limit: int = 1) -> list[Event]:
        """Return the last events of one kind, the newest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT * FROM events WHERE job_id = ? AND kind = ? ORDER BY seq DESC LIMIT ?", (job_id, kind, limit)
            ).fetchall()
        return [event_from_row(row) for row in rows]


def _selection(job_id: str, kinds: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    if kinds is None:
        return "job_id = ?", (job_id,)
    return f"job_id = ? AND kind IN ({', '.join('?' * len(kinds))})", (job_id, *kinds)
