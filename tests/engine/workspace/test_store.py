import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.base.errors import JobError, StorageError
from engine.workspace.store import Store, default_workspace
from engine.workspace.store.database import DATABASE_NAME, Database
from engine.workspace.store.devices import devices_of
from engine.workspace.store.models import NAME_LENGTH
from engine.workspace.store.records import utc_now
from engine.workspace.store.schema import MIGRATIONS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


def make_file(folder, content=b"weights", name="source.pt"):
    path = folder / name
    path.write_bytes(content)
    return path


# Models


def test_model_is_copied_and_described(store, tmp_path):
    source = make_file(tmp_path)
    made = {"verb": "train", "spec": {"epochs": 3}}
    model = store.add_model(source, "Blood cells", "trained", made=made, params=3_000_000, metrics={"mAP50": 0.5})
    source.unlink()
    assert model.path.read_bytes() == b"weights"
    assert model.path.parent == store.models_folder and model.path.suffix == ".pt"
    assert (model.name, model.kind, model.made, model.params) == ("Blood cells", "trained", made, 3_000_000)
    assert model.metrics == {"mAP50": 0.5}
    assert model.created_at.tzinfo is UTC
    assert store.model(model.id) == model
    assert store.models() == [model]


def test_same_content_is_registered_once(store, tmp_path):
    first = store.add_model(make_file(tmp_path), "First", "imported")
    again = store.add_model(make_file(tmp_path, name="other.pt"), "Second", "trained")
    assert again == first
    assert [path for path in store.models_folder.iterdir()] == [first.path]


def test_lost_file_comes_back_with_the_next_import(store, tmp_path):
    model = store.add_model(make_file(tmp_path), "First", "imported")
    model.path.unlink()
    assert store.add_model(make_file(tmp_path), "First", "imported").path.read_bytes() == b"weights"


def test_threads_that_add_the_same_file_get_one_model(store, tmp_path):
    source = make_file(tmp_path)
    barrier = threading.Barrier(4)
    found = []

    def add(number):
        barrier.wait()
        found.append(store.add_model(source, f"Name {number}", "imported"))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({model.id for model in found}) == 1 and len(found) == 4
    assert [path for path in store.models_folder.iterdir()] == [found[0].path]


def test_file_may_stay_where_it_is(store, tmp_path):
    source = make_file(tmp_path)
    model = store.add_model(source, "Outside", "demo", copy=False)
    assert model.path == source
    store.delete_model(model.id)
    assert source.exists()


def test_hostile_name_stays_inside_the_models_folder(store, tmp_path):
    model = store.add_model(make_file(tmp_path), "../../evil", "imported")
    assert model.path.parent == store.models_folder
    assert model.name == "../../evil"


def test_missing_source_is_explained_and_nothing_is_registered(store, tmp_path):
    with pytest.raises(StorageError, match="no file"):
        store.add_model(tmp_path / "nothing.pt", "Nothing", "imported")
    with pytest.raises(ValueError, match="kind"):
        store.add_model(make_file(tmp_path), "Wrong", "onnx")
    assert store.models() == []
    assert list(store.models_folder.iterdir()) == []


def test_lineage_and_deletion_of_a_parent(store, tmp_path):
    parent = store.add_model(make_file(tmp_path, b"1"), "Dense", "imported")
    middle = store.add_model(make_file(tmp_path, b"2"), "Sparse", "sparse", parent_id=parent.id)
    child = store.add_model(make_file(tmp_path, b"3"), "Small", "pruned", parent_id=middle.id)
    assert [model.name for model in store.lineage(child.id)] == ["Dense", "Sparse", "Small"]
    store.delete_model(middle.id)
    assert not middle.path.exists()
    assert [model.name for model in store.lineage(child.id)] == ["Dense", "Sparse", "Small"]
    assert [model.name for model in store.models()] == ["Small", "Dense"]
    orphan = store.add_model(make_file(tmp_path, b"4"), "Late", "pruned", parent_id="nobody")
    assert orphan.parent_id is None


def test_rename(store, tmp_path):
    model = store.add_model(make_file(tmp_path), "Old", "imported")
    assert store.rename_model(model.id, "  New   name ").name == "New name"
    with pytest.raises(StorageError, match="needs a name"):
        store.rename_model(model.id, "  ")
    with pytest.raises(StorageError, match="no model"):
        store.rename_model("nobody", "x")


def test_model_in_use_is_not_deleted(store, tmp_path):
    model = store.add_model(make_file(tmp_path), "Busy", "imported")
    job = store.add_job("train", {}, "Train it", model.id)
    with pytest.raises(JobError, match="Train it"):
        store.delete_model(model.id)
    assert model.path.exists()
    store.request_stop(job.id)
    store.delete_model(model.id)
    assert store.job(job.id).model_id is None


@pytest.mark.parametrize(
    "spec",
    [
        lambda path: {"weights": path},
        lambda path: {"weights": ["other.pt", path]},
        lambda path: {"weights": "other.pt", "teacher": path},
        lambda path: {"weights": "other.pt", "reference": path},
        lambda path: {"weights": "other.pt", "chain": {"base": path, "made": []}},
        lambda path: {"weights": "other.pt", "chain": {"base": "other.pt", "made": [path]}},
    ],
)
def test_model_whose_file_a_job_reads_is_not_deleted(store, tmp_path, spec):
    model = store.add_model(make_file(tmp_path), "Read", "imported")
    other = store.add_model(make_file(tmp_path, b"other"), "Other", "imported")
    job = store.add_job("compare", spec(str(model.path)), "Compare them")
    with pytest.raises(JobError, match="Read is in use by the job Compare them"):
        store.delete_model(model.id)
    assert model.path.exists()
    store.delete_model(other.id)
    store.request_stop(job.id)
    store.delete_model(model.id)


def test_workspace_can_be_moved(store, tmp_path):
    model = store.add_model(make_file(tmp_path), "Model", "imported")
    store.folder.rename(tmp_path / "moved")
    assert Store(tmp_path / "moved").model(model.id).path.read_bytes() == b"weights"


# Jobs


def test_new_job_is_queued(store):
    job = store.add_job("train", {"epochs": 3, "data": Path("a.yaml")}, "Train")
    assert (job.state, job.spec, job.devices) == ("queued", {"epochs": 3, "data": "a.yaml"}, ("cpu",))
    assert store.jobs() == [job] == store.jobs(["queued"])
    assert store.jobs(["done"]) == []
    with pytest.raises(JobError, match="no job"):
        store.job("../..")
    with pytest.raises(JobError, match="no model"):
        store.add_job("train", {}, "Train", "nobody")


@pytest.mark.parametrize(
    ("device", "devices"),
    [
        (None, ("cpu",)),
        ("", ("cpu",)),
        ("cpu", ("cpu",)),
        (0, ("cuda:0",)),
        ("0", ("cuda:0",)),
        ("cuda", ("cuda:0",)),
        ("cuda:1", ("cuda:1",)),
        ("0, 1", ("cuda:0", "cuda:1")),
        ("cuda:0,1", ("cuda:0", "cuda:1")),
        ("cuda:0, cuda:1", ("cuda:0", "cuda:1")),
        ("['0', '1']", ("cuda:0", "cuda:1")),
        (("0", "0"), ("cuda:0",)),
        ("None", ("cpu",)),
        ("cpu:0", ("cpu",)),
        ([0, 1], ("cuda:0", "cuda:1")),
        ("mps", ("mps",)),
    ],
)
def test_devices_have_one_spelling(device, devices):
    assert devices_of({"device": device}) == devices


def test_jobs_take_turns_on_a_device(store):
    first, second = (store.add_job("train", {}, title) for title in ("first", "second"))
    elsewhere = store.add_job("train", {"device": "0"}, "elsewhere")
    both = store.add_job("train", {"device": "0,1"}, "both")
    light = store.add_job("export", {}, "light", exclusive=False)
    assert [store.queue_position(job.id) for job in (first, second, elsewhere, both, light)] == [1, 2, 1, 2, 1]
    assert not store.claim_job(second.id, 2, 0.0), "the one queued earlier goes first"
    assert store.claim_job(first.id, 1, 5.0)
    assert store.queue_position(first.id) is None and store.queue_position(second.id) == 1
    assert not store.claim_job(second.id, 2, 0.0)
    assert store.claim_job(elsewhere.id, 3, 0.0)
    assert not store.claim_job(both.id, 4, 0.0), "one of its two devices is taken"
    assert store.claim_job(light.id, 5, 0.0)
    assert store.finish_job(first.id, "done", {"metrics": {}})
    assert store.claim_job(second.id, 2, 0.0)
    claimed = store.job(first.id)
    assert (claimed.pid, claimed.process_started_at, claimed.state) == (1, 5.0, "done")
    assert claimed.started_at <= claimed.finished_at


def test_jobs_that_were_queued_in_the_same_moment_take_turns_too(tmp_path):
    moment = utc_now()
    store = Store(tmp_path, clock=lambda: moment)
    first, second = (store.add_job("train", {}, title) for title in ("first", "second"))
    assert first.queued_at == second.queued_at
    assert [store.queue_position(job.id) for job in (first, second)] == [1, 2]
    assert not store.claim_job(second.id, 2, 0.0) and store.claim_job(first.id, 1, 0.0)


def test_requeued_job_starts_afresh_behind_the_others(store):
    job, other = store.add_job("train", {"epochs": 3}, "Train"), store.add_job("train", {}, "Other")
    assert not store.requeue_job(job.id)
    store.claim_job(job.id, 1, 5.0)
    store.request_stop(job.id)
    store.finish_job(job.id, "failed", {"metrics": {}}, "Sentence.")
    store.append_events(job.id, [{"kind": "epoch", "epoch": 1}])
    assert store.requeue_job(job.id)
    again = store.job(job.id)
    assert (again.state, again.spec, again.stop_requested) == ("queued", {"epochs": 3, "resume": True}, False)
    kept = (again.pid, again.process_started_at, again.started_at, again.finished_at, again.result, again.error)
    assert kept == (None,) * 6
    assert again.queued_at > again.created_at == job.created_at
    assert [event.kind for event in store.events(job.id)] == ["epoch", "resumed"]
    assert (store.queue_position(other.id), store.queue_position(job.id)) == (1, 2)
    store.claim_job(other.id, 2, 0.0)
    store.finish_job(other.id, "done")
    assert not store.requeue_job(other.id)
    assert store.claim_job(job.id, 3, 0.0)


def test_job_belongs_to_one_process(store):
    job = store.add_job("train", {}, "Train")
    assert store.attach_worker(job.id, 100, 1.0)
    assert not store.attach_worker(job.id, 200, 2.0)
    assert not store.claim_job(job.id, 200, 2.0)
    assert store.attach_worker(job.id, 300, 3.0, launcher_pid=100), "its launcher was noted in its place"
    assert store.claim_job(job.id, 300, 3.0)
    assert not store.claim_job(job.id, 300, 3.0)
    assert not store.attach_worker(job.id, 300, 3.0)


def test_job_ends_once(store):
    job = store.add_job("train", {}, "Train")
    store.claim_job(job.id, 1, 0.0)
    assert store.request_stop(job.id).state == "stopping"
    assert store.finish_job(job.id, "failed", error="One sentence.\nlog line")
    assert not store.finish_job(job.id, "done")
    assert store.request_stop(job.id).state == "failed"
    ended = store.job(job.id)
    assert ended.finished and ended.stop_requested and ended.reason == "One sentence."
    with pytest.raises(ValueError, match="does not end"):
        store.finish_job(job.id, "queued")


def test_a_killed_job_that_somebody_found_dead_meanwhile_was_stopped_and_no_other_end_changes(store):
    for state, may_become_stopped in (("interrupted", True), ("failed", False), ("done", False)):
        job = store.add_job("train", {}, "Train")
        assert store.finish_job(job.id, state)
        assert store.finish_job(job.id, "stopped") == may_become_stopped
        assert store.job(job.id).state == ("stopped" if may_become_stopped else state)


def test_queued_job_stops_at_once(store):
    job = store.request_stop(store.add_job("train", {}, "Train").id)
    assert job.state == "stopped" and job.finished_at and job.started_at is None
    assert not store.claim_job(job.id, 1, 0.0)


def test_deleting_a_job_takes_its_events_along(store):
    job = store.add_job("train", {}, "Train")
    store.append_events(job.id, [{"kind": "status", "text": "x"}])
    with pytest.raises(JobError, match="not ended"):
        store.delete_job(job.id)
    store.request_stop(job.id)
    store.delete_job(job.id)
    assert store.events(job.id) == [] and store.jobs() == []


def _claim_all(folder, job_ids, barrier, claimed):
    store = Store(folder)
    barrier.wait()
    pid = multiprocessing.current_process().pid
    claimed.extend([(job_id, pid) for job_id in job_ids if store.claim_job(job_id, pid, 0.0)])


def test_two_processes_never_claim_one_job(store):
    job_ids = [store.add_job("train", {"device": f"{number}"}, "Train").id for number in range(30)]
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        barrier, claimed = manager.Barrier(2), manager.list()
        processes = [
            context.Process(target=_claim_all, args=(store.folder, job_ids, barrier, claimed)) for _ in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        won = dict(claimed)
        assert len(claimed) == len(won) == 30
    assert {job.id: job.pid for job in store.jobs(["running"])} == won


# Events


def test_events_are_read_from_where_the_reader_left_off(tmp_path):
    moment = datetime(2030, 1, 2, tzinfo=UTC)
    store = Store(tmp_path / "workspace", clock=lambda: moment)
    job, other = store.add_job("train", {}, "Train"), store.add_job("train", {}, "Other")
    store.append_events(job.id, [])
    store.append_events(job.id, [{"kind": "step", "step": number} for number in range(1, 4)])
    store.append_events(other.id, [{"kind": "step", "step": 99}])
    store.append_events(job.id, [{"kind": "epoch", "epoch": 1}])
    events = store.events(job.id)
    assert [event.kind for event in events] == ["step", "step", "step", "epoch"]
    assert events[0].payload == {"step": 1} and events[0].time == moment
    assert [event.kind for event in store.events(job.id, after_seq=events[2].seq)] == ["epoch"]
    assert store.events(job.id, after_seq=events[-1].seq) == []
    assert [event.payload for event in store.events(job.id, kinds=["step"], limit=2)] == [{"step": 1}, {"step": 2}]
    assert [event.payload for event in store.latest_events(job.id, "step")] == [{"step": 3}]


# The workspace itself


def test_default_workspace(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRUNE_WORKSPACE", raising=False)
    assert default_workspace() == tmp_path / "workspace"
    monkeypatch.setenv("PRUNE_WORKSPACE", str(tmp_path / "elsewhere"))
    assert default_workspace() == tmp_path / "elsewhere"


def test_failing_migration_rolls_back(tmp_path):
    def fail(connection):
        connection.execute("CREATE TABLE half (id)")
        raise RuntimeError("defect")

    with pytest.raises(RuntimeError, match="defect"):
        Database(tmp_path, migrations=(*MIGRATIONS, ("999 fails", fail)))
    with sqlite3.connect(tmp_path / DATABASE_NAME) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        applied = [row[0] for row in connection.execute("SELECT name FROM migrations")]
    assert "half" not in tables and "models" in tables
    assert applied == [name for name, _ in MIGRATIONS]
    Database(tmp_path, migrations=(*MIGRATIONS, ("999 works", lambda connection: connection.execute("SELECT 1"))))


def test_workspace_from_before_chains_keeps_its_queue(tmp_path):
    Database(tmp_path, migrations=MIGRATIONS[:1])
    with sqlite3.connect(tmp_path / DATABASE_NAME) as connection:
        for job_id, second in (("a", 1), ("b", 2)):
            connection.execute(
                "INSERT INTO jobs (id, verb, title, spec, devices, state, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (job_id, "train", job_id, "{}", "cpu", "queued", f"2030-01-02T00:00:0{second}.000000+00:00"),
            )
    store = Store(tmp_path)
    later = store.add_job("train", {"device": "0"}, "later")
    assert [store.queue_position(job_id) for job_id in ("a", "b", later.id)] == [1, 2, 1]
    job = store.job("b")
    assert (job.queued_at, job.chain_id, job.chain_step) == (job.created_at, None, None)
    assert not store.claim_job("b", 1, 0.0) and store.claim_job("a", 1, 0.0)


def test_workspace_of_a_newer_version_is_refused(tmp_path):
    Database(tmp_path, migrations=(*MIGRATIONS, ("999 future", lambda connection: None)))
    with pytest.raises(StorageError, match="newer version"):
        Store(tmp_path)


def test_damaged_database_is_explained(tmp_path):
    (tmp_path / DATABASE_NAME).write_bytes(b"this is not a database, not at all" * 100)
    with pytest.raises(StorageError, match="damaged"):
        Store(tmp_path)


def test_workspace_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="not a folder"):
        Store(tmp_path / "file" / "workspace")


def _open(folder):
    Store(folder).add_job("train", {}, "Train")


def test_processes_may_open_a_new_workspace_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(_open, [tmp_path / "workspace"] * 6, chunksize=1)
    assert len(Store(tmp_path / "workspace").jobs()) == 6


def test_readers_do_not_wait_for_a_writer(store):
    with store._writing() as connection:
        connection.execute("DELETE FROM jobs")
        assert store.jobs() == []


def test_old_events_do_not_slow_reading_down(store):
    job = store.add_job("train", {}, "Train")
    store.append_events(job.id, [{"kind": "step", "step": number} for number in range(1000)])
    with store._reading() as connection:
        for query in (
            "SELECT * FROM events WHERE job_id = 'a' AND kind = 'b' ORDER BY seq DESC LIMIT 1",
            "SELECT * FROM events WHERE job_id = 'a' AND seq > 5 ORDER BY seq LIMIT 10",
        ):
            plan = " ".join(row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
            assert "USING" in plan and "SCAN" not in plan and "TEMP B-TREE" not in plan
    assert timedelta(0) <= store.events(job.id)[-1].time - job.created_at


def test_store_and_jobs_import_neither_torch_nor_streamlit():
    program = "import sys, engine.workspace.store, engine.jobs, engine.jobs.worker; print([*sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"'torch'", "'ultralytics'", "'streamlit'", "'numpy'"} & set(loaded.stdout.strip("[]\n").split(", "))


def test_a_name_too_long_for_a_page_loses_its_middle(tmp_path):
    store = Store(tmp_path / "workspace")
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    model = store.add_model(path, "begin " + "x" * 400 + " end", "imported")
    assert len(model.name) <= NAME_LENGTH and model.name.startswith("begin x") and model.name.endswith("x end")
    assert store.rename_model(model.id, "y" * 400).name.count("y") < NAME_LENGTH
