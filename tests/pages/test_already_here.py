"""A file that is here already is said to be; a deleted model keeps its place, and says what would miss it."""

import pytest

from app.models import library
from engine.workspace.store import Store


def said(app) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning, app.subheader)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


@pytest.fixture
def pruned(demo, workspace):
    return library.prune_into(Store(workspace), demo.sparse, {"prune_ratio": 0.5, "imgsz": 320})


def test_an_upload_of_a_file_that_is_here_says_under_which_name_and_opens_it(open_page, demo, workspace):
    app = open_page()
    content = demo.dense.path.read_bytes()
    app.file_uploader(key="upload").upload("mine.pt", content, "application/octet-stream").run()
    assert not app.exception and "The same file as Demo: dense, already here." in said(app).replace("\u2060", "")
    assert app.session_state["model_id"] == demo.dense.id and len(Store(workspace).models()) == 2
    app.run()
    assert "already here" not in said(app), "it is said once"


def test_a_path_and_the_demo_say_it_too(open_page, demo, workspace):
    Store(workspace).rename_model(demo.sparse.id, "mine")
    app = open_page()
    app.text_input(key="official name").set_value(str(demo.sparse.path))
    app.button(key="open by name").click().run()
    assert not app.exception and "The same file as mine, already here." in said(app)
    app = open_page()
    app.button(key="open demo").click().run()
    assert not app.exception and "The same file as mine, already here." in said(app)


def test_a_cut_that_was_made_before_is_said_to_be_here(demo, workspace, pruned):
    told = []
    again = library.prune_into(Store(workspace), demo.sparse, {"prune_ratio": 0.5, "imgsz": 320}, told.append)
    assert again == pruned and told == [f"The same file as {pruned.name}, already here."]


def test_a_job_whose_result_was_here_already_says_so(open_page, demo, workspace):
    store = Store(workspace)
    job = store.add_job("train", {"weights": str(demo.dense.path)}, "Train it", demo.dense.id)
    sentence = "The same file as Demo: dense, already here."
    store.finish_job(job.id, "done", {"model_ids": [demo.dense.id], "known": {demo.dense.id: sentence}})
    app = open_page("jobs")
    assert not app.exception and "The same file as Demo: dense, already here." in said(app).replace("\u2060", "")


def test_deleting_says_first_who_would_miss_the_model_and_leaves_a_placeholder(open_page, demo, workspace, pruned):
    app = open_page("models", demo.sparse.id)
    warned = said(app)
    assert f"1 model was made from it: {pruned.name}. A grey placeholder keeps its place" in warned
    assert "names its file, and will not run until it is put back" in warned
    app.button(key=f"delete {demo.sparse.id}").click().run()
    assert not app.exception and not app.error
    app = open_page("lineage", pruned.id)
    listed = app.selectbox(key="lineage member")
    assert [label.strip() for label in listed.options] == ["Demo: dense", "Demo: sparse-trained (deleted)", pruned.name]
    lacking = said(app).replace("\u2060", "")
    assert "It cannot be repeated as it stands: Demo: sparse-trained is missing." in lacking
    assert f"SHA-256 starts with {demo.sparse.digest[:12]}" in lacking and str(demo.sparse.path) in app.code[0].value


def test_a_placeholder_shows_what_is_known_of_it_and_the_file_brings_it_back(open_page, demo, workspace, pruned):
    store, content = Store(workspace), demo.sparse.path.read_bytes()
    store.delete_model(demo.sparse.id)
    app = open_page("lineage", pruned.id)
    app.selectbox(key="lineage member").set_value(demo.sparse.id).run()
    assert not app.exception and app.session_state["model_id"] == pruned.id
    assert demo.sparse.digest in said(app) and "Its file was deleted" in said(app)
    app = open_page()
    app.file_uploader(key="upload").upload("back.pt", content, "application/octet-stream").run()
    assert "which is back with it" in said(app)
    assert store.model(demo.sparse.id).path.is_file() and len(store.lineage(pruned.id)) == 3


def test_a_model_that_a_job_needs_cannot_be_deleted_and_the_page_says_why(open_page, demo, workspace):
    job = Store(workspace).add_job("train", {"weights": str(demo.dense.path)}, "Train it", demo.dense.id)
    app = open_page("models", demo.dense.id)
    assert app.button(key=f"delete {demo.dense.id}").disabled and "in use by the job Train it" in said(app)
    Store(workspace).finish_job(job.id, "done", {})
