"""What a worker wrote to its standard output and error."""

from __future__ import annotations

import os
import re
from pathlib import Path

from engine.base.files import writing_to
from engine.workspace.store import Store

_TAIL_BYTES = 64 * 1024
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def log_path(store: Store, job_id: str) -> Path:
    """Return the log file of a job, which need not exist yet."""
    return store.job_folder(job_id) / "log.txt"


def add_to_log(store: Store, job_id: str, line: str) -> None:
    """Append a line to the log of a job. Raises StorageError when it cannot be written."""
    log = log_path(store, job_id)
    with writing_to(log.parent):
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")


def log_tail(store: Store, job_id: str, lines: int = 40) -> str:
    """Return the last lines of a job's log as plain text, progress bars in their last state; empty without a log."""
    try:
        with open(log_path(store, job_id), "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    plain = _TERMINAL_CODES.sub("", text).replace("\r\n", "\n")
    shown = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in plain.split("\n")]
    return "\n".join([line for line in shown if line][-lines:])
