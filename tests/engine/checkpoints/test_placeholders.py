"""A model that is deleted in the middle of a family leaves a placeholder; what would miss it is told before."""

import sqlite3
from contextlib import closing

import pytest

from engine.base.errors import JobError, StorageError
from engine.settings.command import command_of
from engine.workspace.figures import figures_of
from engine.workspace.lineage import family, missing_files
from engine.workspace.store import Store
from engine.workspace.store.database import DATABASE_NAME, Database
from engine.workspace.store.schema import MIGRATIONS
from tests.results import written


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


def add(store, tmp_path, name: str, parent=None, **told):
    source = tmp_path / f"{name}.pt"
    source.write_bytes(name.encode())
    told = {"made": {"verb": "prune", "spec": {"prune_ratio": 0.5}}, "params": 10, **told}
    return store.add_model(source, name, "pruned", parent_id=parent and parent.id, **told)


def names(models) -> list[str]:
    return [model.name for model in models]


@pytest.fixture
def line(store, tmp_path):
    """Three generations."""
    dense = add(store, tmp_path, "dense", made={"verb": "import", "file": "dense.pt"})
    middle = add(store, tmp_path, "middle", dense, metrics={"mAP50-95": 0.6})
    return dense, middle, add(store, tmp_path, "small", middle)


@pytest.mark.parametrize("at", [0, 1])
def test_deleting_a_model_in_the_middle_of_a_family_keeps_the_tree_and_what_is_known_of_it(store, line, at):
    store.delete_model(line[at].id)
    assert not line[at].path.exists()
    everyone = store.models(deleted=True)
    members = family(everyone, [], figures_of(store, everyone), line[2].id)
    assert [(member.name, member.depth, member.deleted) for member in members] == [
        (name, depth, depth == at) for depth, name in enumerate(("dense", "middle", "small"))
    ]
    gone = members[at]
    assert (gone.kind, gone.params, gone.digest, gone.size_mb) == ("pruned", 10, line[at].digest, None)
    assert gone.verb == line[at].made["verb"] and line[at].name not in names(store.models())
    with pytest.raises(StorageError, match=f"{line[at].name} was deleted"):
        store.model(line[at].id)
    ancestors = names(store.lineage(line[at].id))
    assert ancestors == ["dense", "middle"][: at + 1], "a report on a copy of the file still tells its family"


def test_nothing_works_on_a_model_of_which_only_the_record_is_left(store, line):
    """A page that was opened before the model was deleted in another tab asks for just that."""
    store.delete_model(line[0].id)
    with pytest.raises(JobError, match="dense was deleted from this workspace"):
        store.add_job("prune", {"weights": str(line[0].path)}, "Prune", line[0].id)
    with pytest.raises(JobError, match="dense was deleted from this workspace"):
        store.add_chain({"steps": [{"verb": "prune"}]}, "Recipe", {"weights": str(line[0].path)}, line[0].id)
    assert store.jobs() == [] and store.chains() == []


def test_a_command_that_needs_the_deleted_file_is_kept_and_says_which_file_is_missing(store, line):
    _, middle, small = line
    store.delete_model(middle.id)
    members = {member.name: member for member in family(store.models(deleted=True), [], {}, small.id)}
    assert str(middle.path) in command_of(members["small"].verb, members["small"].spec)
    assert missing_files(members["small"].spec) == [str(middle.path)]
    assert missing_files(members["middle"].spec) == []
    assert missing_files({"weights": "yolov8n.pt", "data": "here/data.yaml", "teacher": str(middle.path)}) == [
        str(middle.path)
    ], "official names and relative paths may be found where the command is run"


def test_the_same_file_put_back_later_takes_the_place_of_its_placeholder(store, line, tmp_path):
    dense, middle, small = line
    store.delete_model(middle.id)
    (tmp_path / "again.pt").write_bytes(b"middle")
    back = store.register(tmp_path / "again.pt", "again", "imported", made={"verb": "import"})
    assert (back.outcome, back.sentence) == ("revived", "The same file as middle, which is back with it.")
    assert back.model == middle and middle.path.read_bytes() == b"middle"
    assert names(store.lineage(small.id)) == ["dense", "middle", "small"] and len(store.models()) == 3
    assert missing_files(family(store.models(deleted=True), [], {}, dense.id)[2].spec) == []


def test_a_file_that_is_already_in_the_workspace_is_said_to_be(store, line, tmp_path):
    (tmp_path / "other.pt").write_bytes(b"dense")
    first, again = (store.register(tmp_path / name, "other", "imported") for name in ("small.pt", "other.pt"))
    assert again.sentence == "The same file as dense, already here." and first.model == line[2]
    (tmp_path / "new.pt").write_bytes(b"new")
    assert store.register(tmp_path / "new.pt", "new", "imported").sentence == ""


def test_a_placeholder_goes_with_the_last_model_that_missed_it(store, line, tmp_path):
    dense, middle, small = line
    other = add(store, tmp_path, "other", middle)
    for model in (middle, dense, small):
        store.delete_model(model.id)
    assert names(store.models(deleted=True)) == ["other", "middle", "dense"]
    store.delete_model(other.id)
    assert store.models(deleted=True) == []


def test_a_model_whose_file_a_command_names_leaves_a_placeholder_even_without_children(store, line, tmp_path):
    teacher = add(store, tmp_path, "teacher")
    spec = {"weights": "x.pt", "teacher": str(teacher.path)}
    tuned = add(store, tmp_path, "tuned", line[2], made={"verb": "finetune", "spec": spec})
    store.delete_model(teacher.id)
    assert "teacher" in names(store.models(deleted=True))
    store.delete_model(tuned.id)
    assert "teacher" not in names(store.models(deleted=True))


def test_what_would_miss_a_model_is_told_before_it_is_deleted(store, line, tmp_path):
    dense, _, small = line
    spec = {"weights": str(small.path), "teacher": str(dense.path), "data": "d.yaml"}
    add(store, tmp_path, "tuned", small, made={"verb": "finetune", "spec": spec})
    of_dense, of_small = store.dependants(dense.id), store.dependants(small.id)
    assert (of_dense.children, of_dense.commands, of_dense.guided) == (("middle",), ("middle", "tuned"), ("tuned",))
    assert (of_small.children, of_small.commands, of_small.guided) == (("tuned",), ("tuned",), ())
    early = store.add_job("finetune", spec, "Tune again", small.id)
    assert "Tune again" in store.dependants(dense.id).needed
    store.finish_job(early.id, "failed", None, "no space")
    export = store.add_job("export", {"weights": str(small.path)}, "Export", small.id)
    store.finish_job(export.id, "done", written("export"))
    found = store.dependants(small.id)
    assert (found.needed, found.ended_early, found.exports) == (None, ("Tune again",), 1)


def test_a_workspace_of_before_placeholders_opens_with_its_models(tmp_path):
    Database(tmp_path, migrations=MIGRATIONS[:3])
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute(
            "INSERT INTO models (id, name, path, digest, made, kind, metrics, created_at) "
            "VALUES ('m', 'Old', 'models/m.pt', 'd', '{}', 'imported', '{}', '2025-01-01T00:00:00+00:00')"
        )
    store = Store(tmp_path)
    assert [(model.name, model.deleted) for model in store.models()] == [("Old", False)]
    store.delete_model("m")
    assert store.models(deleted=True) == []
