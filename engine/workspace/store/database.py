"""Connections to the registry: short, one a call, each statement inside a transaction that commits or rolls back."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from engine.base.errors import StorageError
from engine.base.files import expanded, writing_to
from engine.workspace.store.records import utc_now
from engine.workspace.store.schema import MIGRATIONS, Migration, migrate

DATABASE_NAME = "workbench.sqlite"
_BUSY_TIMEOUT_S = 5.0
_REMEDIES = (
    ("disk is full", "There is no space left in {folder}: free some, or choose a workspace on another disk."),
    ("readonly", "{folder} cannot be written: check its permissions, or choose another workspace."),
    ("unable to open", "{folder} cannot be opened: check its permissions, or choose another workspace."),
    ("locked", "{folder} is busy: another process keeps its database locked; try again."),
    ("not a database", "{folder} holds a damaged database: move it away, or choose another workspace."),
    ("malformed", "{folder} holds a damaged database: move it away, or choose another workspace."),
    ("disk i/o error", "The disk that holds {folder} reports errors: choose a workspace on another disk."),
)


class Database:
    """The registry file of one workspace folder. Holds no connection, so threads and processes may share it."""

    def __init__(
        self,
        folder: str | Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        """Open the workspace in ``folder``, making it where it is missing and bringing its tables up to date.

        Raises:
            StorageError: the folder cannot be written, or its database cannot be used.
        """
        self.folder = expanded(folder).absolute()
        self.models_folder = self.folder / "models"
        self.jobs_folder = self.folder / "jobs"
        self.datasets_folder = self.folder / "datasets"
        self.exports_folder = self.folder / "exports"
        self._clock = clock
        with writing_to(self.folder):
            for place in (self.models_folder, self.jobs_folder, self.datasets_folder, self.exports_folder):
                place.mkdir(parents=True, exist_ok=True)
        with self._connected() as connection:
            _switch_to_wal(connection)
            migrate(connection, migrations)

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep one idle connection for the length of the block.

        SQLite empties its write-ahead log, with a flush to disk, whenever the last connection closes. A process that
        writes every second for hours saves nine tenths of that cost by not being the last each time.
        """
        with self._connected() as connection:
            connection.execute("SELECT 1 FROM jobs LIMIT 1").fetchone()
            yield

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that holds the write lock from the start, so that what is read stays true until commit."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite itself has already rolled back after some errors, a full disk among them.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            path = self.folder / DATABASE_NAME
            with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA foreign_keys = ON")
                # Safe against a crash of the process; a power failure may cost the last moments, never the file.
                connection.execute("PRAGMA synchronous = NORMAL")
                yield connection

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's refusals that a person can mend into one sentence; the others are defects and pass through."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            remedy = next((remedy for words, remedy in _REMEDIES if words in str(error).lower()), None)
            if remedy is None:
                raise
            raise StorageError(remedy.format(folder=self.folder)) from error

    def _now(self) -> str:
        return self._clock().isoformat(timespec="microseconds")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Turn on write-ahead logging, which lets pages read while a worker writes."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        return
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            # The busy timeout does not cover this switch, and several processes may open a new workspace at once.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
