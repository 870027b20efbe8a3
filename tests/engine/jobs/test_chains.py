import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from engine import jobs
from engine.base.errors import JobError
from engine.workspace.store import PlaceTaken, Store

SCRIPT = Path(__file__).with_name("_worker_script.py")
WORKER = (sys.executable, "-u", str(SCRIPT))
POSIX_ONLY = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
BASE = {"weights": "base.pt", "data": "data.yaml", "device": "cpu"}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "workspace")
    yield store
    for job in store.jobs(["queued", "running", "stopping"]):
        jobs.kill(store, job.id)


@pytest.fixture
def base_model(store, tmp_path):
    (tmp_path / "base.pt").write_bytes(b"base")
    return store.add_model(tmp_path / "base.pt", "Base", "imported")


def recipe(*steps):
    return {"name": "Test", "steps": [{"verb": verb, "settings": settings} for verb, settings in steps]}


THREE_STEPS = recipe(("train", {"epochs": 3}), ("prune", {"prune_ratio": 0.5}), ("val", {}))


def start(store, steps, model_id=None, **base):
    return jobs.start_chain(store, steps, "Slim", model_id, {**BASE, **base}, command=WORKER)


def until(condition, timeout_s=20.0):
    """Return the first true value of ``condition``."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def at_rest(store, chain):
    """Wait until a chain has finished, or stopped at a step, and return its status. Nobody else looks after it."""

    def resting():
        status = jobs.chain_status(store, chain.id)
        return status if status.finished or status.failed_step else None

    return until(resting)


def states(status):
    return [step.state for step in status.steps]


def newest(store, chain):
    return store.job(store.chain(chain.id).job_id)


def unstarted(store, *steps, model_id=None):
    """Return a chain whose first job waits for a worker that nobody starts: its own has ended."""
    chain = jobs.start_chain(store, recipe(*steps), "Slim", model_id, BASE, command=(sys.executable, "-c", ""))
    job = newest(store, chain)
    until(lambda: jobs.processes.start_time(job.pid) is None)
    return chain, job


def end(store, job, state="done", result=None):
    """End a job as its worker does, without what comes after."""
    assert store.finish_job(job.id, state, result or {"artefacts": [], "metrics": {}})


# A chain's way


def test_chain_runs_every_step_on_what_the_one_before_made(store, base_model):
    chain = start(store, THREE_STEPS, base_model.id)
    assert store.chains() == [store.chain(chain.id)] and (chain.step, chain.base_model_id) == (1, base_model.id)
    status = at_rest(store, chain)
    assert (status.title, status.finished, status.failed_step) == ("Slim", True, None)
    train, prune, val = store.chain_jobs(chain.id)
    assert status.steps == [("train", "done", train.id), ("prune", "done", prune.id), ("val", "done", val.id)]
    assert [job.title for job in (train, prune, val)] == [
        f"Slim: step {number} of 3, {word}"
        for number, word in enumerate(("training", "pruning", "validation"), start=1)
    ]
    trained, pruned = (store.model(job.model_ids[0]) for job in (train, prune))
    assert (trained.parent_id, pruned.parent_id) == (base_model.id, trained.id)
    assert (train.model_id, prune.model_id, val.model_id) == (base_model.id, trained.id, pruned.id)
    assert train.spec == {**BASE, "epochs": 3, "chain": {"base": "base.pt", "made": []}}
    made = [str(trained.path), str(pruned.path)]
    assert prune.spec == {
        "weights": made[0],
        "data": "data.yaml",
        "prune_ratio": 0.5,
        "chain": {"base": "base.pt", "made": made[:1]},
    }
    assert val.spec == {**BASE, "weights": made[1], "chain": {"base": "base.pt", "made": made}}
    assert (train.devices, prune.devices, val.devices) == (("cpu",), (), ("cpu",))
    assert "hidden" not in json.loads(val.told), "what a verb hides from its process is not hidden from the next"
    assert jobs.reconcile(store) == [] and len(store.jobs()) == 3
    with pytest.raises(JobError, match="has finished"):
        jobs.restart_chain(store, chain.id, command=WORKER)


def test_chain_that_failed_at_a_step_goes_on_after_a_retry(store, tmp_path):
    mended = tmp_path / "mended"
    steps = recipe(("train", {}), ("prune", {"needs": str(mended)}), ("val", {}))
    chain = start(store, steps)
    status = at_rest(store, chain)
    assert (states(status), status.failed_step) == (["done", "failed", "waiting"], 2)
    failed = newest(store, chain)
    jobs.reconcile(store, command=WORKER)
    assert newest(store, chain) == failed
    mended.touch()
    again = jobs.retry(store, failed.id, command=WORKER)
    assert (again.chain_id, again.chain_step, again.spec) == (chain.id, 2, failed.spec)
    status = at_rest(store, chain)
    assert states(status) == ["done"] * 3 and status.steps[1].job_id == again.id
    assert jobs.retry(store, failed.id, command=WORKER).chain_id is None, "a chain that went on does not go back"
    assert len(store.chain_jobs(chain.id)) == 4


@POSIX_ONLY
def test_chain_is_resumed_where_its_worker_was_killed(store):
    chain = start(store, recipe(("train", {"hold": True}), ("prune", {})))
    job = newest(store, chain)
    until(lambda: (jobs.progress(store, job).epoch or 0) > 1)
    with pytest.raises(JobError, match="under way"):
        jobs.restart_chain(store, chain.id, command=WORKER)
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: jobs.reconcile(store, command=WORKER))
    status = jobs.chain_status(store, chain.id)
    assert (states(status), status.failed_step) == (["interrupted", "waiting"], 1)
    resumed = jobs.restart_chain(store, chain.id, command=WORKER)
    assert (resumed.id, resumed.spec["resume"], resumed.chain_step) == (job.id, True, 1)
    assert states(at_rest(store, chain)) == ["done", "done"]


def test_stopped_step_stops_the_chain(store):
    chain = start(store, recipe(("wait", {}), ("val", {})))
    job = newest(store, chain)
    until(lambda: store.latest_events(job.id, "status"))
    jobs.stop(store, job.id, grace_s=10)
    jobs.reconcile(store, command=WORKER)
    status = jobs.chain_status(store, chain.id)
    assert (states(status), status.failed_step, status.finished) == (["stopped", "waiting"], 1, False)
    again = jobs.restart_chain(store, chain.id, command=WORKER)
    assert again.id != job.id and jobs.chain_status(store, chain.id).steps[0].job_id == again.id


# Crashes and races


def test_step_that_a_dead_worker_did_not_start_is_started_at_the_next_look(store):
    chain, job = unstarted(store, ("train", {}), ("val", {}))
    end(store, job)
    assert states(jobs.chain_status(store, chain.id)) == ["done", "waiting"]
    assert jobs.reconcile(store, command=WORKER) == []
    assert states(at_rest(store, chain)) == ["done", "done"]
    assert jobs.advance(store, chain.id, command=WORKER) is None


def test_worker_of_another_job_lets_the_chain_go_on(store):
    chain, job = unstarted(store, ("train", {}), ("val", {}))
    end(store, job)
    jobs.submit(store, "count", {}, "Other", command=WORKER)
    assert states(at_rest(store, chain)) == ["done", "done"]


def _advance(folder, chain_id, barrier):
    store = Store(folder)
    barrier.wait()
    jobs.advance(store, chain_id, command=WORKER)


def test_processes_that_advance_a_chain_at_once_start_one_job(store):
    chain, job = unstarted(store, ("train", {}), ("val", {}), ("val", {}))
    end(store, job)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        barrier = manager.Barrier(3)
        processes = [context.Process(target=_advance, args=(store.folder, chain.id, barrier)) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert at_rest(store, chain).finished
    assert [job.chain_step for job in store.chain_jobs(chain.id)] == [1, 2, 3]


def test_two_tabs_retry_a_step_once(store):
    chain, job = unstarted(store, ("train", {}), ("val", {}))
    end(store, job, "failed")
    jobs.retry(store, job.id, command=WORKER)
    place = jobs.chains.ChainPlace(chain.id, 1, after=job.id)
    with pytest.raises(PlaceTaken, match="started already"):
        store.add_job("train", {}, "Late", place=place)
    assert len(store.jobs()) == 2 and at_rest(store, chain).finished


def test_worker_that_cannot_be_started_is_a_failed_step(store):
    with pytest.raises(JobError, match="cannot be started"):
        jobs.start_chain(store, THREE_STEPS, "Slim", None, BASE, command=("/nowhere/python",))
    (chain,) = store.chains()
    assert jobs.chain_status(store, chain.id).failed_step == 1
    jobs.restart_chain(store, chain.id, command=WORKER)
    assert at_rest(store, chain).finished


# Deleting


def test_deleting_the_jobs_of_a_finished_chain_leaves_it_finished(store):
    chain = start(store, THREE_STEPS)
    at_rest(store, chain)
    for job in reversed(store.chain_jobs(chain.id)):
        jobs.delete(store, job.id)
        jobs.reconcile(store, command=WORKER)
        assert jobs.chain_status(store, chain.id).finished and store.jobs(["queued", "running"]) == []
    assert jobs.chain_status(store, chain.id).steps == [
        ("train", "done", None),
        ("prune", "done", None),
        ("val", "done", None),
    ]


def test_next_step_works_on_the_workspaces_copy_when_the_job_is_deleted(store, tmp_path):
    mended = tmp_path / "mended"
    chain = start(store, recipe(("train", {}), ("prune", {"needs": str(mended)}), ("compare", {})))
    at_rest(store, chain)
    train, prune = store.chain_jobs(chain.id)
    jobs.delete(store, prune.id)
    status = jobs.chain_status(store, chain.id)
    assert (states(status), status.failed_step) == (["done", "stopped", "waiting"], 2)
    mended.touch()
    again = jobs.restart_chain(store, chain.id, command=WORKER)
    assert Path(again.spec["weights"]).parent == store.models_folder
    jobs.delete(store, train.id)
    assert at_rest(store, chain).finished
    made = [str(store.model(job.model_ids[0]).path) for job in (train, store.job(again.id))]
    compared = newest(store, chain).spec
    assert (compared["weights"], compared["reference"]) == (["base.pt", *made], "base.pt")
    assert Path(made[0]).is_file()


def test_chain_that_has_nothing_to_go_on_from_says_so(store):
    chain, job = unstarted(store, ("train", {}), ("val", {}))
    end(store, job)
    jobs.delete(store, job.id)
    assert states(jobs.chain_status(store, chain.id)) == ["done", "stopped"]
    with pytest.raises(JobError, match="start it anew"):
        jobs.restart_chain(store, chain.id, command=WORKER)
    first, job = unstarted(store, ("val", {}))
    end(store, job, "interrupted")
    jobs.delete(store, job.id)
    jobs.restart_chain(store, first.id, command=WORKER)
    assert at_rest(store, first).finished


def test_deleted_model_is_no_parent_and_stops_no_chain(store, base_model):
    chain, job = unstarted(store, ("val", {}), ("val", {}), model_id=base_model.id)
    end(store, job, result={"artefacts": [], "model_ids": ["gone"]})
    store.delete_model(base_model.id)
    step = jobs.advance(store, chain.id, command=WORKER)
    assert (step.model_id, step.spec["weights"]) == (None, "base.pt")
    assert store.chain(chain.id).base_model_id is None


def test_model_of_a_recipe_is_kept_until_that_has_finished_or_is_given_up(store, base_model, tmp_path):
    base, missing = str(base_model.path), str(tmp_path / "mended")
    chain = start(store, recipe(("train", {}), ("prune", {"needs": missing}), ("val", {})), base_model.id, weights=base)
    at_rest(store, chain)
    train, failed = store.chain_jobs(chain.id)
    (trained,) = train.model_ids
    for model_id in (base_model.id, trained):
        with pytest.raises(JobError, match=r"needed by the recipe Slim, .* delete the job") as refusal:
            store.delete_model(model_id)
        assert "\n" not in str(refusal.value) and store.model(model_id).path.is_file()
    jobs.delete(store, failed.id)
    store.delete_model(trained)
    finished = start(store, recipe(("val", {})), weights=base)
    assert at_rest(store, finished).finished
    store.delete_model(base_model.id)
    assert store.models() == []


# Specifications


def test_step_after_a_comparison_works_on_the_last_model(store):
    chain, job = unstarted(store, ("train", {}), ("compare", {}), ("val", {}))
    end(store, job, result={"artefacts": [{"path": "trained.pt", "kind": "trained", "register": True}]})
    for _ in range(2):
        jobs.advance(store, chain.id, command=WORKER)
        until(lambda: newest(store, chain).finished)
    at_rest(store, chain)
    assert [job.spec["weights"] for job in store.chain_jobs(chain.id)][1:] == [["base.pt", "trained.pt"], "trained.pt"]


def test_step_after_one_that_made_several_models_works_on_the_last(store, tmp_path):
    chain, job = unstarted(store, ("train", {}), ("val", {}))
    models = []
    for name in ("first.pt", "last.pt"):
        (tmp_path / name).write_bytes(name.encode())
        models.append(store.add_model(tmp_path / name, name, "trained"))
    artefacts = [{"path": str(model.path), "kind": "trained", "register": True} for model in models]
    end(store, job, result={"artefacts": artefacts, "model_ids": [model.id for model in models]})
    step = jobs.advance(store, chain.id, command=WORKER)
    assert (step.model_id, step.spec["weights"]) == (models[-1].id, str(models[-1].path))


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({}, "no steps"),
        ({"steps": []}, "no steps"),
        ({"steps": [{"settings": {}}]}, "Step 1 .* no verb"),
        ({"steps": [{"verb": "val"}, {"verb": "val", "settings": [1]}]}, "settings of step 2"),
    ],
)
def test_recipe_that_is_none_is_refused(store, steps, words):
    with pytest.raises(JobError, match=words):
        start(store, steps)
    assert store.chains() == [] == store.jobs()


def test_unknown_chains_and_models_are_explained(store):
    with pytest.raises(JobError, match="no chain"):
        jobs.chain_status(store, "nobody")
    with pytest.raises(JobError, match="no model"):
        start(store, THREE_STEPS, "nobody")
    assert store.chains() == []
