"""One job, from its turn to its end: ``python -m engine.jobs.worker WORKSPACE JOB_ID``.

Started by ``engine.jobs.submit``.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.base.errors import StopRequested, WorkbenchError
from engine.base.events import Report
from engine.jobs import memory
from engine.jobs.chains import advance_ready
from engine.jobs.launching import WORKER
from engine.jobs.processes import end_tree, start_time
from engine.jobs.reporting import EventWriter
from engine.jobs.watching import mark_lost
from engine.settings.results import Artefact, Result, TrainingResult, dumped
from engine.workspace.store import Job, Store

RunVerb = Callable[[str, dict[str, Any], Report], Result]

_POLL_S = 0.5
# Workers look after one another: a dead one must not keep its device while nobody looks at a page.
_RECONCILE_EVERY_S = 2.0


def _run_verb(verb: str, spec: dict[str, Any], report: Report) -> Result:
    # Imported once the job's turn has come: a worker that waits must not hold PyTorch in memory.
    from engine.verbs import run_verb

    return run_verb(verb, spec, report)


def main(arguments: list[str], run_verb: RunVerb | None = None, command: Sequence[str] = WORKER) -> int:
    """Do the job that the command line names, end every process it leaves behind, and let its chain go on.

    ``command`` starts the workers of further steps of a chain. Returns the exit code.
    """
    if len(arguments) != 2:
        print("usage: python -m engine.jobs.worker WORKSPACE JOB_ID", file=sys.stderr)
        return 2
    workspace, job_id = arguments
    environment = dict(os.environ)
    store = None
    try:
        store = Store(Path(workspace))
        return run(store, job_id, run_verb or _run_verb)
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        # PyTorch may raise here, from a signal handler, when one of its loader processes is ended.
        with contextlib.suppress(Exception):
            end_tree(os.getpid(), start_time(os.getpid()) or 0.0, grace_s=1.0)
        if store is not None:
            _start_next_steps(store, environment, command)


def _start_next_steps(store: Store, environment: dict[str, str], command: Sequence[str]) -> None:
    """Submit the next step of every chain that waits for one, this job's among them.

    Done last, because a worker ends all that runs below it. What this misses, the next look at the workspace does.
    """
    # Ultralytics hides the devices that a job did not ask for; the next worker must see them all.
    os.environ.clear()
    os.environ.update(environment)
    try:
        advance_ready(store, command=command)
    except Exception:
        traceback.print_exc()


def run(store: Store, job_id: str, run_verb: RunVerb) -> int:
    """Wait for the job's turn, run its verb, and record how it ended.

    Returns:
        0 when the job is done or stopped, 1 when it failed, 2 when another process does it or it is not queued.
    """
    with store.kept_open():
        pid = os.getpid()
        started_at = start_time(pid) or time.time()
        if not store.attach_worker(job_id, pid, started_at, launcher_pid=os.getppid()):
            print("This job is not waiting for a worker: it has ended, or another process does it.", file=sys.stderr)
            return 2
        if not _wait_for_turn(store, job_id, pid, started_at):
            return 0
        return _do(store, store.job(job_id), run_verb)


def _wait_for_turn(store: Store, job_id: str, pid: int, started_at: float) -> bool:
    """Return whether the job's turn came; False when the job was ended or given away while it waited."""
    reconciled_at = time.monotonic()
    while not store.claim_job(job_id, pid, started_at):
        job = store.job(job_id)
        if job.state != "queued" or job.pid != pid:
            return False
        if time.monotonic() - reconciled_at >= _RECONCILE_EVERY_S:
            # Chains go on when this worker has ended: what it starts before would end with it.
            mark_lost(store)
            reconciled_at = time.monotonic()
        time.sleep(_POLL_S)
    return True


def _do(store: Store, job: Job, run_verb: RunVerb) -> int:
    memory.note_count(store, job.id)
    report = EventWriter(store, job.id, pid=job.pid)
    state, result, error = _outcome(store, job, run_verb, report)
    report.flush()
    told = None if result is None else dumped(result)
    if not store.finish_job(job.id, state, told, error, seen=job):
        print("Someone else had ended this job already; its result is not recorded.", file=sys.stderr)
    return 1 if state == "failed" else 0


def _outcome(store: Store, job: Job, run_verb: RunVerb, report: EventWriter) -> tuple[str, Result | None, str | None]:
    """Run the verb and return the state, result and sentence it ends in; a traceback goes to the log alone."""
    save_dir = job.spec.get("save_dir") or str(store.job_folder(job.id))
    spec = {**job.spec, "save_dir": save_dir, "workspace": str(store.folder)}
    try:
        result = _with_models(store, job, run_verb(job.verb, spec, report))
        # A verb that was told to stop may still return what it has, and says so if that is everything.
        stopped = report.stopped if result.stopped is None else result.stopped
        return ("stopped" if stopped else "done"), result, None
    except StopRequested as error:
        print(str(error) or "Stopped on request.", flush=True)
        return "stopped", None, None
    except WorkbenchError as error:
        print(error, file=sys.stderr, flush=True)
        return "failed", None, str(error)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        first_line = (str(error).strip().splitlines() or ["no message"])[0]
        return "failed", None, f"The job met an unexpected error ({type(error).__name__}: {first_line}); see its log."


def _model_name(store: Store, job: Job, artefact: Artefact) -> str:
    """Return the name of a model that a job made; its suffix tells apart what one job made at different times."""
    name = artefact.name or _name_after(store, job, artefact.kind)
    return ", ".join(filter(None, (name, artefact.suffix)))


def _name_after(store: Store, job: Job, kind: str) -> str:
    """Return a name after the job; the steps of a chain are of no interest there."""
    if job.chain_id is None:
        return job.title
    return f"{store.chain(job.chain_id).title}, {'fine-tuned' if kind == 'finetuned' else kind}"


def _with_models(store: Store, job: Job, result: Result) -> Result:
    """Register the models among the artefacts and return the result with their ids, and what was known of them.

    An artefact that names the path of an earlier one as its parent becomes its child; the others are children of the
    model that the job works on.
    """
    ids_by_path: dict[str, str] = {}
    known: dict[str, str] = {}
    made: dict[str, Any] = {
        "verb": job.verb,
        "spec": {key: value for key, value in job.spec.items() if key != "resume"},
    }
    if isinstance(result, TrainingResult):
        made["epochs_done"] = result.epochs_done  # fewer than asked for where the run was stopped
    for artefact in result.artefacts:
        if not artefact.is_model:
            continue
        registered = store.register(
            artefact.path,
            _model_name(store, job, artefact),
            artefact.kind,
            parent_id=ids_by_path.get(artefact.parent or "", job.model_id),
            made=made,
            params=result.params if artefact.params is None else artefact.params,
            metrics=result.metrics if artefact.metrics is None else artefact.metrics,
        )
        model_id = registered.model.id
        if registered.sentence and model_id not in ids_by_path.values():
            known[model_id] = registered.sentence
        ids_by_path[artefact.path] = model_id
    return result.model_copy(update={"model_ids": tuple(ids_by_path.values()), "known": known or None})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
