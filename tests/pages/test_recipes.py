"""The Recipes page: choose or upload one, see its steps, run it as a chain of jobs."""

import pytest

from engine.recipes import shipped_recipes
from engine.workspace.store import Store


def said(app) -> str:
    return "\n".join(element.value for kind in (app.markdown, app.caption) for element in kind)


@pytest.mark.parametrize("recipe", shipped_recipes(), ids=lambda recipe: recipe.name)
def test_a_shipped_recipe_is_told_in_words(open_page, demo, recipe):
    app = open_page("recipes", demo.dense.id)
    app.button_group(key="recipe").set_value(recipe.name).run()
    assert not app.exception and not app.error
    assert "1. Sparse training" in said(app) and f"{len(recipe.steps)}. " in said(app)


def test_a_recipe_runs_as_a_chain_and_its_first_job_is_shown(open_page, demo, workspace, started_jobs):
    app = open_page("recipes", demo.dense.id)
    app.button(key="run recipe").click().run()
    assert not app.exception and not app.error
    store = Store(workspace)
    (chain,) = store.chains()
    (job,) = store.jobs()
    assert (job.chain_id, job.chain_step, job.model_id) == (chain.id, 1, demo.dense.id)
    assert job.spec["data"] == str(demo.data) and job.spec["weights"] == str(demo.dense.path)
    assert app.title[0].value == "Jobs" and job.id in app.query_params["job"]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (b"steps:\n  - prune: {ratio: 0.5}\n", "Step 1 (prune) does not know"),
        (
            b"steps: [prune: {prune_ratio: 3.0}]\n",
            "it must be a number from 0 to 0.95",
        ),
    ],
)
def test_an_uploaded_recipe_is_used_and_a_broken_one_refused_in_one_sentence(open_page, demo, steps, sentence):
    app = open_page("recipes", demo.dense.id)
    app.button_group(key="recipe").set_value("My own file").run()
    assert app.button(key="run recipe").disabled
    uploader = app.file_uploader(key="recipe file")
    uploader.upload("mine.yaml", steps, "text/yaml").run()
    assert not app.exception
    assert len(app.error) == 1 and sentence in app.error[0].value
    assert app.button(key="run recipe").disabled
    app.file_uploader(key="recipe file").upload("mine.yaml", b"steps: [prune, export]\n", "text/yaml").run()
    assert not app.exception and not app.error
    assert "2. Export" in said(app)
    assert not app.button(key="run recipe").disabled


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (b"steps: [prune, export]\n", "Step 1 (prune): Say what to prune to"),
        (b"steps: [finetune: {distill: true}]\n", "Step 1 (finetune) would distil a model from itself"),
    ],
)
def test_what_some_step_could_not_do_is_said_before_a_chain_starts(open_page, demo, workspace, steps, sentence):
    app = open_page("recipes", demo.dense.id)
    app.button_group(key="recipe").set_value("My own file").run()
    app.file_uploader(key="recipe file").upload("mine.yaml", steps, "text/yaml").run()
    app.button(key="run recipe").click().run()
    assert not app.exception and len(app.error) == 1
    assert app.error[0].value.startswith(sentence)
    assert Store(workspace).chains() == [] == Store(workspace).jobs()
