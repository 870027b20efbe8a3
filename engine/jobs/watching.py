"""Notice workers that are gone, say what became of them, and start the steps of chains that they left unstarted."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from datetime import timedelta

from engine.jobs import memory, processes
from engine.jobs.chains import advance_ready
from engine.jobs.launching import WORKER, clear_away_children
from engine.jobs.logs import log_tail
from engine.store import ACTIVE_STATES, Job, Store
from engine.store.records import utc_now

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
    """Mark the jobs whose worker is gone as interrupted, end what those workers left behind, and return the jobs."""
    gone = [job for job in store.jobs(ACTIVE_STATES) if _is_lost(job)]
    # Asked only now: a worker that ends between the two questions would otherwise be lost without its exit code.
    exit_codes = clear_away_children()
    lost = []
    for job in gone:
        # A worker that has just ended by itself has written its result before; then nothing changes here.
        if store.finish_job(job.id, "interrupted", error=_explain_loss(store, job, exit_codes), seen=job):
            if job.pid is not None and job.process_started_at is not None:
                processes.end_tree(job.pid, job.process_started_at, grace_s=0.5)
            lost.append(store.job(job.id))
    return lost


def _is_lost(job: Job) -> bool:
    if job.pid is None or job.process_started_at is None:
        return utc_now() - (job.queued_at or job.created_at) > _STARTUP_GRACE
    return not processes.is_alive(job.pid, job.process_started_at)


def _explain_loss(store: Store, job: Job, exit_codes: dict[int, int]) -> str:
    """Return the sentence that says what became of a worker, followed by the last lines of its log."""
    tail = log_tail(store, job.id, _TAIL_LINES)
    sentence = _sentence_of_loss(job, exit_codes.get(job.pid or 0), memory.ran_out(store, job.id))
    return "\n".join(filter(None, (sentence, tail)))


def _sentence_of_loss(job: Job, exit_code: int | None, memory_ran_out: bool) -> str:
    if job.pid is None or job.process_started_at is None:
        return "The worker of this job was never started: try it again."
    if processes.restarted_since(job.process_started_at):
        return "The machine was restarted while this job was under way: try it again."
    if exit_code is not None and exit_code > 0:
        return f"The worker of this job ended with exit code {exit_code}: its log says more."
    if job.state == "queued":
        return "The worker of this job was killed while it waited for its turn: try it again."
    if exit_code is not None and (name := _signal_name(-exit_code)) in _CRASHES:
        return f"The worker of this job crashed ({name}): its log may say more."
    if memory_ran_out:
        return (
            "The worker of this job was killed, and the system ran out of memory meanwhile: "
            "try again with a smaller batch."
        )
    return "The worker of this job was killed, perhaps because memory ran out: try again, with a smaller batch if so."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
