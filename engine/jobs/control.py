"""Stop, kill, resume, retry and delete jobs. For pages and the terminal."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence

from engine.base.errors import JobError, StorageError
from engine.base.files import writing_to
from engine.jobs import processes
from engine.jobs.launching import WORKER, clear_away_children, launch, submit
from engine.jobs.logs import add_to_log
from engine.settings.verb_facts import TRAINING
from engine.workspace.store import UNFINISHED_ENDS, ChainPlace, Job, Store

_POLL_S = 0.05


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
    clear_away_children()
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
    clear_away_children()
    store.finish_job(job_id, "stopped", error="Ended by force on request.", seen=job)
    return store.job(job_id)


def can_resume(store: Store, job: Job) -> bool:
    """Whether a job has something to go on from: it is of a verb that can, ended too early, and did an epoch."""
    return job.state in UNFINISHED_ENDS and has_checkpoint(store, job)


def has_checkpoint(store: Store, job: Job) -> bool:
    """Whether a job of a verb that can go on where it was did an epoch, whatever became of it."""
    return job.verb in TRAINING and bool(store.latest_events(job.id, "epoch"))


def resume(store: Store, job_id: str, *, command: Sequence[str] = WORKER) -> Job:
    """Queue a job that ended without being done once more, in its folder and with its events, and return it.

    Its verb finds ``resume`` in the specification and goes on after its last epoch. Of several callers at once, one
    resumes it.

    Raises:
        JobError: the job has not ended, or has been resumed already; it is done; its verb cannot go on where it was;
            or the worker cannot be started.
    """
    job = store.job(job_id)
    if not job.finished:
        raise JobError(f"The job {job.title} has not ended: stop it, or wait until it has, before resuming it.")
    if job.state == "done":
        raise JobError(f"The job {job.title} is done, so there is nothing to resume: retry it instead.")
    if job.verb not in TRAINING:
        raise JobError(
            f"The job {job.title} cannot be resumed, because only {', '.join(TRAINING)} can: retry it instead."
        )
    if not store.requeue_job(job_id):
        raise JobError(f"The job {job.title} has been resumed already: wait until it has ended.")
    # Should the new worker die early, the last line of the log must not be that of the one before it. A log that
    # cannot be written is explained by what comes next.
    with contextlib.suppress(StorageError):
        add_to_log(store, job_id, "Resumed.")
    return launch(store, job_id, command)


def retry(store: Store, job_id: str, *, command: Sequence[str] = WORKER) -> Job:
    """Start a new job, from the beginning, with the specification of one that has ended.

    It takes the old one's place in a chain that stopped there.

    Raises:
        JobError: the job has not ended, or its step of a chain has been started again already.
    """
    job = store.job(job_id)
    if not job.finished:
        raise JobError(f"The job {job.title} has not ended: stop it before trying again.")
    return submit(
        store,
        job.verb,
        {key: value for key, value in job.spec.items() if key != "resume"},
        job.title,
        job.model_id,
        exclusive=bool(job.devices),
        place=_place_to_take_over(store, job),
        command=command,
    )


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


def _place_to_take_over(store: Store, job: Job) -> ChainPlace | None:
    """Return the place of a job that its chain stopped at; a chain that went on does not go back for a retry."""
    if job.chain_id is None or job.chain_step is None or job.state == "done":
        return None
    if store.chain(job.chain_id).job_id != job.id:
        return None
    return ChainPlace(job.chain_id, job.chain_step, after=job.id)
