"""Start, stop, kill, retry and delete jobs, and notice those whose worker is gone. For pages and the terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from engine.errors import JobError, StorageError
from engine.files import writing_to
from engine.jobs import processes
from engine.jobs.logs import log_path, log_tail
from engine.runtime import REPOSITORY, worker_environment
from engine.store import ACTIVE_STATES, Job, Store
from engine.store.records import utc_now

_WORKER = (sys.executable, "-u", "-m", "engine.worker")
# A queued job without a process: whoever queued it ended before starting its worker.
_STARTUP_GRACE = timedelta(seconds=60)
_TAIL_LINES = 15
_POLL_S = 0.05
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
    command: Sequence[str] = _WORKER,
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
        command: the worker's command line, without the workspace and the job's id.

    Raises:
        JobError: the worker cannot be started (the job is then kept as failed), or there is no such model.
        StorageError: the workspace cannot be written.
    """
    job = store.add_job(verb, spec, title, model_id, exclusive=exclusive)
    try:
        worker = _start_worker(store, job.id, command)
    except (OSError, StorageError) as error:
        sentence = str(error) if isinstance(error, StorageError) else f"The worker cannot be started: {error}."
        store.finish_job(job.id, "failed", error=sentence)
        raise JobError(sentence) from error
    _children[worker.pid] = worker
    # A worker that has ended by now has no start time; noted all the same, its death shows at the next look.
    store.attach_worker(job.id, worker.pid, processes.start_time(worker.pid) or time.time())
    return store.job(job.id)


def reconcile(store: Store) -> list[Job]:
    """Mark the jobs whose worker is gone as interrupted, end what those workers left behind, and return the jobs.

    Cheap enough for every refresh of a page: one query, and one look at a process for each job that has not ended.
    """
    gone = [job for job in store.jobs(ACTIVE_STATES) if _is_lost(job)]
    # Asked only now: a worker that ends between the two questions would otherwise be lost without its exit code.
    exit_codes = _clear_away_children()
    lost = []
    for job in gone:
        # A worker that has just ended by itself has written its result before; then nothing changes here.
        if store.finish_job(job.id, "interrupted", error=_explain_loss(store, job, exit_codes)):
            if job.pid is not None and job.process_started_at is not None:
                processes.end_tree(job.pid, job.process_started_at, grace_s=0.5)
            lost.append(store.job(job.id))
    return lost


def stop(store: Store, job_id: str, grace_s: float = 0.0) -> Job:
    """Ask a job to end, wait up to ``grace_s`` seconds for it, and return it.

    A queued job has stopped at once; a running one ends at its next report and keeps its checkpoints. Whoever does
    not want to wait any longer may ``kill`` it.
    """
    deadline = time.monotonic() + grace_s
    job = store.request_stop(job_id)
    while not job.finished and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        job = store.job(job_id)
    _clear_away_children()
    return job


def kill(store: Store, job_id: str, grace_s: float = 3.0) -> Job:
    """End a job's worker and every process it started, and return the job; one that has ended is left as it is.

    All are asked to end, then made to after ``grace_s`` seconds.

    Raises:
        JobError: a process could not be ended.
    """
    if store.job(job_id).finished:
        return store.job(job_id)
    job = store.request_stop(job_id)
    if job.pid is not None and job.process_started_at is not None:
        if not processes.end_tree(job.pid, job.process_started_at, grace_s):
            raise JobError(
                f"A process of {job.title} (pid {job.pid}) does not end: end it with the system's own tools."
            )
    _clear_away_children()
    store.finish_job(job_id, "stopped", error="Ended by force on request.")
    return store.job(job_id)


def retry(store: Store, job_id: str, *, command: Sequence[str] = _WORKER) -> Job:
    """Start a new job with the specification of one that has ended. Raises JobError while it has not ended."""
    job = store.job(job_id)
    if not job.finished:
        raise JobError(f"The job {job.title} has not ended: stop it before trying again.")
    return submit(store, job.verb, job.spec, job.title, job.model_id, exclusive=bool(job.devices), command=command)


def delete(store: Store, job_id: str) -> None:
    """Delete a job that has ended, with its events and its folder; models it made stay in the workspace.

    Raises:
        JobError: the job has not ended.
        StorageError: a file of the folder cannot be removed.
    """
    job = store.job(job_id)
    if not job.finished:
        raise JobError(f"The job {job.title} has not ended: stop it before deleting it.")
    folder = store.job_folder(job.id)
    if folder.exists():
        with writing_to(folder):
            shutil.rmtree(folder)
    store.delete_job(job.id)


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
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _clear_away_children() -> dict[int, int]:
    """Let the system forget workers of this process that have ended; return their exit codes by pid."""
    ended = {pid: code for pid, child in list(_children.items()) if (code := child.poll()) is not None}
    for pid in ended:
        _children.pop(pid, None)
    return ended


def _is_lost(job: Job) -> bool:
    if job.pid is None or job.process_started_at is None:
        return utc_now() - job.created_at > _STARTUP_GRACE
    return not processes.is_alive(job.pid, job.process_started_at)


def _explain_loss(store: Store, job: Job, exit_codes: dict[int, int]) -> str:
    """Return the sentence that says what became of a worker, followed by the last lines of its log."""
    tail = log_tail(store, job.id, _TAIL_LINES)
    return "\n".join(filter(None, (_sentence_of_loss(job, exit_codes.get(job.pid or 0)), tail)))


def _sentence_of_loss(job: Job, exit_code: int | None) -> str:
    if job.pid is None or job.process_started_at is None:
        return "The worker of this job was never started: try it again."
    if processes.restarted_since(job.process_started_at):
        return "The machine was restarted while this job was under way: try it again."
    if exit_code is not None and exit_code > 0:
        return f"The worker of this job ended with exit code {exit_code}: its log says more."
    if job.state == "queued":
        return "The worker of this job was killed while it waited for its turn: try it again."
    return "The worker of this job was killed, perhaps because memory ran out: try again, with a smaller batch if so."
