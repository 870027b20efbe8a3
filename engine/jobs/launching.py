"""Queue jobs and start their workers, as processes that outlive this one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from engine.base.errors import JobError, StorageError
from engine.base.files import writing_to
from engine.base.runtime import REPOSITORY, worker_environment
from engine.jobs import processes
from engine.jobs.logs import log_path
from engine.workspace.store import ChainPlace, Job, Store

WORKER = (sys.executable, "-u", "-m", "engine.jobs.worker")
# The workers that this process started, kept until they have ended: only their parent can clear them away.
_children: dict[int, subprocess.Popen[bytes]] = {}


def submit(
    store: Store,
    verb: str,
    spec: dict[str, Any],
    title: str,
    model_id: str | None = None,
    *,
    exclusive: bool = True,
    place: ChainPlace | None = None,
    command: Sequence[str] = WORKER,
) -> Job:
    """Queue a job and start its worker, which waits for the job's turn and outlives this process.

    Args:
        store: the workspace.
        verb: what to run, as ``engine.verbs.run_verb`` knows it.
        spec: its specification, JSON-able. ``save_dir`` is the job's folder unless given; ``device`` decides which
            jobs take turns.
        title: the job's name for a person.
        model_id: the model it works on; becomes the parent of the models it makes.
        exclusive: off for short work that need not wait for a device.
        place: which step of which chain it is, if any.
        command: the worker's command line, without the workspace and the job's id.

    Raises:
        JobError: the worker cannot be started (the job is then kept as failed), there is no such model, or the place
            is taken.
        StorageError: the workspace cannot be written.
    """
    job = store.add_job(verb, spec, title, model_id, exclusive=exclusive, place=place)
    return launch(store, job.id, command)


def launch(store: Store, job_id: str, command: Sequence[str]) -> Job:
    """Start the worker of a queued job and return the job. Raises JobError as ``submit`` does."""
    try:
        worker = _start_worker(store, job_id, command)
    except (OSError, StorageError) as error:
        sentence = str(error) if isinstance(error, StorageError) else f"The worker cannot be started: {error}."
        store.finish_job(job_id, "failed", error=sentence)
        raise JobError(sentence) from error
    _children[worker.pid] = worker
    # A worker that has ended by now has no start time; noted all the same, its death shows at the next look.
    store.attach_worker(job_id, worker.pid, processes.start_time(worker.pid) or time.time())
    return store.job(job_id)


def clear_away_children() -> dict[int, int]:
    """Let the system forget workers of this process that have ended; return their exit codes by pid."""
    ended = {pid: code for pid, child in list(_children.items()) if (code := child.poll()) is not None}
    for pid in ended:
        _children.pop(pid, None)
    return ended


def _start_worker(store: Store, job_id: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    log = log_path(store, job_id)
    with writing_to(log.parent):
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = open(log, "ab")
    with stream:
        return subprocess.Popen(
            [*command, str(store.folder), job_id],
            cwd=REPOSITORY,
            env=worker_environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            **_detached(),
        )


def _detached() -> dict[str, Any]:
    """Return what keeps a terminal's Ctrl-C, or its end, from reaching the worker."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
