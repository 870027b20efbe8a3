import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from engine import jobs
from engine.base.errors import JobError, StopRequested, StorageError
from engine.base.runtime import worker_environment
from engine.jobs import memory, processes, watching
from engine.jobs.reporting import EventWriter
from engine.settings.results import Result
from engine.workspace.store import Store
from engine.workspace.store.records import utc_now

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("_worker_script.py")
WORKER = (sys.executable, "-u", str(SCRIPT))
POSIX_ONLY = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "workspace")
    yield store
    for job in store.jobs(["queued", "running", "stopping"]):
        jobs.kill(store, job.id)


def submit(store, verb, spec=None, **options):
    return jobs.submit(store, verb, spec or {}, f"Test {verb}", command=WORKER, **options)


def until(condition, timeout_s=15.0):
    """Return the first true value of ``condition``."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def ended(store, job):
    return until(lambda: found if (found := store.job(job.id)).finished else None)


def at_work(store, job):
    """Wait until the job's verb has reported."""
    until(lambda: store.latest_events(job.id, "status"))
    return store.job(job.id)


def held_in_second_epoch(store):
    """Return a training job that did an epoch and waits in the next."""
    job = submit(store, "train", {"hold": True, "weights": "a.pt"})
    until(lambda: (jobs.progress(store, job).epoch or 0) > 1)
    return store.job(job.id)


def release(store, job):
    (store.job_folder(job.id) / "release").touch()


# A job's way


def test_job_reports_and_ends_with_its_result(store):
    job = ended(store, submit(store, "count"))
    assert job.state == "done" and job.error is None
    assert job.result == Result(metrics={"mAP50": 0.3}, model_ids=())
    steps = store.events(job.id, kinds=["step"])
    assert [(step.payload["epoch"], step.payload["step"]) for step in steps] == [
        (epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3, 4, 5)
    ]
    assert [event.payload["epoch"] for event in store.events(job.id, kinds=["epoch"])] == [1, 2, 3]
    progress = jobs.progress(store, job)
    assert (progress.percent, progress.epoch, progress.metrics) == (100.0, 3, {"mAP50": 0.3})


def test_models_that_a_job_made_are_registered_with_their_parents(store, tmp_path):
    source = tmp_path / "dense.pt"
    source.write_bytes(b"dense")
    dense = store.add_model(source, "Dense", "imported")
    job = ended(store, submit(store, "make", {"ratio": 0.5}, model_id=dense.id))
    pruned, finetuned = (store.model(model_id) for model_id in job.model_ids)
    assert (pruned.name, pruned.kind, pruned.params, pruned.parent_id) == ("Half", "pruned", 10, dense.id)
    assert (finetuned.name, finetuned.kind, finetuned.parent_id) == ("Test make", "finetuned", pruned.id)
    assert (pruned.metrics, finetuned.metrics) == ({}, {"mAP50": 0.5})
    assert finetuned.made == {"verb": "make", "spec": {"ratio": 0.5}}
    assert len(store.models()) == 3
    jobs.delete(store, job.id)
    assert finetuned.path.read_bytes() == b"finetuned"
    assert not store.job_folder(job.id).exists()


def test_explained_error_is_shown_as_it_is(store):
    job = ended(store, submit(store, "raise", {"explained": True}))
    assert (job.state, job.error) == ("failed", "The batch is too large: choose a smaller one.")
    assert "Traceback" not in jobs.log_tail(store, job.id)


def test_defect_is_one_sentence_and_its_traceback_is_in_the_log(store):
    job = ended(store, submit(store, "raise"))
    assert job.state == "failed" and "ValueError: a defect)" in job.error and "\n" not in job.error
    assert "Traceback" in jobs.log_tail(store, job.id)


def test_worker_without_arguments_says_how_it_is_called():
    shown = subprocess.run([sys.executable, "-m", "engine.jobs.worker"], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 2 and "usage" in shown.stderr


def test_model_of_a_stopped_training_says_where_it_was_stopped(store):
    job = at_work(store, submit(store, "save", {"suffix": "stopped after epoch 2"}))
    job = jobs.stop(store, job.id, grace_s=10)
    assert store.model(job.model_ids[0]).name == "Test save, stopped after epoch 2"


def test_second_job_on_the_device_waits_lightly(store):
    first = at_work(store, submit(store, "wait"))
    second = submit(store, "wait")
    elsewhere = at_work(store, submit(store, "wait", {"device": "0"}))
    until(lambda: store.job(second.id).pid)
    assert store.queue_position(second.id) == 1
    time.sleep(0.7)
    assert (store.job(first.id).state, store.job(second.id).state) == ("running", "queued")
    release(store, first)
    assert at_work(store, second).started_at >= ended(store, first).finished_at
    release(store, second)
    release(store, elsewhere)
    assert json.loads(ended(store, second).told)["released"]
    modules = json.loads((store.job_folder(second.id) / "modules.json").read_text())
    assert "torch" not in modules and "ultralytics" not in modules


def test_second_worker_for_the_same_job_is_turned_away(store):
    job = at_work(store, submit(store, "wait"))
    second = subprocess.run(
        [*WORKER, str(store.folder), job.id], capture_output=True, text=True, env=worker_environment()
    )
    assert second.returncode == 2 and "another process" in second.stderr
    assert store.job(job.id) == job
    release(store, job)
    assert ended(store, job).state == "done"


def test_job_survives_the_process_that_submitted_it(store):
    program = (
        "import sys; from pathlib import Path; from engine import jobs; from engine.workspace.store import Store\n"
        "job = jobs.submit(Store(Path(sys.argv[1])), 'wait', {}, 'Test', command=(sys.executable, '-u', sys.argv[2]))\n"
        "print(job.id)"
    )
    command = [sys.executable, "-c", program, str(store.folder), str(SCRIPT)]
    submitted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, start_new_session=True)
    job = at_work(store, store.job(submitted.stdout.strip()))
    assert job.state == "running" and jobs.reconcile(store) == []
    release(store, job)
    assert json.loads(ended(store, job).told)["released"]


def test_worker_that_cannot_be_started_leaves_a_failed_job(store):
    with pytest.raises(JobError, match="cannot be started"):
        jobs.submit(store, "wait", {}, "Test", command=("/nowhere/python",))
    assert [job.state for job in store.jobs()] == ["failed"]


# Stop, kill


def test_stop_lets_the_verb_clean_up(store):
    job = at_work(store, submit(store, "wait"))
    assert jobs.stop(store, job.id).state in ("stopping", "stopped")
    job = ended(store, job)
    assert (job.state, job.error, job.stop_requested) == ("stopped", None, True)
    assert (store.job_folder(job.id) / "cleaned").exists()


def test_stopped_verb_may_keep_what_it_has(store):
    job = at_work(store, submit(store, "save"))
    job = jobs.stop(store, job.id, grace_s=10)
    assert job.state == "stopped"
    assert store.model(job.model_ids[0]).kind == "sparse"


def test_stop_does_not_kill_when_the_grace_is_over(store):
    job = submit(store, "spawn")
    until(lambda: (store.job_folder(job.id) / "children.json").exists())
    assert jobs.stop(store, job.id, grace_s=0.3).state == "stopping"
    assert processes.is_alive(job.pid, job.process_started_at)


def test_stopped_queued_job_leaves_no_worker(store):
    first = at_work(store, submit(store, "wait"))
    second = submit(store, "wait")
    assert jobs.stop(store, second.id).state == "stopped"
    until(lambda: not processes.is_alive(second.pid, second.process_started_at))
    release(store, first)


@POSIX_ONLY
def test_kill_leaves_no_orphans(store):
    job = submit(store, "spawn")
    family = [job.pid, *_children_of(store, job)]
    job = jobs.kill(store, job.id, grace_s=0.5)
    assert job.state == "stopped" and "force" in job.error
    assert [pid for pid in family if processes.start_time(pid) is not None] == []
    assert jobs.reconcile(store) == [] and store.job(job.id).state == "stopped"
    assert jobs.kill(store, job.id) == job


def test_killing_a_job_that_has_ended_leaves_its_end_as_it_was(store):
    job = store.add_job("train", {}, "Test")
    store.finish_job(job.id, "interrupted", error="The machine was restarted.")
    assert jobs.kill(store, job.id) == store.job(job.id)
    ended = store.job(job.id)
    assert (ended.state, ended.error, ended.stop_requested) == ("interrupted", "The machine was restarted.", False)


@POSIX_ONLY
def test_worker_is_out_of_reach_of_the_terminal_it_was_started_from(store):
    job = submit(store, "wait")
    assert os.getsid(job.pid) == job.pid != os.getsid(0), "Ctrl-C goes to a whole session"


@POSIX_ONLY
def test_worker_ends_what_its_verb_left_behind(store):
    job = submit(store, "spawn", {"leave": True})
    family = _children_of(store, job)
    assert ended(store, job).state == "done"
    until(lambda: all(processes.start_time(pid) is None for pid in family))


@POSIX_ONLY
def test_killed_worker_is_noticed_with_its_last_words(store):
    job = submit(store, "spawn")
    family = _children_of(store, job)
    waiting_for_it = submit(store, "wait")
    os.kill(job.pid, signal.SIGKILL)
    job = ended(store, job)  # nobody looks: the worker that waits for the device does
    assert job.state == "interrupted"
    assert "killed" in job.reason and job.error.splitlines()[-1] == "children started"
    # The child in the worker's session is ended; one that left it can only be found while the worker lives.
    until(lambda: processes.start_time(family[0]) is None)
    release(store, at_work(store, waiting_for_it))
    os.kill(family[1], signal.SIGKILL)


@POSIX_ONLY
def test_reconcile_notices_a_killed_worker_and_a_zombie_counts_as_dead(store):
    job = at_work(store, submit(store, "wait"))
    assert jobs.reconcile(store) == []
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: psutil.Process(job.pid).status() == psutil.STATUS_ZOMBIE)
    assert processes.start_time(job.pid) is None
    assert [lost.id for lost in jobs.reconcile(store)] == [job.id]
    assert store.job(job.id).error.splitlines()[1:] == ["working"]
    assert not psutil.pid_exists(job.pid), "its own child has been cleared away"
    assert jobs.reconcile(store) == []


def test_worker_that_ends_before_its_turn_is_noticed(store):
    job = jobs.submit(store, "wait", {}, "Test", command=(sys.executable, "-c", "print('bad start'); exit(3)"))
    until(lambda: jobs.reconcile(store))
    assert store.job(job.id).state == "interrupted"
    assert "exit code 3" in store.job(job.id).reason and "bad start" in store.job(job.id).error


def test_job_without_a_worker_is_noticed_after_a_while(store, monkeypatch):
    job = store.add_job("wait", {}, "Test")
    assert jobs.reconcile(store) == []
    monkeypatch.setattr(watching, "utc_now", lambda: utc_now() + timedelta(minutes=2))
    assert [lost.id for lost in jobs.reconcile(store)] == [job.id]
    assert "never started" in store.job(job.id).reason


def test_resumed_job_whose_worker_is_not_there_yet_is_no_lost_one(tmp_path):
    moment = [utc_now() - timedelta(days=1)]
    store = Store(tmp_path, clock=lambda: moment[0])
    job = store.add_job("train", {}, "Test")
    store.request_stop(job.id)
    moment[0] = utc_now()
    store.requeue_job(job.id)
    assert jobs.reconcile(store) == [] and store.job(job.id).state == "queued"


def test_restart_of_the_machine_is_named(store, monkeypatch):
    job = store.add_job("wait", {}, "Test")
    store.claim_job(job.id, os.getpid(), psutil.boot_time() - 3600)
    jobs.reconcile(store)
    assert "restarted" in store.job(job.id).reason and store.job(job.id).reason.endswith(": try it again.")


def test_what_can_be_resumed_is_advised_to_be(store):
    job = store.add_job("train", {}, "Test")
    store.append_events(job.id, [{"kind": "epoch", "epoch": 1, "epochs": 3}])
    store.claim_job(job.id, os.getpid(), psutil.boot_time() - 3600)
    jobs.reconcile(store)
    assert store.job(job.id).reason.endswith("restarted while this job was under way: resume it.")
    killed = dataclasses.replace(job, state="running", pid=os.getpid(), process_started_at=time.time())
    for ran_out in (False, True):
        advice = [watching._sentence_of_loss(killed, -9, ran_out, able) for able in (True, False)]
        assert "resume it" in advice[0] and "batch" not in advice[0]
        assert "resume" not in advice[1] and "try" in advice[1] and "smaller batch" in advice[1]


@POSIX_ONLY
def test_job_is_not_marked_while_a_process_of_it_still_writes(store, monkeypatch):
    job = submit(store, "spawn")
    family = _children_of(store, job)
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: processes.start_time(job.pid) is None)
    seen = []

    def refused(pid, started_at, grace_s):
        seen.append((pid, store.job(job.id).state))
        return False

    with monkeypatch.context() as patch:
        patch.setattr(processes, "end_tree", refused)
        assert jobs.reconcile(store) == []
    assert seen == [(job.pid, "running")] and store.job(job.id).state == "running"
    assert [lost.id for lost in jobs.reconcile(store)] == [job.id]
    assert processes.start_time(family[0]) is None
    os.kill(family[1], signal.SIGKILL)


def test_reused_pid_is_neither_alive_nor_killed(store):
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        started_at = processes.start_time(bystander.pid)
        assert processes.is_alive(bystander.pid, started_at)
        assert not processes.is_alive(bystander.pid, started_at - 100)
        assert processes.end_tree(bystander.pid, started_at - 100, grace_s=0.1)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


# Resume


def test_resumed_job_goes_on_after_its_last_epoch(store):
    job = held_in_second_epoch(store)
    jobs.stop(store, job.id, grace_s=10)
    assert jobs.can_resume(store, store.job(job.id))
    resumed = jobs.resume(store, job.id, command=WORKER)
    assert (resumed.id, resumed.error, resumed.result, resumed.stop_requested) == (job.id, None, None, False)
    assert resumed.spec == {"hold": True, "weights": "a.pt", "resume": True}
    job = ended(store, job)
    assert job.state == "done" and (store.job_folder(job.id) / "epochs.txt").read_text() == "1\n2\n3\n"
    assert [event.payload["epoch"] for event in store.events(job.id, kinds=["epoch"])] == [1, 2, 3]
    assert store.model(job.model_ids[0]).made["spec"] == {"hold": True, "weights": "a.pt"}
    assert jobs.progress(store, job).percent == 100.0
    with pytest.raises(JobError, match="is done"):
        jobs.resume(store, job.id, command=WORKER)
    again = jobs.retry(store, job.id, command=WORKER)
    assert "resume" not in again.spec
    jobs.kill(store, again.id)


@POSIX_ONLY
def test_killed_worker_is_interrupted_at_the_next_look_and_resumed(store):
    job = held_in_second_epoch(store)
    os.kill(job.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    assert [lost.id for lost in until(lambda: jobs.reconcile(store))] == [job.id]
    assert time.monotonic() - killed_at < 5
    lost = store.job(job.id)
    assert lost.state == "interrupted" and "was killed" in lost.reason
    jobs.resume(store, job.id, command=WORKER)
    assert ended(store, job).state == "done"
    assert "Resumed." in jobs.log_tail(store, job.id)


@POSIX_ONLY
def test_worker_killed_while_it_waits_is_noticed_and_resumed(store):
    first = at_work(store, submit(store, "wait"))
    second = submit(store, "train", {"weights": "a.pt"})
    until(lambda: store.job(second.id).pid)
    os.kill(store.job(second.id).pid, signal.SIGKILL)
    until(lambda: jobs.reconcile(store))
    lost = store.job(second.id)
    assert lost.state == "interrupted" and "while it waited" in lost.reason
    third = store.add_job("train", {}, "Third")
    jobs.resume(store, second.id, command=WORKER)
    assert [store.queue_position(job.id) for job in (third, second)] == [1, 2], "it waits behind who came meanwhile"
    store.request_stop(third.id)
    release(store, first)
    assert ended(store, second).state == "done"


def test_what_cannot_be_resumed_is_explained(store):
    waiting = store.add_job("train", {}, "Test")
    with pytest.raises(JobError, match="has not ended"):
        jobs.resume(store, waiting.id)
    store.request_stop(waiting.id)
    assert not jobs.can_resume(store, store.job(waiting.id)), "it did no epoch to go on from"
    export = store.add_job("export", {}, "Test")
    store.request_stop(export.id)
    with pytest.raises(JobError, match="retry it instead"):
        jobs.resume(store, export.id)
    assert not jobs.can_resume(store, store.job(export.id))


def test_worker_that_cannot_be_started_leaves_a_job_that_can_be_resumed_again(store):
    job = store.add_job("train", {"weights": "a.pt"}, "Test")
    store.request_stop(job.id)
    with pytest.raises(JobError, match="cannot be started"):
        jobs.resume(store, job.id, command=("/nowhere/python",))
    assert store.job(job.id).state == "failed"
    jobs.resume(store, job.id, command=WORKER)
    assert ended(store, job).state == "done"


def test_two_tabs_resume_a_job_once(store):
    job = held_in_second_epoch(store)
    jobs.kill(store, job.id, grace_s=0.5)
    barrier = threading.Barrier(4)

    def resume(_):
        barrier.wait()
        try:
            return jobs.resume(store, job.id, command=WORKER)
        except JobError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(resume, range(4)))
    assert sum(not isinstance(outcome, str) for outcome in outcomes) == 1, outcomes
    assert len(store.events(job.id, kinds=["resumed"])) == 1
    assert ended(store, job).state == "done"
    assert (store.job_folder(job.id) / "epochs.txt").read_text() == "1\n2\n3\n"


def test_late_news_of_the_former_worker_does_not_end_a_resumed_job(store):
    job = store.add_job("train", {}, "Test")
    store.claim_job(job.id, 1, 0.0)
    before = store.job(job.id)
    report = EventWriter(store, job.id, pid=1)
    store.finish_job(job.id, "interrupted")
    assert store.requeue_job(job.id) and not store.requeue_job(job.id)
    store.claim_job(job.id, 2, 0.0)
    assert not store.finish_job(job.id, "done", seen=before)
    with pytest.raises(StopRequested):
        report({"kind": "status", "text": "still here"})
    assert not store.events(job.id, kinds=["status"])
    assert store.finish_job(job.id, "done", seen=store.job(job.id))


def test_progress_of_a_resumed_job(tmp_path):
    moment = [utc_now()]
    store = Store(tmp_path, clock=lambda: moment[0])

    def report(after_s, kind, **payload):
        moment[0] += timedelta(seconds=after_s)
        store.append_events(job.id, [{"kind": kind, "epochs": 10, **payload}])

    def progress():
        return jobs.progress(store, store.job(job.id), now=moment[0])

    job = store.add_job("train", {}, "Test")
    store.claim_job(job.id, 1, 0.0)
    for epoch in (1, 2, 3, 4):
        report(100, "epoch", epoch=epoch, seconds=100.0)
    report(50, "step", epoch=5, step=5, steps=10)
    report(1, "status", text="Interrupted soon.")
    assert progress().percent == pytest.approx(45.0)
    store.finish_job(job.id, "interrupted")
    moment[0] += timedelta(days=1)
    store.requeue_job(job.id)
    waiting = progress()
    assert (waiting.percent, waiting.epoch, waiting.seconds_left, waiting.status) == (40.0, 4, None, "")
    store.claim_job(job.id, 2, 0.0)
    assert progress().seconds_left is None
    report(5, "step", epoch=5, step=1, steps=10)
    report(4, "step", epoch=5, step=5, steps=10)
    assert (progress().percent, progress().seconds_left) == (pytest.approx(45.0), pytest.approx(55.0))
    report(5, "epoch", epoch=5, seconds=10.0)
    assert (progress().percent, progress().seconds_left) == (50.0, pytest.approx(50.0)), "at the pace since"
    report(10, "epoch", epoch=5, seconds=10.0)  # reported twice
    assert (progress().percent, progress().seconds_left) == (50.0, pytest.approx(50.0))
    report(10, "epoch", epoch=7, seconds=10.0)  # one missed
    assert (progress().percent, progress().seconds_left) == (70.0, pytest.approx(30.0))


# Memory


@pytest.mark.parametrize(
    ("line", "folder", "name"),
    [
        ("0::/user.slice/a.scope", "user.slice/a.scope", "memory.events"),
        ("0::/../../as-the-host-sees-it", ".", "memory.events"),
        ("7:cpu:/b\n4:memory:/b", "memory/b", "memory.oom_control"),
    ],
)
def test_system_that_counts_what_it_ended_for_want_of_memory_is_believed(store, tmp_path, line, folder, name):
    groups, counter = tmp_path / "cgroup", tmp_path / "mount" / folder / name
    groups.write_text(f"{line}\n")
    counter.parent.mkdir(parents=True)
    counter.write_text("oom 1\noom_kill 1\n")
    job = store.add_job("train", {}, "Test")
    memory.note_count(store, job.id, groups, tmp_path / "mount")
    store.claim_job(job.id, 4_000_000, time.time())
    assert not memory.ran_out(store, job.id)
    counter.write_text("oom 2\noom_kill 2\n")
    jobs.reconcile(store)
    assert "ran out of memory meanwhile" in store.job(job.id).reason


def test_without_a_readable_count_nothing_is_claimed(store, tmp_path):
    (tmp_path / "cgroup").write_text("0::/\n")
    job = store.add_job("train", {}, "Test")
    memory.note_count(store, job.id, tmp_path / "nowhere", tmp_path)
    memory.note_count(store, job.id, tmp_path / "cgroup", tmp_path)
    assert not store.events(job.id, kinds=["status"]) and not memory.ran_out(store, job.id)


@POSIX_ONLY
def test_crash_is_told_from_being_killed(store):
    job = at_work(store, submit(store, "wait"))
    os.kill(job.pid, signal.SIGSEGV)
    until(lambda: jobs.reconcile(store))
    assert "crashed (SIGSEGV)" in store.job(job.id).reason


# Turns


def test_jobs_that_are_started_at_once_never_share_a_device(store, tmp_path):
    locks = tmp_path / "locks"
    locks.mkdir()
    barrier = threading.Barrier(5)

    def start(device):
        barrier.wait()
        return submit(store, "alone", {"device": device, "locks": str(locks)})

    with ThreadPoolExecutor(5) as pool:
        started = list(pool.map(start, ("0", "0", "1", "0,1", "0,1")))
    assert [(job.state, job.error) for job in (ended(store, job) for job in started)] == [("done", None)] * 5
    spans = sorted(
        (store.job(job.id).started_at, store.job(job.id).finished_at) for job in started if "0" in job.spec["device"]
    )
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


# Retry, delete


def test_retry_is_a_new_job_with_the_same_specification(store):
    job = submit(store, "raise", {"explained": True})
    with pytest.raises(JobError, match="not ended"):
        jobs.retry(store, submit(store, "wait", {"device": "9"}).id)
    again = jobs.retry(store, ended(store, job).id, command=WORKER)
    assert again.id != job.id and (again.verb, again.spec, again.title) == (job.verb, job.spec, job.title)
    assert ended(store, again).state == "failed"


def test_retry_of_short_work_waits_for_no_device_either(store):
    job = store.add_job("count", {}, "Test", exclusive=False)
    store.request_stop(job.id)
    assert jobs.retry(store, job.id, command=WORKER).devices == ()


def test_only_a_job_that_has_ended_is_deleted(store):
    job = at_work(store, submit(store, "wait"))
    with pytest.raises(JobError, match="not ended"):
        jobs.delete(store, job.id)
    release(store, job)
    jobs.delete(store, ended(store, job).id)
    assert store.jobs() == [] and store.events(job.id) == []
    assert not store.job_folder(job.id).exists()


# Reports, logs, progress


def test_report_batches_steps_and_passes_epochs_on_at_once(store):
    job = store.add_job("train", {}, "Test")
    store.claim_job(job.id, 1, 0.0)
    now = [0.0]
    report = EventWriter(store, job.id, clock=lambda: now[0])
    report({"kind": "step", "step": 1})
    now[0] = 0.1
    report({"kind": "step", "step": 2})
    assert len(store.events(job.id)) == 1
    report({"kind": "epoch", "epoch": 1})
    assert [event.kind for event in store.events(job.id)] == ["step", "step", "epoch"]
    store.request_stop(job.id)
    report({"kind": "step", "step": 3})
    now[0] = 1.1
    for _ in range(2):
        with pytest.raises(StopRequested):
            report({"kind": "step", "step": 4})
    report.flush()
    assert len(store.events(job.id)) == 6


def test_report_stops_a_worker_whose_job_was_given_up(store):
    job = store.add_job("train", {}, "Test")
    store.claim_job(job.id, 1, 0.0)
    store.finish_job(job.id, "interrupted")
    store.delete_job(job.id)
    with pytest.raises(StopRequested):
        EventWriter(store, job.id)({"kind": "status", "text": "still here"})


def test_store_that_cannot_be_written_delays_events(store, monkeypatch):
    job = store.add_job("train", {}, "Test")
    store.claim_job(job.id, 1, 0.0)
    report = EventWriter(store, job.id)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "append_events", lambda *arguments: (_ for _ in ()).throw(StorageError("busy")))
        report({"kind": "status", "text": "one"})
    report({"kind": "status", "text": "two"})
    assert [event.payload["text"] for event in store.events(job.id)] == ["one", "two"]


def test_log_tail_is_plain_and_short(store):
    job = store.add_job("train", {}, "Test")
    assert jobs.log_tail(store, job.id) == ""
    jobs.log_path(store, job.id).parent.mkdir()
    jobs.log_path(store, job.id).write_bytes(b"x" * 100_000 + b"\n\x1b[1mbold\x1b[0m\n 10%\r 50%\r100%\r\n\nlast\xff\n")
    assert jobs.log_tail(store, job.id, lines=3) == "bold\n100%\nlast\ufffd"


def test_progress_follows_the_latest_events(store):
    job = store.add_job("train", {}, "Test")
    assert jobs.progress(store, job) == jobs.Progress()
    store.claim_job(job.id, 1, 0.0)
    job = store.job(job.id)
    store.append_events(job.id, [{"kind": "step", "epoch": 1, "epochs": 4, "step": 5, "steps": 10, "losses": {"a": 1}}])
    progress = jobs.progress(store, job)
    assert (progress.percent, progress.step, progress.steps, progress.losses) == (12.5, 5, 10, {"a": 1})
    assert progress.seconds_left is None
    store.append_events(
        job.id, [{"kind": "epoch", "epoch": 1, "epochs": 4, "seconds": 10.0, "metrics": {"mAP50": 0.1}}]
    )
    written_at = store.latest_events(job.id, "epoch")[0].time
    progress = jobs.progress(store, job, now=written_at + timedelta(seconds=6))
    assert (progress.percent, progress.epoch, progress.step) == (25.0, 1, None)
    assert progress.seconds_left == pytest.approx(24.0)
    assert progress.metrics == {"mAP50": 0.1}


def test_time_left_in_the_first_epoch_comes_from_its_steps(tmp_path):
    moment = [utc_now()]
    store = Store(tmp_path, clock=lambda: moment[0])
    job = store.add_job("train", {}, "Test")
    store.claim_job(job.id, 1, 0.0)
    for step in (1, 2, 3):
        store.append_events(job.id, [{"kind": "step", "epoch": 1, "epochs": 2, "step": step, "steps": 5}])
        moment[0] += timedelta(seconds=2)
    progress = jobs.progress(store, store.job(job.id), now=moment[0] - timedelta(seconds=2))
    assert progress.percent == pytest.approx(30.0)
    assert progress.seconds_left == pytest.approx(14.0)


def test_time_left_follows_the_last_five_epochs_and_is_never_less_than_none(tmp_path):
    moment = utc_now()
    store = Store(tmp_path, clock=lambda: moment)
    job = store.add_job("train", {}, "Test")
    store.claim_job(job.id, 1, 0.0)
    for epoch, seconds in enumerate((1000.0, 10.0, 10.0, 10.0, 10.0, 10.0), start=1):
        store.append_events(job.id, [{"kind": "epoch", "epoch": epoch, "epochs": 8, "seconds": seconds}])
    job = store.job(job.id)
    assert jobs.progress(store, job, now=moment).seconds_left == pytest.approx(20.0)
    assert jobs.progress(store, job, now=moment + timedelta(minutes=5)).seconds_left == 0.0


def test_refresh_with_ten_thousand_steps_is_quick(store):
    job = store.add_job("train", {}, "Test")
    store.claim_job(job.id, os.getpid(), processes.start_time(os.getpid()))
    for epoch in range(1, 101):
        steps = [{"kind": "step", "epoch": epoch, "epochs": 100, "step": step, "steps": 100} for step in range(1, 101)]
        store.append_events(job.id, [*steps, {"kind": "epoch", "epoch": epoch, "epochs": 100, "seconds": 1.0}])
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        jobs.reconcile(store)
        jobs.progress(store, store.job(job.id))
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.05
    store.finish_job(job.id, "done")


def _children_of(store, job):
    path = store.job_folder(job.id) / "children.json"
    until(path.exists)
    return json.loads(path.read_text())
