"""Nothing is measured twice in a workspace, and nothing that changed is taken for what was measured."""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from engine.base.measurements import MeasurementKey
from engine.jobs import worker
from engine.settings.results import Measured, Result
from engine.validation import validator
from engine.verbs import run_verb
from engine.workspace.store import Store, StoredMeasurements
from engine.workspace.store.database import DATABASE_NAME, Database
from engine.workspace.store.schema import MIGRATIONS
from tests.results import measurement
from tests.runs import tiny_data, write_dense

KEY = MeasurementKey("a" * 64, "b" * 64, "val", 320, 16, "cpu")
NUMBERS = {"metrics": {"mAP50-95": 0.1 + 0.2}, "per_class": {"boat": 1 / 3}, "speed_ms": {}}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


def test_what_was_measured_is_found_again_to_the_last_digit_by_every_process(store):
    cache = StoredMeasurements(store)
    assert cache.get(KEY) is None
    cache.put(KEY, NUMBERS)
    assert StoredMeasurements(Store(store.folder)).get(KEY) == NUMBERS


@pytest.mark.parametrize(
    "change",
    [{"weights": "c" * 64}, {"data": "c" * 64}, {"split": "test"}, {"imgsz": 640}, {"batch": 1}, {"device": "0"}],
    ids=lambda change: next(iter(change)),
)
def test_a_measurement_is_not_taken_for_one_under_other_conditions(store, change):
    store.keep_measurement(KEY, NUMBERS)
    assert store.measurement(replace(KEY, **change)) is None


def test_several_gpus_mean_the_first_which_is_the_one_that_validates(store):
    store.keep_measurement(replace(KEY, device="1,0"), NUMBERS)
    assert store.measurement(replace(KEY, device="1")) == NUMBERS
    assert store.measurement(replace(KEY, device="0")) is None


def test_a_later_measurement_takes_the_place_of_an_earlier_one(store):
    store.keep_measurement(KEY, NUMBERS)
    store.keep_measurement(KEY, {"metrics": {}})
    assert store.measurement(KEY) == {"metrics": {}}
    with closing(sqlite3.connect(store.folder / DATABASE_NAME)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM measurements").fetchone() == (1,)


def test_everything_that_was_measured_of_files_comes_with_its_key_the_oldest_first(store):
    larger = replace(KEY, imgsz=640)
    store.keep_measurement(KEY, {"metrics": {"mAP50-95": 0.1}})
    store.keep_measurement(larger, {"metrics": {"mAP50-95": 0.2}})
    store.keep_measurement(replace(KEY, split="train"), {"metrics": {"mAP50-95": 0.9}})
    found = [(key, result["metrics"]["mAP50-95"]) for key, result in store.measured([KEY.weights, "unknown"])]
    assert found == [(KEY, 0.1), (larger, 0.2)]
    store.keep_measurement(KEY, {"metrics": {"mAP50-95": 0.3}})
    assert [key for key, _ in store.measured([KEY.weights])] == [larger, KEY], "measured again is measured later"
    assert store.measured([]) == []


def test_a_workspace_of_before_learns_to_remember_and_keeps_its_models(tmp_path):
    folder = tmp_path / "old"
    Database(folder, migrations=MIGRATIONS[:2])
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as connection, connection:
        connection.execute(
            "INSERT INTO models (id, name, path, digest, made, kind, metrics, created_at) "
            "VALUES ('m', 'Old', 'models/m.pt', 'd', '{}', 'imported', '{}', '2025-01-01T00:00:00+00:00')"
        )
    store = Store(folder)
    assert [model.name for model in store.models()] == ["Old"]
    store.keep_measurement(KEY, NUMBERS)
    assert store.measurement(KEY) == NUMBERS


@pytest.fixture
def counted(monkeypatch):
    """The real validations that ran, as (file name, image size)."""
    real, ran = validator.validate, []

    def validate(weights, data, **settings):
        ran.append((Path(weights).name, settings["imgsz"]))
        return real(weights, data, **settings)

    monkeypatch.setattr(validator, "validate", validate)
    return ran


def test_the_same_file_is_validated_once_by_val_and_compare_until_labels_or_size_change(store, tmp_path, counted):
    weights = write_dense(tmp_path / "dense.pt")
    data = tiny_data(tmp_path)
    ask = {"data": data, "imgsz": 64, "batch": 4, "device": "cpu", "workspace": str(store.folder)}
    first = run_verb("val", {"weights": str(weights), **ask})
    assert counted == [("dense.pt", 64)]
    again = run_verb("val", {"weights": str(shutil.copy(weights, tmp_path / "copy.pt")), **ask})
    assert again.model_copy(update={"weights": first.weights, "fit": first.fit}) == first, "but for the file's name"
    assert first["images"] == 4 and len(counted) == 1
    (compared,) = run_verb("compare", {"weights": [str(weights)], **ask})["models"]
    assert compared["metrics"] == first["metrics"] and len(counted) == 1
    run_verb("val", {"weights": str(weights), **ask, "imgsz": 96})
    assert counted[1:] == [("dense.pt", 96)]
    label = next((tmp_path / "set").glob("labels/val/*.txt"))
    os.utime(label, ns=(1, 1))
    run_verb("val", {"weights": str(weights), **ask})
    assert counted[2:] == [("dense.pt", 64)]


def test_without_a_workspace_everything_is_measured(tmp_path, monkeypatch):
    ran = []

    def validate(weights, data, **settings):
        ran.append(weights)
        return Measured(**measurement())

    monkeypatch.setattr(validator, "validate", validate)
    weights = write_dense(tmp_path / "dense.pt")
    data = tiny_data(tmp_path)
    for _ in range(2):
        assert run_verb("val", {"weights": str(weights), "data": data}).metrics == measurement()["metrics"]
    assert len(ran) == 2


def test_a_job_s_verb_is_told_its_workspace_and_its_record_stays_as_it_was(store):
    told = {}

    def run(verb, spec, report):
        told.update(spec)
        return Result()

    job = store.add_job("val", {"weights": "x.pt"}, "Validate x")
    assert worker.run(store, job.id, run) == 0
    assert told["workspace"] == str(store.folder)
    assert store.job(job.id).spec == {"weights": "x.pt"}
