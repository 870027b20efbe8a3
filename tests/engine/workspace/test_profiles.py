"""Profiles are made once for the content of a file, and again where what is kept cannot be read."""

from __future__ import annotations

import shutil

import pytest

from engine.base.arrays import read_arrays, write_arrays
from engine.base.errors import CheckpointError
from engine.checkpoints.child import run_in_child
from engine.pruning.planning import ProfilePlanner
from engine.pruning.session import Slimming
from engine.workspace import profiles
from engine.workspace.profiles import count_model, kept_profile, profile_of, profile_path
from engine.workspace.store import Store
from tests.models import build, write_checkpoint


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_checkpoint(build("yolov8n"), tmp_path_factory.mktemp("source") / "yolov8n.pt")


@pytest.fixture
def store(tmp_path):
    profiles._made_once.cache_clear()
    return Store(tmp_path / "workspace")


@pytest.fixture
def opened(monkeypatch):
    """The files that were opened."""
    files = []

    def noted(path, made=profiles.profile_of_file):
        files.append(path)
        return made(path)

    monkeypatch.setattr(profiles, "profile_of_file", noted)
    return files


def test_a_file_is_opened_once_whatever_becomes_of_it(store, source, opened):
    model = store.add_model(source, "A", "imported")
    profile = profile_of(store, model)
    profiles._made_once.cache_clear()
    model.path.unlink()
    again = profile_of(store, model)
    assert again.facts == profile.facts and opened == [model.path]
    assert ProfilePlanner(again).preview(0.5) == Slimming.open(source).preview(0.5)


@pytest.mark.parametrize("damage", ["cut short", "a bit", "empty", "another's", "another version"])
def test_one_that_cannot_be_read_is_made_again(damage, store, source, opened):
    model = store.add_model(source, "A", "imported")
    profile_of(store, model)
    path = profile_path(store, model.digest)
    content = path.read_bytes()
    if damage == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "a bit":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "another's":
        shutil.copy(path, profile_path(store, "0" * 64))
        assert kept_profile(store, "0" * 64) is None
        path.unlink()
    else:
        document, arrays = read_arrays(path, 64 << 20)
        write_arrays(path, {**document, "version": 0}, arrays)
    assert kept_profile(store, model.digest) is None
    profiles._made_once.cache_clear()
    assert profile_of(store, model).facts.digest == model.digest
    assert len(opened) == 2 and kept_profile(store, model.digest) is not None


def test_another_image_size_is_kept_with_it(store, source):
    model = store.add_model(source, "A", "imported")
    profile_of(store, model)
    counts = count_model(store, model, (320, 384))
    kept = kept_profile(store, model.digest)
    assert kept is not None and kept.at((320, 384)) == counts
    assert counts.operations == Slimming.open(source).operations((320, 384))


def test_what_cannot_be_opened_is_told_and_not_opened_at_every_look(store, tmp_path, opened):
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"PK\x03\x04 nothing")
    model = store.add_model(broken, "Broken", "imported")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="is damaged or was cut short"):
            profile_of(store, model)
    assert len(opened) == 1
    model.path.unlink()
    with pytest.raises(CheckpointError, match=r"The file of Broken is gone"):
        profile_of(store, model)


def test_a_child_that_was_lost_is_tried_again_at_the_next_look(store, source, monkeypatch):
    model = store.add_model(source, "A", "imported")

    def killed(path):
        return run_in_child("tests.engine.checkpoints.child_functions:die", {"number": 9}, path.name, bounds=None)

    monkeypatch.setattr(profiles, "profile_of_file", killed)
    with pytest.raises(CheckpointError, match="most likely because memory ran out"):
        profile_of(store, model)
    monkeypatch.undo()
    assert profile_of(store, model).facts.digest == model.digest


def test_where_nothing_can_be_written_it_is_made_all_the_same(store, source):
    model = store.add_model(source, "A", "imported")
    (store.folder / profiles.FOLDER).write_text("a file in the way")
    assert profile_of(store, model).facts.digest == model.digest


def test_a_file_that_was_changed_by_hand_is_not_kept_as_what_it_was(store, source):
    model = store.add_model(source, "A", "imported")
    write_checkpoint(build("yolo11n"), model.path)
    assert profile_of(store, model).facts.digest != model.digest
    assert kept_profile(store, model.digest) is None
