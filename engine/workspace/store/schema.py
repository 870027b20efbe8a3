"""The registry's tables, as ordered and named steps.

Each step and its "applied" record commit together or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from engine.base.errors import StorageError
from engine.workspace.store.records import utc_now

Migration = tuple[str, Callable[[sqlite3.Connection], None]]

_MODELS = """
CREATE TABLE models (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    parent_id TEXT REFERENCES models(id) ON DELETE SET NULL,
    made TEXT NOT NULL,
    kind TEXT NOT NULL,
    params INTEGER,
    metrics TEXT NOT NULL,
    created_at TEXT NOT NULL
)
"""
_JOBS = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    verb TEXT NOT NULL,
    title TEXT NOT NULL,
    spec TEXT NOT NULL,
    devices TEXT NOT NULL,
    state TEXT NOT NULL,
    pid INTEGER,
    process_started_at REAL,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    result TEXT,
    error TEXT,
    model_id TEXT REFERENCES models(id) ON DELETE SET NULL,
    stop_requested INTEGER NOT NULL DEFAULT 0
)
"""
_EVENTS = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    time TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL
)
"""
# step is the step that the chain is at, counted from 1, of as many as there are in steps; job_id is the job that it
# follows. That job may have been deleted, so job_id refers to nothing by force.
_CHAINS = """
CREATE TABLE chains (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    recipe TEXT NOT NULL,
    base TEXT NOT NULL,
    base_model_id TEXT REFERENCES models(id) ON DELETE SET NULL,
    step INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    job_id TEXT,
    created_at TEXT NOT NULL
)
"""
# Accuracy by everything it depends on: digest is that of a checkpoint file, data that of a split of a data set.
_MEASUREMENTS = """
CREATE TABLE measurements (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL,
    data TEXT NOT NULL,
    split TEXT NOT NULL,
    imgsz INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    device TEXT NOT NULL,
    result TEXT NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (digest, data, split, imgsz, batch, device)
)
"""


def _models_jobs_events(connection: sqlite3.Connection) -> None:
    for statement in (_MODELS, _JOBS, _EVENTS):
        connection.execute(statement)
    connection.execute("CREATE INDEX models_by_parent ON models(parent_id)")
    connection.execute("CREATE INDEX jobs_by_state ON jobs(state)")
    connection.execute("CREATE INDEX jobs_by_model ON jobs(model_id)")
    # An index entry ends with the row's seq, so both serve "after seq" and "latest" without a sort.
    connection.execute("CREATE INDEX events_by_job ON events(job_id)")
    connection.execute("CREATE INDEX events_by_job_and_kind ON events(job_id, kind)")


def _chains(connection: sqlite3.Connection) -> None:
    connection.execute(_CHAINS)
    connection.execute("ALTER TABLE jobs ADD COLUMN chain_id TEXT REFERENCES chains(id) ON DELETE SET NULL")
    connection.execute("ALTER TABLE jobs ADD COLUMN chain_step INTEGER")
    # A job that is resumed waits behind those that were queued before it came back.
    connection.execute("ALTER TABLE jobs ADD COLUMN queued_at TEXT")
    connection.execute("UPDATE jobs SET queued_at = created_at")
    connection.execute("CREATE INDEX jobs_by_chain ON jobs(chain_id)")


def _measurements(connection: sqlite3.Connection) -> None:
    connection.execute(_MEASUREMENTS)


def _deleted_models(connection: sqlite3.Connection) -> None:
    # When the file of a model was deleted whose record stays, because others descend from it.
    connection.execute("ALTER TABLE models ADD COLUMN deleted_at TEXT")


def _file_facts(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE file_facts (digest TEXT PRIMARY KEY, facts TEXT NOT NULL, created_at TEXT NOT NULL)"
    )


MIGRATIONS: tuple[Migration, ...] = (
    ("001 models, jobs, events", _models_jobs_events),
    ("002 chains", _chains),
    ("003 measurements", _measurements),
    ("004 deleted models", _deleted_models),
    ("005 file facts", _file_facts),
)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply the steps that this database has not had, in order, each in its own transaction.

    Raises:
        StorageError: the database has had steps that this version does not know.
    """
    names = [name for name, _ in migrations]
    applied = _applied(connection)
    if unknown := [name for name in applied if name not in names]:
        raise StorageError(
            f"This workspace was made by a newer version of the workbench ({unknown[-1]}): "
            "update the workbench, or choose another workspace."
        )
    for name, step in migrations:
        if name not in applied:
            _apply(connection, name, step)


def _applied(connection: sqlite3.Connection) -> list[str]:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'").fetchone()
    return [row[0] for row in connection.execute("SELECT name FROM migrations ORDER BY rowid")] if known else []


def _apply(connection: sqlite3.Connection, name: str, step: Callable[[sqlite3.Connection], None]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Looked up again under the lock: another process may have applied the step meanwhile.
        if name not in _applied(connection):
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)"
            )
            step(connection)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, utc_now().isoformat()))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
