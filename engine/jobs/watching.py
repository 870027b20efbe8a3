"""Notice workers that are gone, say what became of them, and start the steps of chains that they left unstarted."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from datetime import timedelta

from engine.jobs import memory, processes
from engine.jobs.chains import advance_ready
from engine.jobs.control import has_checkpoint
from engine.jobs.launching import WORKER, clear_away_children
from engine.jobs.logs import log_tail
from engine.workspace.store import ACTIVE_STATES, Job, Store
from engine.workspace.store.records import utc_now

# A queued job without a process: whoever queued it ended before starting its worker.
_STARTUP_GRACE = timedelta(seconds=60)
_TAIL_LINES = 15
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")


def reconcile(store: Store, *, command: Sequence[str] = WORKER) -> list[Job]:
    """Mark the jobs whose worker is gone as interrupted, let chains go on, and return the jobs that were marked.

    Cheap enough for every refresh of a page: two queries, and one look at a process for each job that has not ended.
    """
    lost = mark_lost(store)
    advance_ready(store, command=command)
    return lost


def mark_lost(store: Store) -> list[Job]:
    """End what workers that are gone left behind, mark their jobs as interrupted, and return the jobs.

    A job of which some process does not end stays as it is until the next look: whoever resumed it would write beside
    that process.
    """
    gone = [job for job in store.jobs(ACTIVE_STATES) if _is_lost(job)]
    # Asked only now: a worker that ends between the two questions would otherwise be lost without its exit code.
    exit_codes = clear_away_children()
    lost = []
    for job in gone:
        # A worker that has just ended by itself has written its result before; then nothing changes here.
        if _cleared_away(job) and store.finish_job(
            job.id, "interrupted", error=_explain_loss(store, job, exit_codes), seen=job
        ):
            lost.append(store.job(job.id))
    return lost


def _cleared_away(job: Job) -> bool:
    """End what the worker of a job left behind; return whether nothing of it is left."""
    if job.pid is None or job.process_started_at is None:
        return True
    return processes.end_tree(job.pid, job.process_started_at, grace_s=0.5)


def _is_lost(job: Job) -> bool:
    if job.pid is None or job.process_started_at is None:
        return utc_now() - (job.queued_at or job.created_at) > _STARTUP_GRACE
    return not processes.is_alive(job.pid, job.process_started_at)


def _explain_loss(store: Store, job: Job, exit_codes: dict[int, int]) -> str:
    """Return the sentence that says what became of a worker, followed by the last lines of its log."""
    tail = log_tail(store, job.id, _TAIL_LINES)
    exit_code = exit_codes.get(job.pid or 0)
    sentence = _sentence_of_loss(job, exit_code, memory.ran_out(store, job.id), has_checkpoint(store, job))
    return "\n".join(filter(None, (sentence, tail)))


def _sentence_of_loss(job: Job, exit_code: int | None, memory_ran_out: bool, resumable: bool) -> str:
    advice = "resume it" if resumable else "try it again"
    if job.pid is None or job.process_started_at is None:
        return f"The worker of this job was never started: {advice}."
    if processes.restarted_since(job.process_started_at):
        return f"The machine was restarted while this job was under way: {advice}."
    if exit_code is not None and exit_code > 0:
        return f"The worker of this job ended with exit code {exit_code}: its log says more."
    if job.state == "queued":
        return f"The worker of this job was killed while it waited for its turn: {advice}."
    if exit_code is not None and (name := _signal_name(-exit_code)) in _CRASHES:
        return f"The worker of this job crashed ({name}): its log may say more."
    if memory_ran_out:
        remedy = "resume it once more of it is free" if resumable else "try again with a smaller batch"
        return f"The worker of this job was killed, and the system ran out of memory meanwhile: {remedy}."
    remedy = "resume it" if resumable else "try it again, with a smaller batch if so"
    return f"The worker of this job was killed, perhaps because memory ran out: {remedy}."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
