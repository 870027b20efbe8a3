"""A workspace that version 0.2.0 left, on every page."""

import shutil

import pytest

from engine.workspace.store import Store
from tests.made_by import unpack

GONE = "The data set file /tmp/harbour-020/set/data.yaml does not exist; give the path of a data.yaml."
"The workspace has moved to this machine, its data set has not."


@pytest.fixture
def made(workspace, tmp_path):
    """The workspace of version 0.2.0 in its place."""
    shutil.move(unpack("0.2.0", tmp_path / "made") / "workspace", workspace)
    return Store(workspace)


@pytest.mark.parametrize(
    "page", ["models", "gammas", "compare", "lineage", "recipes", "train", "prune", "export", "jobs"]
)
def test_every_page_opens_on_its_fine_tuned_model(made, open_page, page):
    tuned = next(model for model in made.models() if model.kind == "finetuned")
    app = open_page(page, tuned.id)
    assert {error.value for error in app.error} <= {GONE}


def test_every_job_is_shown_with_what_came_out_of_it(made, open_page):
    app = open_page("jobs")
    for job in made.jobs():
        app.query_params["job"] = job.id
        app.run()
        assert not app.exception and not app.error, (job.verb, [error.value for error in app.error])
